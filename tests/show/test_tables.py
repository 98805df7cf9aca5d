"""Tables: no cell is cut, no header is empty, and each control has its own number."""

import re

import numpy as np
import pandas as pd

from vlm_sae_lib.records.results import Results
from vlm_sae_lib.show.tables import in_words, results_table, table_html


def cells(html: str, tag: str = "td") -> list[str]:
    return re.findall(rf"<{tag}(?: [^>]*)?>(.*?)</{tag}>", html)


def test_no_cell_is_cut_and_hostile_text_stays_text():
    long = "word " * 60 + "<script>alert(1)</script>"
    html = table_html(pd.DataFrame({"a": [long]}))
    assert "<script" not in html and "…" not in html and "word &lt;script&gt;" in html


def test_no_header_is_empty_whatever_the_index_is():
    two = pd.MultiIndex.from_tuples([("p", "said"), ("p", "truth")])
    frames = [
        pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1]}, index=["x"]), pd.DataFrame([[1, 2]], columns=two),
        pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([("x", "y")], names=["one", "other"])),
        pd.DataFrame(),
    ]  # fmt: skip
    for frame in frames:
        assert all(head.strip() for head in cells(table_html(frame), "th"))
    assert 'colspan="2">p<' in table_html(frames[2])


def test_numbers_stand_right_under_a_right_header_with_equally_many_digits():
    html = table_html(pd.DataFrame({"x": [0.5, np.nan, 12.25], "word": ["a", None, "3 of 4"], "n": [1, 2000, 3]}))
    assert cells(html) == ["0.50", "a", "1", "–", "–", "2,000", "12.25", "3 of 4", "3"]
    assert re.findall(r'<th scope="col" class="number">(\w+)<', html) == ["x", "n"]
    assert 'tabindex="0"' in html and 'role="group"' in html


def test_each_control_of_a_result_has_a_row_with_its_whole_number():
    results = Results("03_toy", "pocket")
    for name, value in (("ms_mean/random_sets", 0.1), ("ms_mean/raw", 0.2)):
        results.add(name, value, interval=(value - 0.05, value + 0.05), interval_kind="bootstrap")
    results.add("ms_mean/matryoshka_x4", 0.5, n=1500, paper_value=0.4, source="v3 Table 1",
                controls={"random sets": "ms_mean/random_sets", "raw": "ms_mean/raw"})  # fmt: skip
    table = results_table(results, ["ms_mean/matryoshka_x4"], digits=2)
    assert list(table.index) == ["mean MS, Matryoshka ×4", ""]
    assert list(table["control's value"]) == ["0.10", "0.20"] and list(table["n"]) == ["1,500", ""]
    assert list(table["its 95 % interval"]) == ["0.05 to 0.15", "0.15 to 0.25"]
    assert "verdict" not in table and not table.to_string().count("...")
    assert table_html(table).count('<th scope="row" rowspan="2">') == 1 and "></th>" not in table_html(table)


def test_columns_of_files_have_headings_for_people():
    html = table_html(pd.DataFrame({"ci_low": [0.1], "mean_cosine": [0.2], "drawn": [True]}, dtype=object))
    assert cells(html, "th") == ["95 % from", "mean cosine", "drawn"] and cells(html)[-1] == "yes"


def test_names_are_said_in_words():
    assert in_words("insertion_rest/all/steered") == "the rest right, insertion, all, steered"
    assert in_words("depth_rounded_mean/matryoshka/level_0") == "LCA depth, rounded mean, Matryoshka, level 0"
