"""Probes on k latents: chosen as the slow definition chooses, fitted as a whole probe on those latents would be."""

import numpy as np
import oracles
import pytest
import scipy.sparse as sp
from sklearn.linear_model import OrthogonalMatchingPursuit
from sklearn.preprocessing import StandardScaler

from vlm_sae_lib.controls.probes import LinearProbes
from vlm_sae_lib.controls.sparse_probes import SparseProbes, best_thresholds, choose_latents
from vlm_sae_lib.errors import UserError


def world(seed, n=300, latents=12, values=4):
    """A sparse code of correlated latents, and values that hang on several of them."""
    rng = np.random.default_rng(seed)
    code = np.maximum(rng.normal(size=(n, latents)) @ rng.normal(size=(latents, latents)) - 1, 0)
    truth = code @ rng.normal(size=(latents, values)) > 1
    return code, truth


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix, lambda code: sp.csr_matrix(code.astype(np.float32))])
@pytest.mark.parametrize("seed", range(4))
def test_latents_are_those_of_matching_pursuit_in_its_order(seed, form):
    code, truth = world(seed)
    chosen = choose_latents(form(code), truth, 5)
    for value, shown in enumerate(truth.T.astype(float)):
        assert chosen[value].tolist() == oracles.matching_pursuit(code, shown, 5)
    for fewer in (1, 2):
        assert (choose_latents(form(code), truth, fewer) == chosen[:, :fewer]).all()


def test_latents_are_those_of_scikit_learn():
    code, truth = world(7)
    chosen = choose_latents(code, truth, 3)
    for value, shown in enumerate(truth.T.astype(float)):
        fit = OrthogonalMatchingPursuit(n_nonzero_coefs=3).fit(StandardScaler().fit_transform(code), shown)
        assert sorted(chosen[value]) == np.flatnonzero(fit.coef_).tolist()


def test_dead_and_constant_latents_twins_and_a_value_that_nobody_shows():
    rng = np.random.default_rng(0)
    shown = rng.random(200) < 0.3
    code = np.stack([np.zeros(200), np.full(200, 3.0), shown * 2.0, shown * 2.0, rng.random(200)], axis=1)
    chosen = choose_latents(code, np.stack([shown, np.zeros(200, bool), np.ones(200, bool)], axis=1), 3)
    assert chosen[0].tolist() == [2, -1, -1]  # the first tells all, and the twin adds nothing
    assert (chosen[1:] == -1).all()
    probes = SparseProbes.fit(code, np.stack([shown, np.zeros(200, bool), np.ones(200, bool)], axis=1), chosen)
    read = probes.read(sp.csr_matrix(code))
    assert ((read[:, 0] > 0.5) == shown).all() and np.allclose(read[:, 1], 0) and np.allclose(read[:, 2], 1)
    assert probes.speaking_for().tolist() == [[2, -1, -1], [-1, -1, -1], [-1, -1, -1]]


@pytest.mark.parametrize("k", [1, 3])
def test_weights_are_those_of_a_whole_probe_on_these_latents_alone(k):
    code, truth = world(3)
    chosen = choose_latents(code, truth, k)
    other, facts = world(4)
    read = SparseProbes.fit(other, facts, chosen).read(code)
    of_several = SparseProbes.fit_first(other, facts, choose_latents(code, truth, 4), [2, k])[1]
    assert of_several.read(code) == pytest.approx(read)
    for value in range(truth.shape[1]):
        own = chosen[value]
        whole = LinearProbes.fit(other[:, own], facts[:, [value]])
        assert read[:, value] == pytest.approx((code[:, own] @ whole.weights + whole.bias)[:, 0], abs=1e-9)


def test_a_latent_that_speaks_against_a_value_is_none_that_speaks_for_it():
    rng = np.random.default_rng(1)
    shown = rng.random(100) < 0.5
    code = np.stack([~shown * 1.0, shown * rng.random(100)], axis=1)
    probes = SparseProbes.fit(code, shown[:, None], np.array([[0, 1]]))
    assert probes.speaking_for().tolist() == [[-1, 1]]


@pytest.mark.parametrize("seed", range(5))
def test_thresholds_give_the_best_f1_with_ties_among_the_readings(seed):
    rng = np.random.default_rng(seed)
    readings, truth = rng.integers(0, 6, (60, 3)) / 2, rng.random((60, 3)) < 0.3
    for column, shown, bar in zip(readings.T, truth.T, best_thresholds(readings, truth), strict=True):
        said = column > bar
        f1 = 2 * (said & shown).sum() / (said.sum() + shown.sum())
        assert f1 == pytest.approx(oracles.best_threshold_f1(column, shown))


def test_a_threshold_where_all_readings_are_alike_says_the_value_of_all():
    assert best_thresholds(np.zeros((4, 1)), np.ones((4, 1), dtype=bool)).tolist() == [-np.inf]


def test_another_truth_and_no_latents_are_refused():
    with pytest.raises(UserError, match="4 rows of latents but the truth of 3"):
        choose_latents(np.zeros((4, 2)), np.zeros((3, 1), dtype=bool), 1)
    with pytest.raises(UserError, match="of 0 latents reads nothing"):
        choose_latents(np.zeros((4, 2)), np.zeros((4, 1), dtype=bool), 0)
