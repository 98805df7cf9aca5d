"""Figures and tables of steering: that they draw, and that what they draw is what they were given."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vlm_sae_lib import paths
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import read_json
from vlm_sae_lib.show import steering
from vlm_sae_lib.show.style import use_style
from vlm_sae_lib.steering import rates


@pytest.fixture(autouse=True)
def closed():
    use_style()
    yield
    plt.close("all")


@pytest.fixture
def concepts():
    rows = [
        (method, about, concept, 10, success, rest, success * rest)
        for about, concept in (("colour", "red"), ("colour", "blue"), ("order", "beetle"))
        for method, success, rest in (("steered", 0.8, 0.5), ("unsteered", 0.0, 1.0), ("random direction", 0.2, np.nan))
    ]
    return pd.DataFrame(rows, columns=["method", "about", "concept", "n", "success", "rest", "both"])


@pytest.fixture
def by_about(concepts):
    return rates.by_about(concepts, draws=50)


def test_bars_are_as_long_as_the_rates(by_about):
    figure = steering.rate_bars(by_about)
    figure.canvas.draw()
    bars = figure.axes[0].containers
    widths = {bar.get_label(): [patch.get_width() for patch in bar] for bar in bars if hasattr(bar, "patches")}
    assert widths["steered"] == pytest.approx([80, 80, 80]) and widths["random direction"] == pytest.approx([20] * 3)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["colour\n(2 concepts)", "order\n(1 concept)", "all\n(3 concepts)"]


def test_bars_stand_where_a_rate_is_missing(by_about):
    figure = steering.rate_bars(by_about, "rest")
    figure.canvas.draw()
    assert len(figure.axes[0].patches) == 9


def test_table_has_kinds_in_rows_and_methods_in_columns(by_about):
    table = steering.rate_table(by_about)
    assert table.columns.tolist() == ["concepts", "steered", "unsteered", "random direction"]
    assert table.index.tolist() == ["colour", "order", "all"] and table["concepts"].tolist() == [2, 1, 3]
    assert table.loc["colour", "steered"] == "0.80 [0.80, 0.80]"
    assert steering.rate_table(by_about, "rest").loc["all", "random direction"] == "–"


def test_trade_off_leaves_out_concepts_without_a_rest(concepts):
    figure = steering.trade_off(concepts, ("steered", "random direction"))
    figure.canvas.draw()
    dots = [len(points.get_offsets()) for points in figure.axes[0].collections]
    assert dots == [3, 1, 0, 1]  # each method's dots, then the cross at its mean (NaN where there is none)


def test_dose_curves_rise_with_the_strength():
    doses = pd.DataFrame({"multiple": [4, 1, 2], "rate": [0.9, 0.1, 0.5]})
    doses = doses.assign(method="steered", outcome="success", low=0.0, high=1.0)
    figure = steering.dose_curves(doses, ["success"])
    figure.canvas.draw()
    (line,) = figure.axes[0].get_lines()
    assert line.get_xdata().tolist() == [1, 2, 4] and line.get_ydata().tolist() == pytest.approx([10, 50, 90])


def test_ladder_shows_every_strength_and_silence():
    page = Image.new("RGB", (8, 8), "white")
    said = [("unsteered", ""), ("4 × max", "beetle " * 60)]
    figure = steering.caption_ladder([(page, "a page", said), (page, "another", said)])
    figure.canvas.draw()
    texts = [text.get_text() for text in figure.texts]
    assert texts.count("(says nothing)") == 2 and texts.count("4 × max") == 2 and len(figure.axes) == 2
    assert any(text.endswith("…") for text in texts)
    for nothing in ([], [(page, "a page", [])]):
        with pytest.raises(UserError, match="at least one"):
            steering.caption_ladder(nothing)


def test_ratio_is_told_with_its_interval(concepts):
    assert steering.ratio_words(rates.times_best_control(concepts.fillna(0), draws=20)) == (
        "4.0 [4.0, 4.0] times the best control (random direction)"
    )
    endless = {"value": np.inf, "low": 2.0, "high": np.inf, "best_control": "unsteered"}
    assert steering.ratio_words(endless).startswith("∞ [2.0, ∞]")


def test_a_dose_curve_without_any_rate_is_an_empty_panel(by_about):
    doses = pd.concat([by_about.assign(multiple=multiple) for multiple in (0.5, 2)])
    doses.loc[doses["outcome"] == "rest", "rate"] = np.nan
    figure = steering.dose_curves(doses)
    figure.canvas.draw()
    assert figure.axes[1].get_xlim() == (0.25, 4)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.9, 13.5, Verdict.UNDECIDED),
        (3.0, 9.0, Verdict.HOLDS),
        (1.0, 2.9, Verdict.FAILS),
        (1.0, np.inf, Verdict.UNDECIDED),
        (np.nan, np.nan, Verdict.UNDECIDED),
    ],
)
def test_a_ratio_has_a_word_only_where_its_whole_interval_lies_on_one_side_of_the_bar(low, high, word):
    """A value of 3.5 in [0.9, 13.5] was said to hold (issue 14, 2.6)."""
    assert steering.at_least({"value": 3.5, "low": low, "high": high, "best_control": "unsteered"}, 3) == word.value


def test_words_in_the_published_notebook_are_those_that_the_intervals_decide():
    rows = read_json(paths.data() / "results" / "05_llava_steering.json")["results"]
    said = {name: row for name, row in rows.items() if row["verdict"] is not None}
    assert said and all(name.endswith("times best control") for name in said)
    for row in (row for row in said.values() if row["ci_low"] is not None):
        bar, word = row["verdict"].removeprefix("at least ").split(" times: ")
        high = np.inf if row["ci_high"] is None else row["ci_high"]
        assert word == steering.at_least({"low": row["ci_low"], "high": high}, float(bar))
