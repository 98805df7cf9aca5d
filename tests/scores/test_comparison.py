"""Kinds of neurons side by side, and the codes that mean nothing."""

import numpy as np
import pytest
import scipy.sparse as sp

from vlm_sae_lib.controls import codes
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.scores import comparison
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score, ms_bootstrap
from vlm_sae_lib.statistics.intervals import percentiles, student


@pytest.fixture
def clustered():
    """60 pictures in three clusters; latents 0 to 2 fire on one cluster each, latent 3 on one picture, 4 on none."""
    rng = np.random.default_rng(0)
    cluster = np.arange(60) % 3
    embeddings = np.eye(3)[cluster] + rng.normal(0, 0.1, (60, 3))
    latents = np.zeros((60, 5))
    for latent in range(3):
        latents[cluster == latent, latent] = rng.uniform(1, 2, 20)
    latents[7, 3] = 1
    return sp.csr_matrix(latents), embeddings


def test_score_holds_ms_its_draws_and_the_pictures(clustered):
    latents, embeddings = clustered
    scored = comparison.score(latents, embeddings, resamples=20, seed=3)
    np.testing.assert_array_equal(scored.ms, monosemanticity_score(latents, embeddings))
    np.testing.assert_array_equal(scored.draws, ms_bootstrap(latents, embeddings, 20, 3, per_neuron=True))
    assert scored.pictures.tolist() == [20, 20, 20, 1, 0]
    assert scored.kept().tolist() == [True, True, True, False, False]
    mean = scored.mean()
    assert mean.interval.low < mean.value < mean.interval.high
    assert mean.value == pytest.approx(np.nanmean(scored.ms))
    assert scored.kept(21).sum() == 0 and np.isnan(scored.mean(21).value)


def test_a_draws_mean_does_not_depend_on_who_is_left_in_it():
    """Two neurons whose scores never move, one of them defined in half of the draws only."""
    draws = np.tile([0.9, 0.1], (10, 1))
    draws[:5, 0] = np.nan
    scored = comparison.Scored(np.array([0.9, 0.1]), draws, np.array([2, 50]))
    mean = scored.mean()
    assert mean.value == mean.interval.low == mean.interval.high == 0.5
    assert scored.mean(10).value == 0.1


def test_differences_are_paired_and_shares_count(clustered):
    latents, embeddings = clustered
    scored = comparison.score(latents, embeddings, resamples=20)
    itself = scored.minus(scored)
    assert itself.value == itself.interval.low == itself.interval.high == 0
    noise = comparison.score(codes.shuffled_code(latents, 1), embeddings, resamples=20)
    assert scored.minus(noise).interval.low > 0.3
    assert scored.share_above(noise).value == scored.share_above(noise, best=True).value == 1
    assert noise.share_above(scored).value == 0
    assert scored.share_above(scored, best=True).value == 0
    with pytest.raises(UserError, match="20 and 19 times"):
        scored.minus(comparison.score(latents, embeddings, resamples=19))


@pytest.mark.parametrize("offset", [0.0, -0.5, 2.0])
def test_pictures_above_the_minimum_are_the_same_dense_and_sparse(offset):
    rng = np.random.default_rng(1)
    dense = np.where(rng.random((30, 6)) < 0.4, rng.normal(size=(30, 6)), 0) + offset
    dense[:, 0] = 1.0
    expected = [(column > column.min()).sum() for column in dense.T]
    assert comparison.pictures_above_minimum(dense).tolist() == expected
    assert comparison.pictures_above_minimum(sp.csr_matrix(dense)).tolist() == expected


def test_mean_cosine_is_the_mean_over_pairs():
    embeddings = np.random.default_rng(2).normal(size=(9, 4)) + 0.5
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    expected = (unit @ unit.T)[np.triu_indices(9, 1)].mean()
    assert codes.mean_cosine(embeddings) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(codes.mean_cosine(embeddings[:1]))


def test_a_shuffled_code_keeps_each_latents_values_and_loses_its_pictures(clustered):
    latents, embeddings = clustered
    code = codes.shuffled_code(latents, seed=4)
    assert code.shape == latents.shape and code.has_canonical_format
    for latent in range(5):
        ours, theirs = (np.sort(matrix[:, [latent]].data) for matrix in (latents, code))
        np.testing.assert_array_equal(ours, theirs)
    assert (code != codes.shuffled_code(latents, seed=4)).nnz == 0
    ms = monosemanticity_score(code, embeddings)[:3]
    assert np.abs(ms - codes.mean_cosine(embeddings)).max() < 0.25


def test_random_directions_fire_as_often_and_only_on_the_positive_side(clustered):
    latents, _ = clustered
    raw = np.random.default_rng(5).normal(size=(60, 8))
    code = codes.random_directions(raw, latents, seed=6)
    assert code.getnnz(axis=0).tolist() == [20, 20, 20, 1, 0]
    assert code.data.min() > 0
    always = np.ones((60, 2))
    assert (codes.random_directions(raw, always).getnnz(axis=0) < 60).all()


def kinds(means, seed=0, pictures=50):
    """A training for each mean: three neurons about it, with ten draws that move them."""
    rng = np.random.default_rng(seed)
    ms = [mean + np.array([-0.1, 0.0, 0.1]) for mean in means]
    return [comparison.Scored(one, one + rng.normal(0, 0.01, (10, 3)), np.full(3, pictures)) for one in ms]


def test_means_over_trainings_have_students_interval_over_them():
    runs, others = kinds([0.2, 0.3, 0.5]), kinds([0.1, 0.1, 0.4], seed=1)
    assert comparison.over_seeds(runs).interval == pytest.approx(student([0.2, 0.3, 0.5]).interval)
    paired = comparison.over_seeds(runs, minus=others)
    assert paired.value == pytest.approx(0.4 / 3)
    assert paired.interval == pytest.approx(student([0.1, 0.2, 0.1]).interval)
    against_one = comparison.over_seeds(runs, minus=others[:1])
    assert against_one.interval == pytest.approx(student([0.1, 0.2, 0.4]).interval)
    shares = [(0.5, np.empty(0)), (np.nan, np.empty(0)), (0.7, np.empty(0))]
    assert comparison.over_trainings(shares) == student([0.5, 0.7])
    np.testing.assert_allclose(comparison.by_training(shares)[[0, 2]], [0.5, 0.7])


def test_one_training_alone_has_its_draws_of_the_pictures():
    (one,), (other,) = kinds([0.3]), kinds([0.1], seed=1)
    assert comparison.over_seeds([one]) == one.mean()
    assert comparison.over_seeds([one], minus=[other]) == one.minus(other)
    value, draws = one.moved(2)
    assert comparison.over_trainings([(value, draws)]).interval == percentiles(draws)


def test_trainings_that_cannot_be_paired_are_refused():
    with pytest.raises(UserError, match="at least one"):
        comparison.over_seeds([])
    with pytest.raises(UserError, match="3 trainings cannot be held against 2"):
        comparison.over_seeds(kinds([0.1, 0.2, 0.3]), minus=kinds([0.1, 0.2]))
