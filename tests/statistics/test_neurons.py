"""The one pass over the pictures: every number against its slow definition, in any order and any split."""

import numpy as np
import oracles
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.statistics import sums, tally, waiting
from vlm_sae_lib.statistics.neurons import NeuronStatistics


def pictures(seed, n=40, dim=5):
    """Neurons of every kind: latents (with ties), signed, offset, dead, constant, lone and twin images."""
    rng = np.random.default_rng(seed)
    columns = [
        *np.maximum(rng.normal(size=(6, n)) - 1.2, 0),
        *np.maximum(rng.integers(-4, 3, size=(4, n)), 0),  # many equal activations
        *rng.normal(size=(3, n)),
        *rng.integers(-2, 2, size=(3, n)),  # signed with zeros and ties
        1e4 + rng.normal(size=n),
        -1e4 + rng.normal(size=n),
        np.abs(rng.normal(size=n)) + 0.1,  # always on
        np.zeros(n),
        np.full(n, 2.5),
        np.full(n, -2.5),
        np.where(np.arange(n) == n // 2, 3.0, 0),
        np.where(np.arange(n) == n // 2, -3.0, 0),
        np.where(np.arange(n) == 1, 1.0, np.where(np.arange(n) == n - 1, 1e-12, 0)),
        np.where(np.arange(n) < n // 2, 0, -rng.random(n)),  # turns negative half-way
    ]
    ids = rng.permutation(3 * n)[:n]
    return np.array(columns, dtype=np.float64).T, rng.normal(size=(n, dim)) + 0.5, ids


def gather(activations, embeddings, ids, cuts, kind="dense", top_k=4):
    """Statistics from batches cut at ``cuts``; ``mixed`` alternates dense and sparse batches."""
    gathered = NeuronStatistics(activations.shape[1], embeddings.shape[1], top_k)
    for turn, rows in enumerate(np.split(np.arange(len(ids)), cuts)):
        batch = activations[rows]
        if kind == "sparse" or (kind == "mixed" and turn % 2):
            batch = sp.csr_matrix(batch)
        gathered.update(batch, embeddings[rows], ids[rows])
    return gathered


def check(gathered, activations, embeddings, ids):
    truth = [oracles.top_images(column, ids, gathered.top_k) for column in activations.T]
    np.testing.assert_array_equal(gathered.top_images(), [images for images, _ in truth])
    np.testing.assert_array_equal(gathered.top_activations(), [values for _, values in truth])
    np.testing.assert_array_equal(gathered.firing_rate(), [oracles.firing_rate(column) for column in activations.T])
    np.testing.assert_array_equal(gathered.above_minimum(), (activations > activations.min(axis=0)).sum(axis=0))
    np.testing.assert_array_equal(gathered.minimum, activations.min(axis=0))
    np.testing.assert_array_equal(gathered.maximum, activations.max(axis=0))
    np.testing.assert_allclose(gathered.mean, activations.mean(axis=0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(gathered.monosemanticity(), monosemanticity_score(activations, embeddings), atol=1e-12)
    np.testing.assert_array_equal(gathered.histogram(), [histogram(column) for column in activations.T])
    assert gathered.n_images == len(ids)


def histogram(column):
    """One comparison for each edge of a bin: at most 0, below 2^-16, half-octaves up to 2^16, and beyond."""
    edges = [2.0**e * m for e in range(-16, 16) for m in (1, 1.5)] + [2.0**16]
    place = [0 if a <= 0 else 1 + sum(a >= edge for edge in edges) for a in column]
    return np.bincount(place, minlength=len(edges) + 2)


@pytest.mark.parametrize("kind", ["dense", "sparse", "mixed"])
@pytest.mark.parametrize("cuts", [[], [1], [20], [7, 8, 30], list(range(1, 40))])
def test_any_batches_of_any_kind_give_the_definition(kind, cuts):
    activations, embeddings, ids = pictures(0)
    check(gather(activations, embeddings, ids, cuts, kind), activations, embeddings, ids)


def test_scores_are_the_definition_itself():
    activations, embeddings, ids = pictures(1)
    truth = [oracles.monosemanticity(column, embeddings) for column in activations.T]
    np.testing.assert_allclose(gather(activations, embeddings, ids, [13]).monosemanticity(), truth, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    cuts=st.lists(st.integers(0, 40), min_size=2, max_size=5).map(sorted),
    kinds=st.tuples(*[st.sampled_from(["dense", "sparse", "mixed"])] * 2),
    middle=st.integers(0, 40),
    top_k=st.integers(1, 20),
)
def test_merged_parts_are_the_whole(seed, cuts, kinds, middle, top_k):
    activations, embeddings, ids = pictures(seed)
    parts = []
    for kind, rows in zip(kinds, (slice(None, middle), slice(middle, None)), strict=True):
        inside = [cut for cut in cuts if cut < len(ids[rows])]
        parts.append(gather(activations[rows], embeddings[rows], ids[rows], inside, kind, top_k))
    for first, second in (parts, parts[::-1]):
        whole = NeuronStatistics(activations.shape[1], embeddings.shape[1], top_k).merge(first)
        assert whole.merge(second) is whole
        check(whole, activations, embeddings, ids)


def test_merging_leaves_the_other_part_as_it_was_and_can_go_on():
    activations, embeddings, ids = pictures(2)
    left = gather(activations[:15], embeddings[:15], ids[:15], [], "sparse")
    right = gather(activations[15:30], embeddings[15:30], ids[15:30], [])
    before = right.monosemanticity()
    left.merge(right).update(sp.csr_matrix(activations[30:]), embeddings[30:], ids[30:])
    check(left, activations, embeddings, ids)
    check(right, activations[15:30], embeddings[15:30], ids[15:30])
    np.testing.assert_array_equal(before, right.monosemanticity())


@pytest.mark.parametrize("offset", [1e4, -1e4])
def test_a_large_offset_loses_nothing(offset):
    rng = np.random.default_rng(5)
    small, embeddings = rng.normal(size=(300, 8)), rng.normal(size=(300, 6))
    large = small + offset  # what the sums see: rounded once, here
    truth = monosemanticity_score(large - offset, embeddings)
    ids = np.arange(300)
    parts = [gather(large[rows], embeddings[rows], ids[rows], [3]) for rows in (slice(0, 100), slice(100, 300))]
    np.testing.assert_allclose(parts[0].merge(parts[1]).monosemanticity(), truth, rtol=0, atol=1e-12)


def test_two_runs_give_the_same_bytes():
    activations, embeddings, ids = pictures(3)
    first, second = (gather(activations, embeddings, ids, [5, 9], "mixed") for _ in range(2))
    assert first.monosemanticity().tobytes() == second.monosemanticity().tobytes()


def test_small_blocks_give_the_same(monkeypatch):
    monkeypatch.setattr(sums, "SUM_BLOCK", 10)
    monkeypatch.setattr(tally, "DENSE_BLOCK", 40)
    activations, embeddings, ids = pictures(4)
    for kind in ("dense", "sparse"):
        check(gather(activations, embeddings, ids, [11], kind), activations, embeddings, ids)
    halves = [gather(activations[r], embeddings[r], ids[r], [], "mixed") for r in (slice(0, 9), slice(9, 40))]
    check(halves[0].merge(halves[1]), activations, embeddings, ids)


def test_tensors_and_float32_are_taken():
    activations, embeddings, ids = pictures(6)
    activations, embeddings = activations.astype(np.float32), embeddings.astype(np.float32)
    gathered = NeuronStatistics(activations.shape[1], 5, 4)
    gathered.update(torch.from_numpy(activations), torch.from_numpy(embeddings), torch.from_numpy(ids))
    check(gathered, activations.astype(np.float64), embeddings, ids)


def test_before_the_first_image_nothing_is_known():
    empty = NeuronStatistics(3, 2)
    empty.update(np.empty((0, 3)), np.empty((0, 2)), [])
    assert (empty.top_images() == -1).all() and empty.top_images().shape == (3, 16)
    for values in (empty.monosemanticity(), empty.firing_rate(), empty.mean, empty.minimum, empty.maximum):
        assert np.isnan(values).all()
    assert empty.merge(NeuronStatistics(3, 2)).n_images == 0


def test_an_image_is_counted_only_once():
    gathered = NeuronStatistics(2, 2)
    gathered.update(np.ones((2, 2)), np.ones((2, 2)), [4, 7])
    with pytest.raises(UserError, match="Image id 7 was already counted"):
        gathered.update(np.ones((2, 2)), np.ones((2, 2)), [7, 9])
    with pytest.raises(UserError, match="Image id 9 comes twice"):
        gathered.update(np.ones((2, 2)), np.ones((2, 2)), [9, 9])
    other = NeuronStatistics(2, 2)
    other.update(np.ones((1, 2)), np.ones((1, 2)), [4])
    with pytest.raises(UserError, match="Image id 4 was already counted"):
        gathered.merge(other)
    with pytest.raises(UserError, match="already counted"):
        gathered.merge(gathered)
    assert gathered.n_images == 2


@pytest.mark.parametrize(
    ("activations", "embeddings", "ids", "words"),
    [
        (np.ones((2, 4)), np.ones((2, 2)), [0, 1], "4 columns, not 3"),
        (np.ones((2, 3)), np.ones((2, 5)), [0, 1], "5 columns, not 2"),
        (np.ones((2, 3)), np.ones((2, 2)), [0, 1, 2], "one id per row"),
        (np.ones((2, 3)), np.ones((2, 2)), [0.5, 1.5], "whole numbers"),
        (np.ones((2, 3)), np.ones((2, 2)), [-1, 0], "negative"),
        (np.full((2, 3), np.nan), np.ones((2, 2)), [0, 1], "NaN"),
        (np.ones((2, 3)), np.zeros((2, 2)), [0, 1], "all zeros"),
    ],
)
def test_a_refused_batch_adds_nothing(activations, embeddings, ids, words):
    gathered = NeuronStatistics(3, 2)
    with pytest.raises(UserError, match=words):
        gathered.update(activations, embeddings, ids)
    assert gathered.n_images == 0
    gathered.update(np.ones((2, 3)), np.ones((2, 2)), [0, 1])


def test_parts_of_different_shape_do_not_merge():
    with pytest.raises(UserError, match="cannot be merged"):
        NeuronStatistics(3, 2).merge(NeuronStatistics(3, 2, top_k=8))
    with pytest.raises(UserError, match="at least 1"):
        NeuronStatistics(0, 2)


def edge_cases():
    """Activations on and beside the edges of bins, smaller and larger than all of them, and none at all."""
    edges = NeuronStatistics(1, 1).histogram_edges[1:-1]
    return np.concatenate([edges, np.nextafter(edges, np.inf), -edges, [0.0, -0.0, 1e-300, 1e300, 3.0, 3.0]])


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_the_histogram_counts_what_lies_between_its_edges(sparse, signed):
    values = edge_cases()
    values = values if signed else np.maximum(values, 0)
    gathered = NeuronStatistics(2, 1)
    batch = np.stack([values, np.zeros_like(values)], axis=1)
    gathered.update(sp.csr_matrix(batch) if sparse else batch, np.ones((len(values), 1)), np.arange(len(values)))
    edges, counts = gathered.histogram_edges, gathered.histogram()
    between = [(values >= low) & (values < high) for low, high in zip(edges, edges[1:], strict=False)]
    np.testing.assert_array_equal(counts[0], np.sum(between, axis=1))
    np.testing.assert_array_equal(counts[0], histogram(values))
    assert counts[1, 0] == len(values) and (counts.sum(axis=1) == len(values)).all()
    assert counts.shape == (2, len(edges) - 1) and counts.dtype == np.int64


@pytest.mark.parametrize("at_least", [0, 1500, 1 << 24])
@pytest.mark.parametrize("cuts", [[1], [3, 7, 8, 30], list(range(1, 40))])
def test_however_many_batches_may_wait_the_whole_is_the_same(monkeypatch, at_least, cuts):
    monkeypatch.setattr(waiting, "AT_LEAST", at_least)
    activations, embeddings, ids = pictures(7)
    for kind in ("sparse", "mixed"):
        check(gather(activations, embeddings, ids, cuts, kind), activations, embeddings, ids)
    parts = [gather(activations[r], embeddings[r], ids[r], [4], "sparse") for r in (slice(0, 9), slice(9, 40))]
    check(parts[1].merge(parts[0]), activations, embeddings, ids)
    assert gather(activations, embeddings, ids, cuts, "sparse")._waiting._bytes <= max(at_least, 2 * 26 * 5)


def test_batches_in_single_and_double_precision_mix():
    activations, embeddings, ids = pictures(8)
    single = embeddings.astype(np.float32)
    for kinds in ((single, embeddings), (embeddings, single)):
        gathered = NeuronStatistics(activations.shape[1], 5, 4)
        for rows, half in zip((slice(0, 20), slice(20, 40)), kinds, strict=True):
            gathered.update(sp.csr_matrix(activations[rows]), half[rows], ids[rows])
        both = np.concatenate([kinds[0][:20], kinds[1][20:]])
        check(gathered, activations, both, ids)
        fresh = NeuronStatistics(activations.shape[1], 5, 4).merge(gathered)
        assert fresh.monosemanticity().tobytes() == gathered.monosemanticity().tobytes()


def test_what_the_caller_changes_after_an_update_changes_nothing():
    activations, embeddings, ids = pictures(9)
    batch, rows, numbers = sp.csr_matrix(activations), embeddings.copy(), ids.copy()
    gathered = NeuronStatistics(activations.shape[1], 5, 4)
    gathered.update(batch, rows, numbers)
    batch.data[:], rows[:], numbers[:] = 1, 7, 0
    check(gathered, activations, embeddings, ids)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_the_number_of_threads_changes_no_bit(kind):
    rng = np.random.default_rng(0)
    activations = np.maximum(rng.normal(size=(300, 700)) - 1.5, 0).round(2) - (np.arange(700) % 50 == 0)
    embeddings, threads, found = rng.normal(size=(300, 9)), torch.get_num_threads(), []
    try:
        for number in (1, 2, 3, 8):
            torch.set_num_threads(number)
            left = gather(activations[:130], embeddings[:130], np.arange(130), [60], kind)
            left.merge(gather(activations[130:], embeddings[130:], np.arange(130, 300), [90], kind))
            found.append([left.top_images(), left.histogram(), left.above_minimum(), left.mean])
            found[-1] += [left.top_activations(), left.maximum]
            if kind == "sparse":
                sparse = sp.csr_matrix(activations)
                found[-1] += [left.monosemanticity(), monosemanticity_score(sparse, embeddings)]
    finally:
        torch.set_num_threads(threads)
    assert all(a.tobytes() == b.tobytes() for other in found[1:] for a, b in zip(found[0], other, strict=True))
