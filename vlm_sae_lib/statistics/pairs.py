"""The weighted mean cosine of all pairs, in time linear in the number of images.

For unit vectors e_n and weights w_n >= 0, with self-pairs left out (paper v3 Eq. 9),

    MS = sum_{n != m} w_n w_m <e_n, e_m> / sum_{n != m} w_n w_m = (|W|^2 - S2) / (S1^2 - S2),
    W = sum w_n e_n,  S1 = sum w_n,  S2 = sum w_n^2.

Where one image outweighs the others both differences cancel, and in the limit they are 0/0 although the score is well
defined. So the heaviest image t is kept apart, and W, S1, S2 run over the rest:

    MS = (2 w_t <e_t, W> + |W|^2 - S2) / (2 w_t S1 + S1^2 - S2).

As w_t >= w_n, the first terms are no smaller than what the differences can lose, and nothing cancels.
"""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from vlm_sae_lib.machine.compiled import in_threads
from vlm_sae_lib.statistics import loops

DENSE_BLOCK = 1 << 22  # entries of a dense block of weights: 32 MiB
SUM_BLOCK = 1 << 18  # entries of a block of weighted embedding sums: 2 MiB, which stays in the cache
SPARSE_BELOW = 0.1  # a dense input with fewer non-zeros than this is worth converting


def ratio(
    top: Float[np.ndarray, " f"],
    top_dot_sum: Float[np.ndarray, " f"],
    sum_sum: Float[np.ndarray, " f"],
    s1: Float[np.ndarray, " f"],
    s2: Float[np.ndarray, " f"],
) -> Float[np.ndarray, " f"]:
    """MS from the heaviest weight, <e_t, W>, |W|^2, S1 and S2 of the rest.

    Only for neurons with at least two pictures above the minimum: the caller counts them, as a rounded denominator
    cannot tell.
    """
    scale = top + s1  # the sum of all weights: in its units nothing overflows
    t, dot, u = top / scale, top_dot_sum / scale, s1 / scale
    square, v = sum_sum / scale / scale, s2 / scale / scale
    return np.clip((2 * t * dot + square - v) / (2 * t * u + u * u - v), -1.0, 1.0)


def mean_cosines(
    activations: np.ndarray | sp.csr_matrix, embeddings: loops.Embeddings
) -> Float[np.ndarray, " n_neurons"]:
    """MS of each neuron from activations ``(n_images, n_neurons)``; NaN with fewer than two above the minimum."""
    n_images, n_neurons = activations.shape
    scores = np.full(n_neurons, np.nan)
    if n_images == 0:
        return scores
    activations, dense = _sparser(activations), np.arange(n_neurons)
    if sp.issparse(activations):
        pairs = pairs_by_neuron(activations)
        edges = loops.even_pieces(pairs.ends)
        low, above, sums = np.empty(n_neurons), np.zeros(n_neurons, dtype=np.int64), np.zeros((4, n_neurons))
        pieces = len(edges) - 1
        in_threads(loops.lowest, pieces, edges, pairs, low, at_least=1)
        in_threads(loops.score_sums, pieces, edges, pairs, low, embeddings, above, sums, at_least=1)
        defined = np.flatnonzero(above >= 2)
        scores[defined] = ratio(np.ones(len(defined)), *sums[:, defined])
        dense = np.flatnonzero(low)
        if len(dense):
            activations = columns_of(pairs, dense)
    if len(dense):
        unit = embeddings.rows * embeddings.inverse[:, None]
        for columns, weights in _dense_blocks(activations):
            scores[dense[columns]] = weighted_cosine(weights, unit)
    return scores


def pairs_by_neuron(activations: sp.csr_matrix) -> loops.Pairs:
    """The stored activations by neuron, pictures ascending, as a copy in float64."""
    by_neuron = activations.tocsc()
    return loops.Pairs(by_neuron.indptr, by_neuron.indices, by_neuron.data.astype(np.float64), by_neuron.shape[0])


def columns_of(pairs: loops.Pairs, neurons: Int[np.ndarray, " f"]) -> sp.csc_matrix:
    """Activations ``(n_images, f)`` of some neurons."""
    shape = (pairs.n_images, len(pairs.ends) - 1)
    return sp.csc_matrix((pairs.values, pairs.pictures, pairs.ends), shape=shape)[:, neurons]


def _sparser(activations: np.ndarray | sp.csr_matrix) -> np.ndarray | sp.csr_matrix:
    if not sp.issparse(activations) and np.count_nonzero(activations) < SPARSE_BELOW * activations.size:
        return sp.csr_matrix(activations)
    return activations


def weight_blocks(
    activations: np.ndarray | sp.csr_matrix, dim: int
) -> Iterator[tuple[Int[np.ndarray, " f"], np.ndarray | sp.csr_matrix]]:
    """Min-max normalised activations (paper v3 Eq. 7) as blocks ``(neurons, weights (f, n_images))``.

    Blocks stay sparse where the minimum is zero. The zeros that a sparse input leaves out are activations like any
    other and count for the minimum. Constant neurons have weights of zero.
    """
    n_images, n_neurons = activations.shape
    if n_images == 0:
        return
    activations = _sparser(activations)
    dense_columns = np.arange(n_neurons)
    if not isinstance(activations, np.ndarray):
        by_neuron = activations.T.tocsr().astype(np.float64)
        by_neuron.eliminate_zeros()
        low, _ = extremes(by_neuron)
        step = max(1, SUM_BLOCK // max(dim, 1))
        sparse_columns = np.flatnonzero((low == 0) & (np.diff(by_neuron.indptr) > 0))
        dense_columns = np.flatnonzero(low != 0)
        all_sparse = len(dense_columns) == 0
        for start in range(0, len(sparse_columns), step):
            neurons = sparse_columns[start : start + step]
            contiguous = all_sparse and neurons[-1] - neurons[0] + 1 == len(neurons)
            block = by_neuron[neurons[0] : neurons[-1] + 1] if contiguous else by_neuron[neurons]
            _, high = extremes(block)
            data = block.data / np.repeat(high, np.diff(block.indptr))
            yield neurons, sp.csr_matrix((data, block.indices, block.indptr), shape=block.shape)
    if sp.issparse(activations):
        activations = by_neuron.T[:, dense_columns]
    for columns, weights in _dense_blocks(activations):
        yield dense_columns[columns], weights


def _dense_blocks(
    activations: np.ndarray | sp.csc_matrix,
) -> Iterator[tuple[slice, Float[np.ndarray, "f n_images"]]]:
    n_images, n_neurons = activations.shape
    step = max(1, DENSE_BLOCK // n_images)
    for start in range(0, n_neurons, step):
        columns = slice(start, start + step)
        block = activations[:, columns]
        block = block.T if isinstance(block, np.ndarray) else block.T.toarray()
        block = np.ascontiguousarray(block, dtype=np.float64)
        low, high = block.min(axis=1, keepdims=True), block.max(axis=1, keepdims=True)
        span = high - low
        yield columns, (block - low) / np.where(span > 0, span, 1.0)


def extremes(by_neuron: sp.csr_matrix) -> tuple[Float[np.ndarray, " f"], Float[np.ndarray, " f"]]:
    """Minimum and maximum of each row, implicit zeros included."""
    stored = np.diff(by_neuron.indptr)
    low, high = np.zeros(len(stored)), np.zeros(len(stored))
    filled = np.flatnonzero(stored)
    if len(filled):
        starts = by_neuron.indptr[filled]
        full = stored[filled] == by_neuron.shape[1]
        low[filled] = np.minimum.reduceat(by_neuron.data, starts)
        high[filled] = np.maximum.reduceat(by_neuron.data, starts)
        low[filled[~full]] = np.minimum(low[filled[~full]], 0)
        high[filled[~full]] = np.maximum(high[filled[~full]], 0)
    return low, high


def weighted_cosine(
    weights: np.ndarray | sp.csr_matrix,
    unit: Float[np.ndarray, "n_images dim"],
    multiplicity: Float[np.ndarray, " n_images"] | None = None,
) -> Float[np.ndarray, " f"]:
    """MS of a block of neurons from weights ``(f, n_images)`` in [0, 1]; NaN with fewer than two positive weights.

    ``multiplicity`` counts how often each picture was drawn in a bootstrap. A picture never pairs with itself, however
    often it was drawn: all c^2 w^2 leave the sums, not only c w^2 (which would lift MS towards 1).
    """
    parts = _sparse_parts if sp.issparse(weights) else _dense_parts
    defined, *sums = parts(weights, unit, multiplicity)
    scores = np.full(weights.shape[0], np.nan)
    scores[defined] = ratio(*(values[defined] for values in sums))
    return scores


def _dense_parts(weights: np.ndarray, unit: np.ndarray, multiplicity: np.ndarray | None) -> tuple[np.ndarray, ...]:
    if multiplicity is not None:
        weights = weights * multiplicity
    rows = np.arange(len(weights))
    heaviest = weights.argmax(axis=1)
    rest = weights.copy()
    rest[rows, heaviest] = 0
    sums = rest @ unit
    return (
        np.count_nonzero(weights, axis=1) >= 2,
        weights[rows, heaviest],
        np.einsum("fd,fd->f", sums, unit[heaviest]),
        np.einsum("fd,fd->f", sums, sums),
        rest.sum(axis=1),
        np.einsum("fn,fn->f", rest, rest),
    )


def _sparse_parts(weights: sp.csr_matrix, unit: np.ndarray, multiplicity: np.ndarray | None) -> tuple[np.ndarray, ...]:
    data = weights.data if multiplicity is None else weights.data * multiplicity[weights.indices]
    rest = sp.csr_matrix((data.copy(), weights.indices, weights.indptr), shape=weights.shape)
    rows, at = heaviest_entries(rest)
    top, top_dot = np.zeros(weights.shape[0]), np.zeros(weights.shape[0])
    top[rows] = data[at]
    rest.data[at] = 0
    sums = rest @ unit
    top_dot[rows] = np.einsum("fd,fd->f", sums[rows], unit[weights.indices[at]])
    row_of = np.repeat(np.arange(len(top)), np.diff(weights.indptr))
    return (
        np.bincount(row_of, data > 0, len(top)) >= 2,
        top,
        top_dot,
        np.einsum("fd,fd->f", sums, sums),
        np.bincount(row_of, rest.data, len(top)),
        np.bincount(row_of, rest.data**2, len(top)),
    )


def heaviest_entries(by_neuron: sp.csr_matrix) -> tuple[Int[np.ndarray, " r"], Int[np.ndarray, " r"]]:
    """Rows that store anything, and the position in ``data`` of each one's first largest entry."""
    stored = np.diff(by_neuron.indptr)
    rows = np.flatnonzero(stored)
    if len(rows) == 0:
        return rows, rows
    largest = np.maximum.reduceat(by_neuron.data, by_neuron.indptr[rows])
    candidates = np.flatnonzero(by_neuron.data == np.repeat(largest, stored[rows]))
    owner = np.searchsorted(by_neuron.indptr[rows], candidates, side="right") - 1
    _, first = np.unique(owner, return_index=True)
    return rows, candidates[first]
