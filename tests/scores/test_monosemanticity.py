"""The MonoSemanticity score against its definition and against the authors' code."""

import numpy as np
import oracles
import pytest
import scipy.sparse as sp
import torch
from data_files import REFERENCE

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score, ms_bootstrap
from vlm_sae_lib.statistics import pairs


def awkward(seed=0, n=41, dim=7):
    """Activations of every awkward kind, one neuron each, and embeddings."""
    rng = np.random.default_rng(seed)
    normal, positive = rng.normal(size=(n, 6)), np.maximum(rng.normal(size=(n, 12)) - 1, 0)
    special = np.zeros((n, 8))
    special[:, 1] = 3.5  # constant
    special[4, 2] = 2  # one image
    special[[4, 9], 3] = [1, 1e-9]  # two, one of them nearly silent
    special[[4, 9], 4] = [1, 1e-17]  # what the plain formula turns into 0/0
    special[[4, 9, 11], 5] = [1e-160, 3e-161, 2e-161]  # squares leave float64's range
    special[:, 6] = 1e6 + 1e-3 * rng.normal(size=n)  # large offset
    special[[1, 2], 7] = [-1, -2]  # silent at its maximum
    return np.hstack([normal, positive, special]), rng.normal(size=(n, dim)) + 0.3


def expected(activations, embeddings):
    return np.array([oracles.monosemanticity(column, embeddings) for column in np.asarray(activations).T])


def test_agrees_with_the_authors_code():
    reference = np.load(REFERENCE / "monosemanticity.npz")
    for activations in (reference["activations"], sp.csr_matrix(reference["activations"])):
        scores = monosemanticity_score(activations, reference["embeddings"])
        np.testing.assert_allclose(scores, reference["scores"], rtol=0, atol=1e-9)
        assert scores.dtype == np.float64


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.parametrize("seed", range(3))
def test_is_the_definition_in_every_container(seed):
    activations, embeddings = awkward(seed)
    truth = expected(activations, embeddings)
    assert np.isnan(truth[18:21]).all() and np.isfinite(truth[21:]).all()
    containers = {
        "array": activations,
        "fortran": np.asfortranarray(activations),
        "csr": sp.csr_matrix(activations),
        "csc": sp.csc_matrix(activations),
        "coo array": sp.coo_array(activations),
        "tensor": torch.from_numpy(activations),
        "torch coo": torch.from_numpy(activations).to_sparse(),
        "torch csr": torch.from_numpy(activations).to_sparse_csr(),
    }
    for name, container in containers.items():
        np.testing.assert_allclose(monosemanticity_score(container, embeddings), truth, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(monosemanticity_score(activations, torch.from_numpy(embeddings)), truth, atol=1e-12)


def test_small_blocks_give_the_same(monkeypatch):
    activations, embeddings = awkward()
    whole = monosemanticity_score(activations, embeddings)
    monkeypatch.setattr(pairs, "SUM_BLOCK", 20)
    monkeypatch.setattr(pairs, "DENSE_BLOCK", 50)
    for matrix in (activations, sp.csr_matrix(activations), activations * (np.arange(26) > 16)):
        scores = monosemanticity_score(matrix, embeddings)
        live = ~np.isnan(scores)
        np.testing.assert_allclose(scores[live], whole[live], atol=1e-14)


def test_the_callers_objects_stay_as_they_are():
    matrix = sp.csr_matrix((np.array([1.0, 2.0, 3.0, -1.0]), np.array([1, 0, 0, 0]), np.array([0, 3, 4])), shape=(2, 2))
    before = matrix.copy()
    embeddings = np.array([[3.0, 4.0], [0.0, 2.0]])
    monosemanticity_score(matrix, embeddings)
    assert matrix.nnz == 4 and (matrix.data == before.data).all() and (matrix.indices == before.indices).all()
    assert (embeddings == [[3, 4], [0, 2]]).all()


def test_entries_stored_twice_are_summed_and_stored_zeros_are_zeros():
    embeddings = np.eye(3) + 0.5
    twice = sp.coo_matrix(([1.0, 1.0, 2.0, 0.0], ([0, 0, 1, 2], [0, 0, 0, 0])), shape=(3, 1))
    plain = np.array([[2.0], [2.0], [0.0]])
    assert monosemanticity_score(twice, embeddings) == monosemanticity_score(plain, embeddings)


def test_the_maximum_and_the_embeddings_length_do_not_matter():
    activations, embeddings = awkward()
    scores = monosemanticity_score(activations, embeddings)
    lengths = np.logspace(-180, 150, len(embeddings))[:, None]
    np.testing.assert_allclose(monosemanticity_score(activations * 1e-30, embeddings * lengths), scores, atol=1e-9)


def test_identical_and_opposite_pictures_bound_the_score():
    activations = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 2.0], [0.5, 0.0]])
    same = np.ones((4, 5))
    assert (monosemanticity_score(activations, same) == 1).all()
    opposite = monosemanticity_score(np.array([[1.0], [1.0], [0.0]]), np.array([[1.0, 0], [-1.0, 0], [0, 1.0]]))
    assert opposite == [-1]


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_pictures_leave_every_score_undefined(n):
    assert np.isnan(monosemanticity_score(np.ones((n, 3)), np.ones((n, 2)))).all()
    assert np.isnan(monosemanticity_score(sp.csr_matrix((n, 3)), np.ones((n, 2)))).all()


@pytest.mark.parametrize(
    ("activations", "embeddings", "words"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), "3 rows of activations but 4 embeddings"),
        (np.ones(3), np.ones((3, 2)), "shape"),
        (np.ones((3, 2)), np.ones(3), "shape"),
        (np.array([[1.0], [np.nan]]), np.ones((2, 2)), "NaN"),
        (sp.csr_matrix([[np.inf], [1.0]]), np.ones((2, 2)), "NaN or infinite"),
        (np.ones((2, 1)), np.array([[1.0, 1.0], [np.nan, 0.0]]), "NaN"),
        (np.ones((3, 1)), np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]), "row 2 is all zeros"),
        (np.array([["a"], ["b"]]), np.ones((2, 2)), "real numbers"),
    ],
)
def test_what_the_user_can_mend_is_one_sentence(activations, embeddings, words):
    with pytest.raises(UserError, match=words) as error:
        monosemanticity_score(activations, embeddings)
    assert "\n" not in str(error.value)


def test_half_precision_is_taken():
    activations, embeddings = (
        np.abs(np.random.default_rng(0).normal(size=(9, 4))),
        np.random.default_rng(1).normal(size=(9, 3)),
    )
    half = torch.from_numpy(activations).bfloat16()
    scores = monosemanticity_score(half, torch.from_numpy(embeddings).bfloat16())
    exact = monosemanticity_score(half.double(), torch.from_numpy(embeddings).bfloat16().double())
    np.testing.assert_allclose(scores, exact, atol=1e-12)


@pytest.mark.parametrize("sparse", [False, True])
def test_bootstrap_is_the_definition_on_each_draw(sparse):
    activations, embeddings = awkward(n=13)
    container = sp.csr_matrix(activations) if sparse else activations
    replicates = ms_bootstrap(container, embeddings, n_resamples=5, seed=3, per_neuron=True)
    rng = np.random.default_rng(3)
    for replicate in replicates:
        drawn = sorted(rng.integers(13, size=13).tolist())
        truth = [oracles.monosemanticity(column, embeddings, drawn) for column in activations.T]
        np.testing.assert_allclose(replicate, truth, atol=1e-11)
    means = ms_bootstrap(container, embeddings, n_resamples=5, seed=3)
    np.testing.assert_allclose(means, np.nanmean(replicates, axis=1), atol=1e-12)
    assert (means == ms_bootstrap(container, embeddings, n_resamples=5, seed=3)).all()
    assert (means != ms_bootstrap(container, embeddings, n_resamples=5, seed=4)).any()


def test_bootstrap_does_not_lift_the_score_as_a_naive_one_does():
    rng = np.random.default_rng(0)
    activations, embeddings = np.maximum(rng.normal(size=(60, 30)) - 1, 0), rng.normal(size=(60, 20))
    score = np.nanmean(monosemanticity_score(activations, embeddings))
    means = ms_bootstrap(activations, embeddings, n_resamples=200, seed=0)
    naive = []
    for _ in range(50):
        drawn = rng.integers(60, size=60)
        naive.append(np.nanmean(monosemanticity_score(activations[drawn], embeddings[drawn])))
    assert abs(means.mean() - score) < 0.01 < 0.05 < np.mean(naive) - score


def test_bootstrap_where_nothing_is_defined():
    assert np.isnan(ms_bootstrap(np.zeros((4, 2)), np.ones((4, 2)), n_resamples=3)).all()
    with pytest.raises(UserError, match="at least 1"):
        ms_bootstrap(np.zeros((4, 2)), np.ones((4, 2)), n_resamples=0)
