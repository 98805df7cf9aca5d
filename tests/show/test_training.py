"""Figures and tables of training, and the R² of the controls."""

import matplotlib

matplotlib.use("agg")

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from vlm_sae_lib.controls.reconstruction import (
    Pca,
    cut_at_l0,
    evaluate,
    monotone,
    pca_rivals,
    r2_bootstrap,
    sae_r2,
    untrained_sae,
)
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.records.results import Results
from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.sae.training import train_sae
from vlm_sae_lib.scores.reconstruction import r2, reconstruction
from vlm_sae_lib.scores.spread import mean_cosine, spread
from vlm_sae_lib.show import training as figures
from vlm_sae_lib.show.verdicts import direction, record, stated, yes
from vlm_sae_lib.statistics.intervals import Estimate, Interval


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.standard_normal((400, 12)) * np.linspace(3, 0.2, 12) + 1).astype(np.float32)


@pytest.fixture(scope="module")
def sae(rows):
    return train_sae(rows, SaeConfig(kind="batch_top_k", expansion=2, k=4, steps=40, batch_size=128, lr=5e-3))


def known(value: float, reach: float = 0.01) -> Estimate:
    return Estimate(value, Interval(value - reach, value + reach))


# R² and its interval


def test_the_bootstrap_agrees_with_the_definition_draw_by_draw(rows):
    rebuilt = rows + np.random.default_rng(1).normal(0, 0.5, rows.shape)
    found = r2_bootstrap(rows, rebuilt, seed=3, n_resamples=5)
    assert found.value == pytest.approx(r2(rows, rebuilt), abs=1e-12)
    draws = np.random.default_rng(3).multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=5)
    for counts, value in zip(draws, found.replicates, strict=True):
        picked = np.repeat(np.arange(len(rows)), counts)
        assert value == pytest.approx(r2(rows[picked], rebuilt[picked]), abs=1e-12)


def test_a_difference_is_paired_and_so_narrower(rows):
    rng = np.random.default_rng(2)
    one = rows + rng.normal(0, 0.5, rows.shape)
    a, b = r2_bootstrap(rows, one), r2_bootstrap(rows, one + 0.05)
    difference = a.minus(b)
    assert difference.value == pytest.approx(a.value - b.value)
    width = difference.interval.high - difference.interval.low
    assert width < (a.estimate.interval.high - a.estimate.interval.low)
    assert a.minus(a).interval == (0, 0)


def test_reconstructions_of_another_shape_are_refused(rows):
    with pytest.raises(UserError, match="cannot be compared"):
        r2_bootstrap(rows, rows[:, :5])


def test_an_sae_s_r2_is_that_of_the_report(rows, sae):
    assert sae_r2(sae, rows).value == pytest.approx(reconstruction(sae, rows).r2, abs=1e-6)


def test_autoencoders_that_are_evaluated_together_share_the_draws_that_each_would_make(rows, sae):
    control = untrained_sae(rows, 24, 4)
    for one, found in zip((sae, control), evaluate({0: sae, 1: control}, rows, seed=3).values(), strict=True):
        np.testing.assert_array_equal(found.r2.replicates, sae_r2(one, rows, seed=3).replicates)
    alone = sae_r2(sae, rows, n_resamples=0)
    assert alone.value == sae_r2(sae, rows).value and not len(alone.replicates)


# PCA


def test_the_first_components_keep_the_share_of_the_variance_that_they_hold(rows):
    pca = Pca.fit(rows)
    eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(rows.T.astype(float))))[::-1]
    assert r2(rows, pca.first(rows, 3)) == pytest.approx(eigenvalues[:3].sum() / eigenvalues.sum(), abs=1e-6)
    assert r2(rows, pca.first(rows, 12)) == pytest.approx(1)
    assert r2(rows, pca.first(rows, 0)) == pytest.approx(0, abs=1e-9)


def test_a_picture_s_own_strongest_components_beat_the_same_ones_for_all(rows):
    pca = Pca.fit(rows)
    rebuilt, l0 = pca.strongest(rows, 3)
    assert l0 == pytest.approx(3, abs=0.01)
    assert r2(rows, rebuilt) > r2(rows, pca.first(rows, 3))
    other, l0_elsewhere = pca.strongest(rows[:10] + 100, 3)  # the cut is the training pictures'
    assert other.shape == (10, 12) and l0_elsewhere > 3


def test_a_cut_leaves_the_asked_number_and_refuses_what_it_cannot():
    values = np.arange(12.0).reshape(3, 4)
    assert (values > cut_at_l0(values, 2)).sum() == 6
    for l0 in (0, 4, 9):
        with pytest.raises(UserError, match="cannot be cut"):
            cut_at_l0(values, l0)


# The SAE that never learned


def test_the_untrained_sae_has_the_l0_and_is_no_better_for_another_factor(rows):
    sae = untrained_sae(rows, 24, 4, seed=1)
    found = reconstruction(sae, rows)
    assert found.l0 == pytest.approx(4, abs=0.01) and found.r2 < 1
    for factor in (0.9, 1.1):
        assert reconstruction(replace(sae, w_dec=sae.w_dec * factor), rows).r2 < found.r2
    assert torch.equal(untrained_sae(rows, 24, 4, seed=1).w_enc, sae.w_enc)


def test_training_beats_it(rows, sae):
    control = untrained_sae(rows, sae.n_latents, reconstruction(sae, rows).l0)
    assert sae_r2(sae, rows).minus(sae_r2(control, rows)).interval.low > 0


# How a cloud lies


def test_the_mean_cosine_is_that_of_all_pairs(rows):
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = unit @ unit.T
    by_hand = cosines[np.triu_indices(len(rows), k=1)].mean()
    found = mean_cosine(rows, n_resamples=50)
    assert found.value == pytest.approx(by_hand, abs=1e-6)
    assert spread(rows).mean_cosine == pytest.approx(by_hand, abs=1e-6)
    assert found.interval.low < found.value < found.interval.high


def test_a_vector_drawn_twice_makes_no_pair_with_itself():
    """A bootstrap with self-pairs would find the cosine of unrelated directions far above zero."""
    found = mean_cosine(np.eye(40), n_resamples=200)
    assert found.value == 0 and found.interval == pytest.approx((0, 0), abs=1e-12)


def test_the_spread_of_known_clouds():
    even = np.concatenate([np.eye(6), -np.eye(6)])
    found = spread(even)
    assert found.norm == 1 and found.norm_deviation == 0 and found.offset == 0
    assert found.directions == pytest.approx(6)
    line = spread(np.outer(np.arange(1.0, 9), [3, 4]))
    assert line.mean_cosine == pytest.approx(1) and line.directions == pytest.approx(1)
    assert spread(np.ones((5, 3))).offset == pytest.approx(1) and spread(np.ones((5, 3))).directions == 0


@pytest.mark.parametrize("cloud", [np.ones((1, 3)), np.ones(4), np.zeros((3, 3))])
def test_what_has_no_pairs_or_no_direction_is_refused(cloud):
    with pytest.raises(UserError):
        spread(cloud)


# Figures and tables


def test_the_curves_are_those_of_the_log(sae):
    figure = figures.training_curves({("batch_top_k", 2): sae})
    loss, r2_axis, l0, dead = figure.axes
    log = sae.metadata["log"]
    assert list(loss.lines[0].get_xdata()) == log["step"]
    assert list(loss.lines[0].get_ydata()) == log["loss"]
    assert list(dead.lines[0].get_ydata()) == log["dead"]
    first = r2_axis.lines[0].get_ydata()[0]
    assert np.isnan(first)  # no threshold yet, so no R² by the inference rule
    assert l0.lines[0].get_ydata()[-1] == log["l0"][-1]
    with pytest.raises(UserError):
        figures.training_curves({})


def test_the_figures_show_the_values_they_are_given():
    ours = {(kind, e): known(0.8 + e / 100) for kind in ("batch_top_k", "matryoshka_batch_top_k") for e in (1, 4)}
    axes = figures.r2_by_width(ours, {key: 0.7 for key in ours}).axes
    assert list(axes[0].lines[0].get_ydata()) == pytest.approx([0.81, 0.84])
    assert [label.get_text() for label in axes[0].get_xticklabels()] == ["1", "4"]
    layers = {"batch_top_k": {"block_2": known(0.9), "projection": known(0.7)}}
    assert list(figures.r2_by_layer(layers).axes[0].lines[0].get_ydata()) == [0.9, 0.7]
    series = {"batch_top_k": [(20, known(0.9)), (5, known(0.6))], "PCA": [(5, known(0.5))]}
    assert list(figures.r2_by_l0(series).axes[0].lines[0].get_xdata()) == [5, 20]


def test_a_histogram_counts_only_pictures_on_which_the_latent_fires():
    figure = figures.activation_histograms({"a": np.array([0.0, 1, 2, 0]), "never": np.zeros(4)})
    assert figure.axes[0].get_title(loc="left") == "a: fires on 2 of 4"
    assert sum(patch.get_height() for patch in figure.axes[0].patches) == 2
    assert figure.axes[1].get_title(loc="left") == "never: fires on 0 of 4"


def test_the_tables_put_the_paper_s_value_beside_ours(rows, sae):
    ours = evaluate({("batch_top_k", 2): sae}, rows)
    paper = figures.paper_reconstruction("23", [("batch_top_k", 2)])
    assert paper["batch_top_k", 2] == (0.715, 19.8)
    table = figures.reconstruction_table(ours, paper)
    row = table.loc[("BatchTopK SAE", 2)]
    assert row["R² [95 %]"].startswith(f"{reconstruction(sae, rows).r2:.3f} [")
    assert row["paper's R²"] == "0.715" and row["never fired"] == reconstruction(sae, rows).never_fired
    price = figures.price_table(ours, sae.dim).iloc[0]
    assert price["weights"] == sum(w.numel() for w in (sae.w_enc, sae.b_enc, sae.w_dec, sae.b_dec))
    assert float(price["share that fires"]) == pytest.approx(1 - row["never fired"] / 24, abs=0.006)


def test_firing_rates_are_shares_of_the_rows(rows, sae):
    found = evaluate({"one": sae}, rows)["one"]
    latents = sae.encode(torch.from_numpy(rows)).numpy()
    assert np.allclose(found.firing_rates, (latents > 0).mean(axis=0))
    assert found.firing_rates.sum() == pytest.approx(found.report.l0)


def test_pca_rivals_come_at_the_l0_asked_for(rows):
    rivals = pca_rivals(rows, rows, [2, 5])
    assert [l0 for l0, _ in rivals["PCA, the first K"]] == [2, 5]
    assert [l0 for l0, _ in rivals["PCA, the picture's strongest"]] == pytest.approx([2, 5], abs=0.01)
    assert all(few.value < many.value for (_, few), (_, many) in rivals.values())


def test_words_for_what_was_found(tmp_path, monkeypatch):
    monkeypatch.setenv("VLM_SAE_RUNS", str(tmp_path))
    assert (yes(1 > 0), yes(np.bool_(False))) == ("**yes**", "**no**")
    words = ("pays", "gains", "neither")
    assert [direction(known(value), *words) for value in (0.1, -0.1, 0.001)] == list(words)
    results = Results("toy", "pocket")
    record(results, "it", known(0.5), interval_kind="by hand", n=3)
    assert results.as_dict()["results"]["it"]["ci_high"] == 0.51
    assert stated(known(0.5), 2) == "0.50 [0.49, 0.51]"


@pytest.mark.parametrize(
    ("hook_point", "blocks", "layer"),
    [("projection", 6, "last"), ("block_5", 6, "23"), ("block_4", 6, "22"), ("block_2", 6, "11"), ("block_3", 6, "17"),
     ("block_23", 24, "23"), ("block_22", 24, "22"), ("block_17", 24, "17"), ("block_11", 24, "11")],
)  # fmt: skip
def test_the_paper_s_layer_is_found_by_place(hook_point, blocks, layer):
    assert figures.paper_layer(hook_point, blocks) == layer


def test_the_verdict_on_steps():
    assert monotone([known(0.1), known(0.2)]) == "rises at every step"
    assert monotone([known(0.1), known(-0.2)]) == "does not rise at every step"
    assert monotone([known(0.1), known(0.001)]) == "rises, but not clearly at every step"
    assert monotone([known(-0.001)]) == "does not rise"


def test_the_spread_is_drawn_as_it_is():
    axes = figures.spread_bars({"block_2": 0.9, "projection": 0.2}, {"block_2": 3.0, "projection": 12.0}).axes
    assert [bar.get_height() for bar in axes[1].patches] == [3.0, 12.0]
