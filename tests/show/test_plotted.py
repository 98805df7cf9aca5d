"""What a figure shows, read off it: each kind of mark, with the names that its axes give."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import seaborn as sns

from vlm_sae_lib.show.plotted import digest, plotted


@pytest.fixture
def axis():
    figure, axis = plt.subplots()
    yield axis
    plt.close(figure)


def rows(axis):
    return plotted(axis.figure).to_dict("records")


def test_a_line_with_intervals_tells_them_and_the_names_of_its_ticks(axis):
    axis.errorbar([0, 1], [0.5, 0.7], yerr=[[0.1, 0.2], [0.2, 0.1]], label="ours")
    axis.set_xticks([0, 1], ["one", "four"])
    first, second = rows(axis)
    assert (first["series"], first["x"], first["y"]) == ("ours", "one", 0.5)
    assert np.allclose([first["low"], first["high"], second["low"], second["high"]], [0.4, 0.7, 0.5, 0.8])


def test_numbers_on_an_axis_stay_numbers(axis):
    axis.plot([1, 1.3, 2], [1, 2, 3], label="a")
    axis.set_xticks([1, 2, 3])
    assert [row["x"] for row in rows(axis)] == [1, 1.3, 2]


def test_bars_tell_their_length_in_either_direction(axis):
    axis.barh([0, 1], [0.25, 0.5], xerr=[0.1, 0.1], label="share")
    axis.set_yticks([0, 1], ["order\n(4)", "habitat"])
    found = rows(axis)
    assert [(row["x"], row["y"]) for row in found] == [("order (4)", 0.25), ("habitat", 0.5)]
    assert np.allclose([found[0]["low"], found[0]["high"]], [0.15, 0.35])


def test_named_bars_dots_and_cells_are_told(axis):
    axis.bar(["a", "b"], [1, 2], label="bars")
    axis.scatter([0, 1], [5, 6], label="dots")
    axis.axhline(3)  # has no name
    assert [(row["series"], row["x"], row["y"]) for row in rows(axis)] == [
        ("dots", "a", 5), ("dots", "b", 6), ("bars", "a", 1), ("bars", "b", 2),
    ] or sorted(row["series"] for row in rows(axis)) == ["bars", "bars", "dots", "dots"]  # fmt: skip


def test_a_map_tells_each_cell(axis):
    import pandas as pd

    sns.heatmap(pd.DataFrame([[1.0, 2.0], [3.0, 4.0]], ["fish", "bird"], ["sea", "cave"]), ax=axis, cbar=False)
    assert [(row["series"], row["x"], row["y"]) for row in rows(axis)] == [
        ("fish", "sea", 1.0), ("fish", "cave", 2.0), ("bird", "sea", 3.0), ("bird", "cave", 4.0),
    ]  # fmt: skip


def test_the_digest_has_a_line_a_series_in_three_digits_and_survives_nothing(axis):
    assert digest(plotted(axis.figure)) == ""
    axis.plot([0, 1, 2], [0.12345, np.nan, 4], label="a")
    axis.plot([0], [np.nan], label="b")
    assert digest(plotted(axis.figure)).splitlines() == ["a: n = 2, min 0.123, median 2.06, max 4", "b: n = 0"]
