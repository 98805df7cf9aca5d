"""Tables: whole cells, numbers under one another, and results in words, each beside every control it has."""

import html
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from IPython import get_ipython

from vlm_sae_lib.claims.counting import COUNTED, what_n_counts
from vlm_sae_lib.records.results import Results
from vlm_sae_lib.show.numbers import number

NUMBER = re.compile(r"([+\-−]?[\d,.]+( ?[%×])?( \[[^\]]*\]| to [+\-−]?[\d,.]+)?|–|∞|)")
WORDS = {
    r"\bms_mean_active\b": "mean MS of the more active", r"\bms_mean\b": "mean MS", r"\bms_best\b": "best MS",
    r"\bms_gap\b": "gap of mean MS", r"\bms_width\b": "mean MS by width", r"\bmean_cosine\b": "mean cosine",
    r"\btruth_spearman\b": "agreement with the truth (Spearman)", r"\bshare_above\b": "share of latents above the",
    r"matryoshka_batch_top_k": "Matryoshka", r"batch_top_k_by_frequency": "BatchTopK by frequency",
    r"batch_top_k_frequency_matched": "BatchTopK, frequency-matched", r"batch_top_k": "BatchTopK",
    r"\bmatryoshka(?=_x|\b)": "Matryoshka", r"_x(\d+)\b": r" ×\1", r"rectified_cut": "rectified, cut",
    r"\bdepth_rounded_mean\b": "LCA depth, rounded mean", r"\bdepth_mean\b": "LCA depth, mean",
    r"\bnode_depth_slope\b": "slope of the nodes' depth", r"\bdepth_slope\b": "slope of the depth",
    r"\b(insertion|suppression)_blank\b": r"\1 on a blank page",
    r"\b(insertion|suppression)_rest\b": r"the rest right, \1",
    r"\b(insertion|suppression)_both\b": r"\1 and the rest right",
}  # fmt: skip
"""What is said for the parts of a result's name, which is made for files."""

HEADINGS = {"ci_low": "95 % from", "ci_high": "to", "r2_paper": "R², the paper's form"}
"""What is said for columns of frames that others read too."""


def use_tables() -> None:
    """From now on, where this runs in a notebook, each table is shown by ``table_html``."""
    if (shell := get_ipython()) is not None:
        shell.display_formatter.formatters["text/html"].for_type(pd.DataFrame, table_html)


def table_html(frame: pd.DataFrame) -> str:
    """A table as HTML that scrolls in its own box, also by the keyboard; no cell is cut and no header is empty."""
    names = [str(name) if name is not None else "" for name in frame.index.names]
    keyed = any(names) or not isinstance(frame.index, pd.RangeIndex)
    labels = [frame.index.get_level_values(i) for i in range(frame.index.nlevels)] if keyed else []
    columns = [_column(frame.iloc[:, i]) for i in range(frame.shape[1])]
    right = [all(NUMBER.fullmatch(text) for text in column) and len(column) > 0 for column in columns]
    rows = []
    for place in range(len(frame)):
        heads = "".join(_row_head(label, place) for label in labels)
        cells = "".join(_cell("td", column[place], is_number) for column, is_number in zip(columns, right, strict=True))
        rows.append(f"<tr>{heads}{cells}</tr>")
    head = _head(frame.columns, [name or "row" for name in names] if keyed else [], right)
    return (
        '<div class="table-scroll" role="group" aria-label="table" tabindex="0"><table class="dataframe">'
        f"<thead>{head}</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row_head(label: pd.Index, place: int) -> str:
    """The head of a row, over the rows below that have a blank for theirs; none for those."""
    if label[place] == "" and place > 0:
        return ""
    rows = 1
    while place + rows < len(label) and label[place + rows] == "":
        rows += 1
    span = f' rowspan="{rows}"' if rows > 1 else ""
    return f'<th scope="row"{span}>{_text(label[place])}</th>'


def results_table(results: Results, names: Sequence[str] | None = None, digits: int = 3) -> pd.DataFrame:
    """A row per result and control: value, 95 % interval, n, the control's own value and interval, the paper's value.

    What a second control would only repeat is left blank; columns in which nothing stands are left out.
    """
    recorded = results.as_dict()["results"]
    rows = []
    for name in names or recorded:
        entry = recorded[name]
        controls = list(entry["controls"].items()) or [("", None)]
        for place, (label, other) in enumerate(controls):
            control = recorded[other] if other else dict.fromkeys(("value", "ci_low", "ci_high"))
            first = place == 0
            rows.append({
                "result": in_words(name) if first else "",
                "here": number(entry["value"], digits) if first else "",
                "95 % interval": _interval(entry, digits) if first else "",
                "n": _counted(results.notebook, name, entry["n"]) if first else "",
                "control": in_words(label),
                "control's value": number(control["value"], digits) if other else "",
                "its 95 % interval": _interval(control, digits),
                "paper": number(entry["paper_value"], digits) if first and entry["paper_value"] is not None else "",
                "where": entry["source"] or "" if first and entry["paper_value"] is not None else "",
                "verdict": entry["verdict"] or "" if first else "",
            })  # fmt: skip
    table = pd.DataFrame(rows).set_index("result")
    return table.loc[:, (table != "").any()]


def _counted(notebook: str, name: str, n: int | None) -> str:
    """``600 pictures``; of a notebook whose results nobody has put into words the number alone."""
    if n is None:
        return ""
    return f"{n:,} {what_n_counts(notebook, name)}" if notebook in COUNTED else f"{n:,}"


def in_words(name: str) -> str:
    """A result's name as people say it."""
    for pattern, word in WORDS.items():
        name = re.sub(pattern, word, name)
    return name.replace("_", " ").replace("/", ", ")


def _interval(entry: dict[str, Any], digits: int) -> str:
    if entry["ci_low"] is None or entry["ci_high"] is None:
        return ""
    return f"{number(entry['ci_low'], digits)} to {number(entry['ci_high'], digits)}"


def _head(columns: pd.Index, names: list[str], right: list[bool]) -> str:
    """A row of headers for each level of the columns; equal neighbours of an upper level are one."""
    depth, rows = columns.nlevels, []
    for level in range(depth):
        labels = list(columns.get_level_values(level))
        cells = "".join(f'<th scope="col" rowspan="{depth}">{_text(name)}</th>' for name in names) if level == 0 else ""
        place = 0
        while place < len(labels):
            width = 1
            while level < depth - 1 and place + width < len(labels) and labels[place + width] == labels[place]:
                width += 1
            group = f' colspan="{width}"' if width > 1 else ""
            kind = ' class="number"' if level == depth - 1 and right[place] else ""
            cells += f'<th scope="col"{group}{kind}>{_text(_heading(labels[place]))}</th>'
            place += width
        rows.append(f"<tr>{cells}</tr>")
    return "".join(rows)


def _heading(name: Any) -> str:
    return HEADINGS.get(str(name), str(name).replace("_", " "))


def _column(values: pd.Series) -> list[str]:
    """Cells as text: the numbers of a column with equally many digits after the point, a dash for none."""
    if pd.api.types.is_bool_dtype(values):
        return ["yes" if value else "no" for value in values]
    if pd.api.types.is_integer_dtype(values):
        return [f"{value:,}" for value in values]
    if pd.api.types.is_float_dtype(values):
        there = [f"{value:.6f}".rstrip("0").partition(".")[2] for value in values if np.isfinite(value)]
        digits = max(map(len, there), default=0)
        return [f"{value:,.{digits}f}" if np.isfinite(value) else "–" for value in values]
    return [_word(value) for value in values]


def _word(value: Any) -> str:
    if value is True or value is False:
        return "yes" if value else "no"
    return "–" if value is None or value is pd.NA or value != value else str(value)


def _cell(tag: str, text: str, is_number: bool) -> str:
    return f'<{tag} class="number">{_text(text)}</{tag}>' if is_number else f"<{tag}>{_text(text)}</{tag}>"


def _text(text: Any) -> str:
    return html.escape(str(text), quote=True)
