"""The compiled loops of the scores against their definitions in plain arrays, on awkward sizes too."""

import numpy as np
import oracles
import pytest
import scipy.sparse as sp
import torch

from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.statistics import loops
from vlm_sae_lib.statistics.inputs import checked_embeddings, unit_embeddings
from vlm_sae_lib.statistics.neurons import NeuronStatistics
from vlm_sae_lib.statistics.pairs import columns_of, pairs_by_neuron
from vlm_sae_lib.statistics.top_images import TopImages


def code(seed, n, n_neurons, share, ties):
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 3, size=(n, n_neurons)) if ties else rng.random((n, n_neurons)) + 1e-3
    return np.where(rng.random((n, n_neurons)) < share, values, 0).astype(np.float32)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("share", [0, 0.08, 0.6, 1])
@pytest.mark.parametrize(
    ("n", "n_neurons", "dim"), [(1, 1, 1), (1, 40, 3), (2, 1, 1), (2, 33, 4), (5, 7, 2), (23, 70, 9)]
)
def test_the_score_is_the_definition(n, n_neurons, dim, share, ties):
    activations = code(0, n, n_neurons, share, ties)
    embeddings = np.random.default_rng(1).normal(size=(n, dim)) + 0.2
    for rows in (embeddings, embeddings.astype(np.float32)):
        truth = [oracles.monosemanticity(column, rows) for column in activations.T]
        np.testing.assert_allclose(monosemanticity_score(sp.csr_matrix(activations), rows), truth, atol=1e-12)
        gathered = NeuronStatistics(n_neurons, dim, 3)
        gathered.update(sp.csr_matrix(activations), rows, np.arange(n))
        np.testing.assert_allclose(gathered.monosemanticity(), truth, atol=1e-12)
        np.testing.assert_array_equal(
            gathered.top_images(), [oracles.top_images(column, range(n), 3)[0] for column in activations.T]
        )


def test_without_neurons_or_pictures_there_is_nothing_to_score():
    assert monosemanticity_score(sp.csr_matrix((3, 0)), np.ones((3, 2))).shape == (0,)
    assert np.isnan(monosemanticity_score(sp.csr_matrix((0, 3)), np.ones((0, 2)))).all()


def test_the_number_of_threads_changes_no_bit_of_the_score():
    activations, threads = sp.csr_matrix(code(2, 400, 900, 0.05, False)), torch.get_num_threads()
    embeddings = np.random.default_rng(3).normal(size=(400, 17)).astype(np.float32)
    try:
        found = []
        for number in (1, 2, 3, 7):
            torch.set_num_threads(number)
            found.append(monosemanticity_score(activations, embeddings).tobytes())
    finally:
        torch.set_num_threads(threads)
    assert len(set(found)) == 1


@pytest.mark.parametrize("n", [1, 511, 512, 513, 1100])
def test_the_sum_of_unit_embeddings(n):
    rows = np.random.default_rng(n).normal(size=(n, 3))
    found = loops.unit_sum(checked_embeddings(rows, n))
    np.testing.assert_allclose(found, unit_embeddings(rows, n).sum(axis=0), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.int8, bool])
def test_lengths_are_those_of_the_definition(dtype):
    rows = np.random.default_rng(0).integers(1, 5, size=(7, 4)).astype(dtype)
    found = checked_embeddings(rows, 7)
    np.testing.assert_allclose(found.rows * found.inverse[:, None], unit_embeddings(rows, 7), rtol=1e-15)
    assert found.rows.dtype == (np.float64 if dtype in (np.float64, np.int64) else np.float32)


@pytest.mark.parametrize("length", [1e-160, 1e160, 1e-30, 1e30])
def test_lengths_whose_squares_leave_the_range(length):
    rows = np.random.default_rng(0).normal(size=(4, 3))
    rows[2] *= length
    found = checked_embeddings(rows, 4)
    np.testing.assert_allclose(found.rows * found.inverse[:, None], unit_embeddings(rows, 4), rtol=1e-15)


@pytest.mark.parametrize("stored", [[0], [5], [0] * 40, [1000] + [0] * 99, [1, 2, 3] * 500, list(range(200, 0, -1))])
def test_pieces_hold_every_neuron_once(stored):
    edges = loops.even_pieces(np.concatenate([[0], np.cumsum(stored)]).astype(np.int32))
    assert edges[0] == 0 and edges[-1] == len(stored) and (np.diff(edges) >= 0).all()


def test_pairs_by_neuron_are_the_columns():
    activations = code(5, 9, 11, 0.4, False)
    pairs = pairs_by_neuron(sp.csr_matrix(activations))
    np.testing.assert_array_equal(columns_of(pairs, np.array([3, 0, 10])).toarray(), activations[:, [3, 0, 10]])


@pytest.mark.parametrize("k", [1, 2, 16])
def test_ranks_of_equals_do_not_depend_on_the_order_of_the_batches(k):
    rng = np.random.default_rng(k)
    values, ids = rng.integers(-2, 3, size=(4, 50)).astype(np.float64), rng.permutation(200)[:50]
    for cuts in ([], [20], [1, 2, 30]):
        best = TopImages(4, k)
        for part in np.split(rng.permutation(50), cuts):
            best.add_dense(np.arange(4), np.ascontiguousarray(values[:, part]), ids[part])
        for neuron in range(4):
            ranked = sorted(zip(-values[neuron], ids, strict=True))[:k]
            assert best.image_ids[neuron].tolist() == [image for _, image in ranked]
            assert best.activations[neuron].tolist() == [-value for value, _ in ranked]
