"""Latents matched one to one, and what of a known truth they recover, against all permutations and plain loops."""

import numpy as np
import oracles
import pytest
import scipy.sparse as sp

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.scores import matching

RNG = np.random.default_rng


@pytest.mark.parametrize("shape", [(5, 5), (3, 6), (6, 3), (1, 4)])
def test_the_matching_is_the_best_of_all_permutations(shape):
    for seed in range(5):
        similarity = RNG(seed).normal(size=shape)
        rows, columns = matching.matched(similarity)
        assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == oracles.best_matching(similarity.tolist())


def test_what_is_undefined_is_matched_last():
    rows, columns = matching.matched(np.array([[np.nan, 0.5], [0.2, 0.4]]))
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])


def test_a_dictionary_in_another_order_is_stable_and_one_turned_round_is_not():
    decoder = RNG(0).normal(size=(12, 6))
    order = RNG(1).permutation(12)
    for scale in (1, 7.5):  # lengths do not count
        ours, theirs = matching.stability(decoder, scale * decoder[order])
        assert ours == pytest.approx(np.ones(12)) and theirs == pytest.approx(np.ones(12))
    opposite, _ = matching.stability(np.eye(4), -np.eye(4))
    assert opposite.max() <= 0


def test_stability_by_hand_and_of_dictionaries_of_unequal_size():
    a, b = RNG(2).normal(size=(3, 4)), RNG(3).normal(size=(5, 4))
    cosines = [[oracles.cosine(x, y) for y in b] for x in a]
    pairs = oracles.best_matching(cosines)
    ours, theirs = matching.stability(a, b)
    assert ours == pytest.approx([cosines[i][j] for i, j in pairs])
    assert np.isnan(theirs).sum() == 2
    assert [theirs[j] for _, j in pairs] == pytest.approx(ours.tolist())
    back, forth = matching.stability(b, a)
    assert np.nan_to_num(back) == pytest.approx(np.nan_to_num(theirs)) and forth == pytest.approx(ours)


def test_a_dead_direction_has_no_cosine_and_other_widths_are_refused():
    assert matching.cosines(np.zeros((1, 3)), np.eye(3)).tolist() == [[0, 0, 0]]
    with pytest.raises(UserError, match="of 3 and of 4 dimensions"):
        matching.stability(np.eye(3), np.eye(4))


def world(seed, n=60, features=5, latents=5):
    """Features, a noisy dictionary of them with a dead latent, and its code."""
    rng = RNG(seed)
    directions, truth = rng.normal(size=(features, 4)), rng.random((n, features)) < 0.3
    decoder = directions[rng.permutation(features)[:latents]] + 0.3 * rng.normal(size=(latents, 4))
    code = np.where(rng.random((n, latents)) < 0.4, rng.random((n, latents)), 0)
    code[:, -1] = 0
    return directions, truth, decoder, code


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize("latents", [3, 5])
def test_recovery_of_directions_by_plain_loops(form, latents):
    for seed in range(4):
        directions, truth, decoder, code = world(seed, latents=latents)
        cosines = [[abs(oracles.cosine(a, b)) for b in directions] for a in decoder]
        pairs = [cosines[i][j] for i, j in oracles.best_matching(cosines)]
        each = [oracles.detection(code[:, i] > 0, truth[:, int(np.argmax(row))]) for i, row in enumerate(cosines)]
        found = matching.of_directions(decoder, directions, form(code), truth)
        assert found.correlation == pytest.approx(np.mean(pairs)) and found.pairs == latents
        assert found.found == pytest.approx(sum(c > 0.7 for c in pairs) / 5)
        scores = [found.precision, found.recall, found.f1]
        assert scores == pytest.approx([np.nanmean(column) for column in zip(*each, strict=True)])


def test_a_latent_that_never_fires_lowers_recall_and_f1_and_has_no_precision():
    truth = np.array([[True, False], [True, False], [False, True]])
    code = np.array([[1.0, 0], [1, 0], [0, 0]])
    found = matching.of_directions(np.eye(2), np.eye(2), code, truth)
    assert (found.correlation, found.precision, found.recall, found.f1) == pytest.approx((1, 1, 0.5, 0.5))


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
def test_recovery_of_values_is_chosen_on_some_rows_and_scored_on_others(form):
    for seed in range(4):
        _, truth, _, code = world(seed)
        _, other_truth, _, other = world(seed + 100)
        similar = [[oracles.pearson(code[:, i], truth[:, j]) for j in range(5)] for i in range(5)]
        pairs = oracles.best_matching(np.nan_to_num(similar).tolist())
        both = [oracles.pearson(other[:, i], other_truth[:, j]) for i, j in pairs]
        each = [oracles.detection(other[:, i] > 0, other_truth[:, j]) for i, j in pairs]
        found = matching.of_values(form(code), truth, form(other), other_truth)
        assert found.correlation == pytest.approx(np.nanmean(both)) and found.pairs == 5
        scores = [found.precision, found.recall, found.f1]
        assert scores == pytest.approx([np.nanmean(column) for column in zip(*each, strict=True)])


def test_perfect_latents_of_values_are_found_whatever_their_order_and_scale():
    truth = RNG(5).random((80, 6)) < 0.3
    code = 3.0 * truth[:, [4, 2, 0, 5, 1, 3]]
    found = matching.of_values(code, truth, code, truth)
    assert (found.correlation, found.found, found.precision, found.recall, found.f1) == pytest.approx((1,) * 5)


def test_correlation_with_a_constant_is_undefined():
    code, truth = np.array([[1.0, 2], [1, 0], [1, 1]]), np.array([[True, True], [True, False], [True, False]])
    table = matching.correlations(code, truth)
    assert np.isnan(table[0]).all() and np.isnan(table[1, 0])
    assert table[1, 1] == pytest.approx(oracles.pearson(code[:, 1], truth[:, 1]))
