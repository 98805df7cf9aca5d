"""An experiment's results as a table that can be read alone: each value with its interval, its controls, its n and of
what, the pictures; and below it what the intervals are, that they are not corrected, and who is left out."""

import re
from collections.abc import Iterable, Sequence
from string import ascii_lowercase

from vlm_sae_lib.claims.counting import n_and_what
from vlm_sae_lib.claims.left_out import of_how_many
from vlm_sae_lib.claims.paper import CLAIMS
from vlm_sae_lib.claims.verdict import number, said
from vlm_sae_lib.experiments.findings import Findings

WORDS = {
    "matryoshka batch top k": "Matryoshka", "batch top k": "BatchTopK", "jump relu": "JumpReLU", "auroc": "AUROC",
    "f1": "F1", "sd": "standard deviation", "PCA": "principal components",
}  # fmt: skip
"""Names of code, and what the pages call them."""
SHORT = re.compile(rf"\b({'|'.join(WORDS)})\b")
MOST_CONTROLS = 2
"""That have a column each."""
BELOW = "↳"
"""Before a control that has a row."""
SPANS = "smallest and largest"
"""Begins the kind of what stands in brackets and is no interval of 95 %."""
EFFECT = "effect/"
"""Begins the names of results that decide a claim, or stand beside what does."""


def lines(found: Findings, experiment: str, names: Sequence[str], digits: int) -> list[str]:
    """What all results have in common, then a row for each: its value, its controls, the paper's value, n, pictures.

    A control that several results share has a column of its own; where there are more kinds of them than fit, each
    has a row below what it controls. Columns that would be empty are left out.
    """
    common, labels = in_words(names)
    kinds = list(dict.fromkeys(word for name in names for word in found.results[name]["controls"]))
    columns = kinds if len(kinds) <= MOST_CONTROLS else []
    marked = Marked(found, shown(found, names), digits)
    table = [["result", "here", *columns, "paper", "n", "pictures"]]
    for name, label in zip(names, labels, strict=True):
        row = found.results[name]
        paper = "" if row["paper_value"] is None else f"{number(row['paper_value'], digits)} ({row['source'] or ''})"
        beside = [marked(row["controls"][word]) if word in row["controls"] else "" for word in columns]
        table.append([label, marked(name), *beside, paper, name, row["split"] or ""])
        if not columns:
            table += [[f"{BELOW} *{word}*", marked(other), "", other, found.results[other]["split"] or ""]
                      for word, other in row["controls"].items()]  # fmt: skip
    table = with_n(table, found, experiment)
    if marked.kinds:
        table[0][1] = "here, with its 95 % interval" if marked.all_of_95 else "here"
    kept = [i for i in range(len(table[0])) if any(row[i] for row in table[1:])]
    rows = []
    for row in table:
        nothing = "" if row[0].startswith(BELOW) else "–"
        rows.append(" | ".join(row[i].replace("|", "\\|") or nothing for i in kept))
    rows.insert(1, " | ".join("---:" if table[0][i].split()[0] == "n" else "---" for i in kept))
    above = [f"{common}:", ""] if common else []
    partly = any(of_how_many(found, experiment, name) for name in shown(found, names))
    return [*above, *(f"| {row} |" for row in rows), "", *below(marked, experiment, names, partly)]


def shown(found: Findings, names: Iterable[str]) -> list[str]:
    """Some results and all of their controls."""
    return list(dict.fromkeys(each for name in names for each in (name, *found.results[name]["controls"].values())))


def with_n(table: list[list[str]], found: Findings, experiment: str) -> list[list[str]]:
    """A table whose n column holds names of results, with their n instead: what it counts stands in the heading where
    that is the same in all rows, and beside the number where it is not."""
    place = table[0].index("n")
    counts = [n_and_what(found, experiment, row[place]) for row in table[1:]]
    whats = {what for _, what in counts if what}
    heading = f"n {whats.pop()}" if len(whats) == 1 else "n"
    cells = [n if heading != "n" or not n else f"{n} {what}" for n, what in counts]
    return [[*row[:place], cell, *row[place + 1 :]] for row, cell in zip(table, [heading, *cells], strict=True)]


class Marked:
    """Results in words, each with the mark of its kind of interval; the kind that most have needs no mark.

    Attributes:
        kinds: what the intervals are, the most frequent first.
    """

    def __init__(self, found: Findings, names: Sequence[str], digits: int) -> None:
        self.found, self.digits = found, digits
        kinds = [self.kind(name) for name in names if self.kind(name)]
        self.kinds = sorted(dict.fromkeys(kinds), key=lambda kind: -kinds.count(kind))

    @property
    def all_of_95(self) -> bool:
        return not any(kind.startswith(SPANS) for kind in self.kinds)

    def kind(self, name: str) -> str:
        """What a result's interval is, with the number of trainings; empty where it has none."""
        row = self.found.results[name]
        if row["ci_low"] is None:
            return ""
        many = len(row["seeds"]) if isinstance(row["seeds"], list) else 0
        return row["interval"].replace("over the trainings", f"over {many} trainings") if many else row["interval"]

    def __call__(self, name: str) -> str:
        text, kind = said(self.found, name, self.digits), self.kind(name)
        place = self.kinds.index(kind) if kind else 0
        return f"{text} {mark(place)}" if place else text

    def told(self) -> list[str]:
        """Each kind of interval behind its mark."""
        return [f"{mark(place)} {kind}" if place else kind for place, kind in enumerate(self.kinds)]


def mark(place: int) -> str:
    return f"({ascii_lowercase[place - 1]})"


def below(marked: Marked, experiment: str, names: Sequence[str], partly: bool) -> list[str]:
    """What stands in brackets and whether it is corrected, and what became of those that an n leaves out."""
    units = {marked.found.results[name]["unit"] for name in names}
    told = [f"The values: {units.pop()}."] if len(units) == 1 and None not in units else []
    if marked.kinds:
        what = "intervals of 95 %" if marked.all_of_95 else "intervals of 95 % (where nothing else is said)"
        decides = any(name.startswith(EFFECT) for name in names) and any(
            by.experiment == experiment for claim in CLAIMS for by in claim.decided_by
        )
        wider = "; where several decide one claim, the corrected ones stand at the end of the page" if decides else ""
        told += [f"In brackets: {what}, {'; '.join(marked.told())}.", f"Not corrected for their number{wider}."]
    if partly:
        told += ["“1 of 2”: the others are left out, as they are active on too few pictures."]
    return ["```{div} table-note", " ".join(told), "```"] if told else []


def in_words(names: Sequence[str]) -> tuple[str, list[str]]:
    """What the names of several results begin with alike, and the rest of each, without slashes and underscores.

    A hook point keeps its own: ``block_4``.
    """
    parts = [as_read(name).split("/")[name.startswith("effect/") :] for name in names]
    shared = 0
    while len(parts) > 1 and all(len(own) > shared + 1 and own[shared] == parts[0][shared] for own in parts):
        shared += 1
    return ", ".join(parts[0][:shared]), [", ".join(own[shared:]) for own in parts]


def as_read(name: str) -> str:
    """A name without underscores, and its words as a reader knows them."""
    return SHORT.sub(lambda found: WORDS[found[0]], re.sub(r"_(?!\d)", " ", name))
