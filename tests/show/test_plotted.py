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


def test_a_band_is_the_interval_of_the_line_that_it_lies_along(axis):
    x = [1, 2, 4]
    for name, y, colour in (("a", [3, 4, 5], "red"), ("b", [8, 9, 7], "red"), ("c", [1, 1, 1], "blue")):
        axis.plot(x, y, color=colour, label=name)
    axis.fill_between(x, [7.5, 8.5, 6.5], [8.25, 9.5, 7.25], color="red", alpha=0.2)
    axis.fill_between(x, [2.5, np.nan, 4.5], [3.5, np.nan, 5.5], color="red", alpha=0.2)
    axis.fill_between(x, 0, 10, color="green", alpha=0.2)  # of no line
    found = {(row["series"], row["x"]): (row["low"], row["high"]) for row in rows(axis)}
    assert [found["b", at] for at in x] == [(7.5, 8.25), (8.5, 9.5), (6.5, 7.25)]
    assert found["a", 1] == (2.5, 3.5) and found["a", 4] == (4.5, 5.5)
    assert all(np.isnan(found[key]).all() for key in (("a", 2), ("c", 1), ("c", 4)))
    assert len(found) == 9 and digest(plotted(axis.figure)).startswith("a: n = 3, min 3, median 4, max 5\n")


def test_a_band_can_lie_along_named_places(axis):
    axis.plot(["one", "two"], [1, 2], color="red", label="a")
    axis.fill_between(["one", "two"], [0.5, 1.5], [1.5, 2.5], color="red", alpha=0.1)
    assert [(row["x"], row["low"], row["high"]) for row in rows(axis)] == [("one", 0.5, 1.5), ("two", 1.5, 2.5)]


def test_a_line_without_a_band_has_no_columns_for_it(axis):
    axis.plot([1, 2], [1, 2], label="a")
    assert list(plotted(axis.figure)) == ["series", "x", "y"]


def test_the_digest_has_a_line_a_series_in_three_digits_and_survives_nothing(axis):
    assert digest(plotted(axis.figure)) == ""
    axis.plot([0, 1, 2], [0.12345, np.nan, 4], label="a")
    axis.plot([0], [np.nan], label="b")
    assert digest(plotted(axis.figure)).splitlines() == ["a: n = 2, min 0.123, median 2.06, max 4", "b: n = 0"]
