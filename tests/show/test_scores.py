"""Figures of scores, neurons and the tree: what they choose and place, and that they draw."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from PIL import Image

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.scores.comparison import score
from vlm_sae_lib.scores.truth import detection_scores
from vlm_sae_lib.show import neurons, scores, tree
from vlm_sae_lib.show.style import use_style
from vlm_sae_lib.statistics.intervals import Estimate, Interval

NONE = Interval(float("nan"), float("nan"))


@pytest.fixture(autouse=True)
def closed():
    use_style()
    yield
    plt.close("all")


def drawn(figure):
    """Draw it, so that a wrong size or label shows, and give its axes."""
    figure.canvas.draw()
    return figure.axes


def test_table_says_how_many_and_leaves_nothing_out():
    rng = np.random.default_rng(0)
    latents = np.maximum(rng.normal(size=(40, 3)), 0) * [1, 1, 0]
    scored = score(latents, rng.normal(size=(40, 4)), resamples=10)
    table = scores.ms_table({"raw": scored, "something": scored}, at_least=5)
    assert table.index.tolist() == ["raw neurons", "something"]
    row = table.loc["something"]
    assert row["how many"] == 3 and row["MS defined"] == "67%" and row["on ≥ 5 pictures"] == 2
    assert row["best"] == f"{np.nanmax(scored.ms):.2f}"


def test_curves_fall_and_skip_undefined_neurons():
    figure = scores.sorted_curves({"E": {"raw": np.array([0.1, np.nan, 0.3]), "control": np.array([0.2])}}, {"E": 0.0})
    raw, control, constant = drawn(figure)[0].get_lines()
    assert raw.get_ydata().tolist() == [0.3, 0.1] and len(control.get_ydata()) == 1
    assert set(constant.get_ydata()) == {0.0}


def test_the_other_figures_draw():
    estimates = [Estimate(0.1, Interval(0.0, 0.2)), Estimate(0.3, NONE)]
    values = np.array([0.1, 0.5, np.nan])
    drawn(scores.scatter({"raw": values}, {"raw": values}, "x", "y", diagonal=True))
    drawn(scores.weight_histograms({"raw": values[:2], "batch_top_k": values[:2]}, "x"))
    drawn(scores.means_with_intervals({"raw": estimates}, ["×1", "×4"], "x", "y", constant=0.0))
    assert [bar.get_height() for bar in drawn(scores.overlap_bars({"raw": {"> 0": 3.0}}))[0].patches] == [3.0]
    lines = drawn(tree.depth_per_level({"batch_top_k": estimates, "chance": estimates}, [1.0, 2.0], 1.5))[0].get_lines()
    assert any(list(line.get_ydata()) == [1.0, 2.0] for line in lines)


def test_percentiles_choose_by_rank_among_the_kept():
    values = np.array([0.5, np.nan, 0.1, 0.9, 0.3])
    assert neurons.at_percentiles(values, [100, 0, 50]).tolist() == [3, 2, 0]
    assert neurons.at_percentiles(values, [100], kept=values < 0.6).tolist() == [0]
    with pytest.raises(UserError, match="No neuron"):
        neurons.at_percentiles(values, [50], kept=np.zeros(5, dtype=bool))


def test_pictures_are_drawn_in_proportion_to_activation():
    activations = np.zeros((50, 2))
    activations[:40, 0] = 1e-6
    activations[10:13, 0] = [2, 3, 1]
    activations[5, 1] = 1
    ids = 100 + np.arange(50)
    drawn = neurons.drawn_by_activation(activations, [0, 1], ids, number=3)
    assert drawn.tolist() == [[111, 110, 112], [105, -1, -1]]
    np.testing.assert_array_equal(neurons.drawn_by_activation(sp.csr_matrix(activations), [0, 1], ids, number=3), drawn)


def test_strips_show_each_picture_once_and_leave_missing_ones_blank():
    pictures = {i: Image.new("RGB", (8, 8), (i * 20, 0, 0)) for i in range(4)}
    strips = [neurons.Strip("one", [0, 1, 2, -1]), neurons.Strip("two", [3, 0])]
    figure = neurons.neuron_strips(strips, pictures, columns=2)
    figure.canvas.draw()
    shown = [axis.images[0].get_array()[0, 0, 0] for axis in figure.axes if axis.images]
    assert shown == [0, 20, 40, 60, 0]
    assert [part.get_suptitle() for part in figure.subfigs] == ["one", "two"]
    with pytest.raises(UserError, match="no neuron"):
        neurons.neuron_strips([], pictures)


def test_pictures_come_from_the_source_by_id():
    class Source:
        def subset(self, ids):
            return [(i, f"picture {i}") for i in ids]

    strips = [neurons.Strip("", [3, -1]), neurons.Strip("", [np.int64(1), 3])]
    assert neurons.pictures_by_id(Source(), strips) == {1: "picture 1", 3: "picture 3"}


def test_parents_stand_amid_their_children():
    paths = [tuple("aaaaaa" + leaf) for leaf in "xyz"] + [tuple("baaaaaa")]
    at = tree.tree_positions(paths)
    assert at[paths[0]] == (7, 0) and at[paths[3]] == (7, 3)
    assert at[paths[0][:6]] == (6, 1) and at[("a",)] == (1, 1) and at[("b",)] == (1, 3)
    figure = tree.draw_tree(paths, {paths[0]: [0, 1], ("a",): [1] * 12}, n_levels=2)
    squares = [c for c in drawn(figure)[0].collections if len(c.get_offsets())]
    assert len(squares) == 14


def test_best_factor_is_what_beats_always_saying_yes():
    # nine of ten pictures show a bird, so that a latent which fires always has a high F1 for it, and means nothing
    factors = pd.DataFrame({"class": ["bird"] * 18 + ["fish"] * 2, "habitat": ["sea", "cave"] * 10})
    always = 1 + np.arange(20) / 1000
    sea = np.tile([1.0, 0.0], 10)
    found = detection_scores(np.stack([always, sea], axis=1), factors, ["class", "habitat"])
    rates = tree.base_rates(factors, ["class", "habitat"])
    assert rates["class", "bird"] == 0.9
    best = tree.best_factors(found, rates)
    assert best.loc[1, ["factor", "value"]].tolist() == ["habitat", "sea"]
    assert best["gain"].to_numpy()[1] == pytest.approx(1 - 2 / 3) and (best["gain"] >= -1e-12).all()
    assert found.loc[found["neuron"] == 0].set_index("value").loc["bird", "best_f1"] > 0.9
    shares = tree.factor_shares(best, np.array([0, 1]), ["class", "habitat"])
    assert shares.loc[1].tolist() == [0.0, 1.0] and shares.to_numpy().sum() == pytest.approx(2)
    drawn(tree.factor_bars(shares))


def test_a_node_is_as_deep_as_its_rank():
    best = pd.DataFrame({"neuron": [0, 2, 3], "factor": ["class", "habitat", "species"]})
    np.testing.assert_array_equal(tree.node_depths(best, 5), [3, np.nan, np.nan, 7, np.nan])
