"""Dictionaries without an SAE: what they project on, how they are cut, and what can be read back from a code."""

import numpy as np
import pytest
import scipy.sparse as sp

from vlm_sae_lib.controls import directions
from vlm_sae_lib.controls.directions import Directions, linear_readout_r2
from vlm_sae_lib.errors import UserError

ROWS = np.random.default_rng(0).standard_normal((300, 6)) @ np.diag([4, 3, 2, 1, 1, 0.5]) + 5


def test_a_latent_is_a_projection_above_the_threshold():
    two = Directions(np.array([1.0, 0.0]), np.array([[1.0, 0.0], [0.0, -1.0]]), threshold=0.5)
    assert two.encode(np.array([[3.0, -2.0], [1.2, 4.0]])).tolist() == [[2.0, 2.0], [0.0, 0.0]]
    assert two.n_latents == 2 and sp.issparse(two.encode_sparse(np.ones((1, 2))))
    with pytest.raises(UserError, match="have 3 columns, the directions have 2"):
        two.encode(np.ones((1, 3)))


@pytest.mark.parametrize("l0", [1, 2.5])
def test_the_cut_leaves_the_wanted_number_per_row_on_average(l0):
    for whole in (directions.principal(ROWS), directions.random(ROWS, 9, seed=1), directions.clusters(ROWS, 8, seed=1)):
        cut = whole.cut(ROWS, l0)
        assert np.count_nonzero(cut.encode(ROWS)) == round(l0 * len(ROWS))
        kept = cut.encode(ROWS) > 0
        np.testing.assert_array_equal(cut.encode(ROWS)[kept], whole.encode(ROWS)[kept])


def test_principal_directions_stand_with_both_signs_and_rebuild_everything():
    both = directions.principal(ROWS)
    code = both.encode(ROWS)
    half = both.n_latents // 2
    rebuilt = both.mean + (code[:, :half] - code[:, half:]) @ both.directions[:half]
    np.testing.assert_allclose(rebuilt, ROWS, atol=1e-9)
    signed = code[:, :half] - code[:, half:]
    assert np.all(np.diff(signed.std(axis=0)) < 0)
    white = directions.principal(ROWS, whiten=True).encode(ROWS)
    np.testing.assert_allclose((white[:, :half] - white[:, half:]).std(axis=0), 1)


def test_independent_components_find_sources_that_principal_ones_mix():
    rng = np.random.default_rng(3)
    sources = rng.laplace(size=(4000, 2))
    mixed = sources @ np.array([[1.0, 0.6], [0.2, 1.0]])

    def best(found):
        signed = found.encode(mixed)[:, :2] - found.encode(mixed)[:, 2:]
        return np.abs(np.corrcoef(sources.T, signed.T)[:2, 2:]).max(axis=1)

    assert best(directions.independent(mixed, seed=1)).min() > 0.98 > best(directions.principal(mixed)).min()


def test_clusters_point_to_the_centres():
    rng = np.random.default_rng(2)
    centres = np.array([[10.0, 0, 0], [-10, 0, 0], [0, 10, 0], [0, -10, 0]])
    rows = np.repeat(centres, 100, axis=0) + rng.normal(0, 0.1, (400, 3))
    found = directions.clusters(rows, 4, seed=0).directions
    assert sorted(np.abs(found @ centres.T / 10).max(axis=1).round(2)) == [1, 1, 1, 1]


def test_the_same_seed_gives_the_same_directions():
    for make in (directions.random, directions.clusters):
        np.testing.assert_array_equal(make(ROWS, 5, seed=4).directions, make(ROWS, 5, seed=4).directions)
        assert not np.array_equal(make(ROWS, 5, seed=4).directions, make(ROWS, 5, seed=5).directions)


def test_a_seed_that_torch_and_numpy_take_is_taken():
    largest = 2**63 - 1
    assert directions.clusters(ROWS, 5, seed=largest).n_latents == 5
    assert directions.independent(np.random.default_rng(0).random((300, 2)), seed=largest).n_latents == 4


def test_a_linear_readout_reads_what_is_there_and_nothing_else():
    code = directions.principal(ROWS).encode(ROWS)
    assert linear_readout_r2(code[:200], ROWS[:200], code[200:], ROWS[200:]) > 0.99
    noise = np.random.default_rng(9).random((300, 4))
    assert abs(linear_readout_r2(noise[:200], ROWS[:200], noise[200:], ROWS[200:])) < 0.1
    assert linear_readout_r2(np.zeros((200, 3)), ROWS[:200], np.zeros((100, 3)), ROWS[200:]) < 0.05
