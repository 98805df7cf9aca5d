"""Everything the scores need to know about each neuron, from one pass over the pictures."""

import heapq
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.scores.inputs import activation_matrix, image_id_array, unit_embeddings
from vlm_sae_lib.scores.pairs import DENSE_BLOCK, SUM_BLOCK, extremes, heaviest_entries, ratio
from vlm_sae_lib.scores.top_images import TopImages


class NeuronStatistics:
    """One pass over images: MS, top images, firing rate, extremes and means of each neuron.

    Batches come in any order and of any size, dense or sparse, and parts gathered apart can be merged: all integers
    come out the same, scores to 1e-12. One row stands for one image.

    Sums are float64 and run about the neuron's minimum so far. A large offset then loses nothing, and no two terms have
    different signs; where a new minimum comes, the sums are moved to it. The image with the largest activation is kept
    out of them, so that it drowns nothing (`scores.pairs`). A neuron whose minimum is zero in its first batch and that
    was never negative is *plain*: only its positive activations are touched. All others are treated densely, also in a
    sparse batch.

    Memory: 16 bytes times n_neurons times embedding_dim.

    Args:
        n_neurons, embedding_dim: columns of the activations and of the embeddings.
        top_k: how many images to keep per neuron.
    """

    def __init__(self, n_neurons: int, embedding_dim: int, top_k: int = 16) -> None:
        if min(n_neurons, embedding_dim, top_k) < 1:
            raise UserError("n_neurons, embedding_dim and top_k must each be at least 1.")
        self.n_neurons, self.embedding_dim, self.top_k = n_neurons, embedding_dim, top_k
        self._ids: set[int] = set()
        self._plain = np.ones(n_neurons, dtype=bool)
        self._low = np.full(n_neurons, np.inf)
        self._at_low = np.zeros(n_neurons, dtype=np.int64)
        self._positive = np.zeros(n_neurons, dtype=np.int64)
        # the image with the largest activation, if any is kept apart
        self._top = np.full(n_neurons, -np.inf)
        self._top_unit = np.zeros((n_neurons, embedding_dim))
        # sums over all the others of (a - low), its square, and its product with the unit embedding
        self._sum = np.zeros(n_neurons)
        self._square = np.zeros(n_neurons)
        self._weighted = np.zeros((n_neurons, embedding_dim))
        self._units = np.zeros(embedding_dim)  # over all images
        self._best = TopImages(n_neurons, top_k)

    # ---- gathering

    def update(self, activations: Any, embeddings: Any, image_ids: Any) -> None:
        """Add a batch of images.

        Args:
            activations: (n, n_neurons), as in `monosemanticity_score`.
            embeddings: (n, embedding_dim), of any length.
            image_ids: (n,) whole numbers >= 0, each met only once.

        Raises:
            UserError: wrong shapes, NaN, an embedding of length zero, an image met before; nothing is added then.
        """
        matrix = activation_matrix(activations)
        n_images = matrix.shape[0]
        if matrix.shape[1] != self.n_neurons:
            raise UserError(f"The activations have {matrix.shape[1]} columns, not {self.n_neurons} (one per neuron).")
        unit = unit_embeddings(embeddings, n_images)
        if unit.shape[1] != self.embedding_dim:
            raise UserError(f"The embeddings have {unit.shape[1]} columns, not {self.embedding_dim}.")
        ids = image_id_array(image_ids, n_images)
        new = set(ids.tolist())
        self._refuse_known(new)
        if n_images == 0:
            return
        order = np.argsort(ids)
        if (np.diff(order) < 0).any():
            matrix, unit, ids = matrix[order], unit[order], ids[order]
        if sp.issparse(matrix):
            self._update_sparse(matrix, unit, ids)
        else:
            self._make_dense(np.arange(self.n_neurons))
            step = max(1, DENSE_BLOCK // n_images)
            for start in range(0, self.n_neurons, step):
                neurons = np.arange(start, min(start + step, self.n_neurons))
                self._add_dense(neurons, np.ascontiguousarray(matrix[:, neurons].T, dtype=np.float64), unit, ids)
        self._units += unit.sum(axis=0)
        self._ids |= new

    def _update_sparse(self, matrix: sp.csr_matrix, unit: np.ndarray, ids: np.ndarray) -> None:
        by_neuron = matrix.T.tocsr().astype(np.float64)
        by_neuron.eliminate_zeros()
        low, _ = extremes(by_neuron)
        # a minimum above zero says something in the first batch only; later a plain neuron has met its zeros
        self._make_dense(np.flatnonzero((low < 0) if self._ids else (low != 0)))
        plain = self._plain
        # so the minimum of a plain neuron is zero for good
        self._lower(np.flatnonzero(plain), np.zeros(plain.sum()), (len(ids) - np.diff(by_neuron.indptr))[plain])
        touched = np.flatnonzero(plain & (np.diff(by_neuron.indptr) > 0))
        step = max(1, SUM_BLOCK // self.embedding_dim)
        for start in range(0, len(touched), step):
            neurons = touched[start : start + step]
            self._add_plain(neurons, by_neuron[neurons], unit, ids)
        dense = np.flatnonzero(~plain)
        step = max(1, DENSE_BLOCK // len(ids))
        for start in range(0, len(dense), step):
            neurons = dense[start : start + step]
            self._add_dense(neurons, by_neuron[neurons].toarray(), unit, ids)

    def _add_plain(self, neurons: np.ndarray, rows: sp.csr_matrix, unit: np.ndarray, ids: np.ndarray) -> None:
        """Positive activations of plain neurons: ``rows`` is (f, n), at least one entry each, all > 0."""
        self._best.add_sparse(neurons, rows, ids)
        stored = np.diff(rows.indptr)
        self._positive[neurons] += stored
        _, at = heaviest_entries(rows)  # every row stores something
        replaces = rows.data[at] > self._top[neurons]
        top = rows.data[at].copy()
        rows.data[at[replaces]] = 0
        self._replace_top(neurons[replaces], top[replaces], unit[rows.indices[at[replaces]]])
        row_of = np.repeat(np.arange(len(neurons)), stored)
        self._sum[neurons] += np.bincount(row_of, rows.data, len(neurons))
        self._square[neurons] += np.bincount(row_of, rows.data**2, len(neurons))
        self._weighted[neurons] += rows @ unit

    def _add_dense(self, neurons: np.ndarray, rows: np.ndarray, unit: np.ndarray, ids: np.ndarray) -> None:
        """All activations ``rows`` (f, n) of some neurons."""
        low = rows.min(axis=1)
        self._best.add_dense(neurons, rows, ids)
        self._positive[neurons] += np.count_nonzero(rows > 0, axis=1)
        self._lower(neurons, low, np.count_nonzero(rows == low[:, None], axis=1))
        heaviest = rows.argmax(axis=1)
        top = rows[np.arange(len(rows)), heaviest]
        replaces = np.flatnonzero(top > self._top[neurons])
        rows -= self._low[neurons][:, None]
        rows[replaces, heaviest[replaces]] = 0
        self._replace_top(neurons[replaces], top[replaces], unit[heaviest[replaces]])
        self._sum[neurons] += rows.sum(axis=1)
        self._square[neurons] += np.einsum("fn,fn->f", rows, rows)
        self._weighted[neurons] += rows @ unit

    def _replace_top(self, neurons: np.ndarray, top: np.ndarray, unit: np.ndarray) -> None:
        """Keep another image apart, and let the one kept so far join the sums."""
        had = self._top[neurons] > -np.inf
        self._join(neurons[had], self._top[neurons[had]] - self._low[neurons[had]], self._top_unit[neurons[had]])
        self._top[neurons], self._top_unit[neurons] = top, unit

    def _join(self, neurons: np.ndarray, weight: np.ndarray, unit: np.ndarray) -> None:
        self._sum[neurons] += weight
        self._square[neurons] += weight**2
        self._weighted[neurons] += weight[:, None] * unit

    def _lower(self, neurons: np.ndarray, low: np.ndarray, at_low: np.ndarray) -> None:
        """Take in the minimum of a batch or part and how many of its images lie on it; comes before its sums."""
        known = self._low[neurons]
        moved = np.flatnonzero((low < known) & np.isfinite(known))
        if len(moved):
            rows = neurons[moved]
            self._sum[rows], self._square[rows], self._weighted[rows] = self._about(rows, low[moved])
        kept = np.where(low < known, 0, self._at_low[neurons])
        self._at_low[neurons] = kept + np.where(low <= known, at_low, 0)
        self._low[neurons] = np.minimum(low, known)

    def _make_dense(self, neurons: np.ndarray) -> None:
        """From here on zeros of these neurons may rank among the top images: name those met so far."""
        neurons = neurons[self._plain[neurons]]
        self._plain[neurons] = False
        if self._ids and len(neurons):
            self._best.fill_zeros(neurons, self._smallest_ids())

    def _smallest_ids(self) -> np.ndarray:
        """The ids that can be among the first ``top_k`` images with an activation of zero."""
        return np.array(heapq.nsmallest(2 * self.top_k, self._ids), dtype=np.int64)

    def _refuse_known(self, new: set[int]) -> None:
        if not self._ids.isdisjoint(new):
            known = min(self._ids & new)
            raise UserError(f"Image id {known} was already counted; give each image once, also across merged parts.")

    def merge(self, other: "NeuronStatistics") -> "NeuronStatistics":
        """Add what another part gathered, in place; ``other`` is left as it is.

        Raises:
            UserError: parts of different shape, or an image that both have met; nothing is added then.
        """
        mine = (self.n_neurons, self.embedding_dim, self.top_k)
        theirs = (other.n_neurons, other.embedding_dim, other.top_k)
        if mine != theirs:
            raise UserError(f"Parts of (n_neurons, embedding_dim, top_k) {mine} and {theirs} cannot be merged.")
        self._refuse_known(other._ids)
        if not other._ids:
            return self
        best = TopImages(self.n_neurons, self.top_k)
        best.activations, best.image_ids = other._best.activations.copy(), other._best.image_ids.copy()
        if not self._ids:
            self._plain = other._plain.copy()
        self._make_dense(np.flatnonzero(~other._plain))
        best.fill_zeros(np.flatnonzero(other._plain & ~self._plain), other._smallest_ids())
        neurons = np.arange(self.n_neurons)
        self._best.offer(neurons, best.activations, best.image_ids)
        self._positive += other._positive
        self._lower(neurons, other._low, other._at_low)
        self._add_sums(other)
        self._units += other._units
        self._ids |= other._ids
        return self

    def _add_sums(self, other: "NeuronStatistics") -> None:
        step = max(1, SUM_BLOCK // self.embedding_dim)
        for start in range(0, self.n_neurons, step):
            neurons = np.arange(start, min(start + step, self.n_neurons))
            total, square, weighted = other._about(neurons, self._low[neurons])
            self._sum[neurons] += total
            self._square[neurons] += square
            self._weighted[neurons] += weighted
            # of the two images kept apart the larger stays so, the other joins the sums
            wins = other._top[neurons] > self._top[neurons]
            self._replace_top(neurons[wins], other._top[neurons[wins]], other._top_unit[neurons[wins]])
            loses = neurons[~wins & (other._top[neurons] > -np.inf)]
            self._join(loses, other._top[loses] - self._low[loses], other._top_unit[loses])

    def _about(self, neurons: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The three sums of some neurons about a minimum that is no higher than theirs."""
        total, square, weighted = self._sum[neurons], self._square[neurons], self._weighted[neurons]
        shift = self._low[neurons] - low
        moved = np.flatnonzero(shift)
        if len(moved):
            shift, rows = shift[moved], neurons[moved]
            count = len(self._ids) - (self._top[rows] > -np.inf)
            square[moved] += 2 * shift * total[moved] + count * shift**2
            total[moved] += count * shift
            weighted[moved] += shift[:, None] * (self._units - self._top_unit[rows])
        return total, square, weighted

    # ---- reading

    @property
    def n_images(self) -> int:
        return len(self._ids)

    @property
    def minimum(self) -> Float[np.ndarray, "n_neurons"]:
        """Smallest activation, implicit zeros included; NaN before the first image."""
        return np.where(np.isinf(self._low), np.nan, self._low)

    @property
    def maximum(self) -> Float[np.ndarray, "n_neurons"]:
        """Largest activation, implicit zeros included; NaN before the first image."""
        largest = np.where(self._plain, np.maximum(self._top, 0), self._best.activations[:, 0])
        return np.where(self.n_images > 0, largest, np.nan)

    @property
    def mean(self) -> Float[np.ndarray, "n_neurons"]:
        """Mean activation over all images; NaN before the first image."""
        if self.n_images == 0:
            return np.full(self.n_neurons, np.nan)
        apart = np.where(self._top > -np.inf, self._top - self._low, 0.0)
        return self._low + (self._sum + apart) / self.n_images

    @property
    def fires_above(self) -> Float[np.ndarray, "n_neurons"]:
        """A neuron fires above zero; a signed one, which has negative activations, above its minimum."""
        return np.minimum(self._low, 0.0)

    def above_minimum(self) -> Int[np.ndarray, "n_neurons"]:
        """How many images lie above the neuron's minimum; with fewer than two its MS is undefined."""
        return self.n_images - self._at_low

    def firing_count(self) -> Int[np.ndarray, "n_neurons"]:
        """On how many images the neuron fires."""
        return np.where(self._low < 0, self.above_minimum(), self._positive)

    def firing_rate(self) -> Float[np.ndarray, "n_neurons"]:
        """On what share of the images the neuron fires; NaN before the first image."""
        return self.firing_count() / self.n_images if self.n_images else np.full(self.n_neurons, np.nan)

    def top_images(self) -> Int[np.ndarray, "n_neurons top_k"]:
        """Ids of the images with the largest activations, largest first; -1 where the neuron fires on fewer."""
        return self._best.above(self.fires_above)[0]

    def top_activations(self) -> Float[np.ndarray, "n_neurons top_k"]:
        """The activations of `top_images`; 0 where there is none."""
        return self._best.above(self.fires_above)[1]

    def monosemanticity(self) -> Float[np.ndarray, "n_neurons"]:
        """MS of each neuron (paper v3 Eq. 9), as `monosemanticity_score` on all images at once."""
        scores = np.full(self.n_neurons, np.nan)
        candidates = np.flatnonzero(self.above_minimum() >= 2)
        step = max(1, SUM_BLOCK // self.embedding_dim)
        for start in range(0, len(candidates), step):
            neurons = candidates[start : start + step]
            weighted = self._weighted[neurons]
            dot = np.einsum("fd,fd->f", weighted, self._top_unit[neurons])
            norm = np.einsum("fd,fd->f", weighted, weighted)
            top = self._top[neurons] - self._low[neurons]
            scores[neurons] = ratio(top, dot, norm, self._sum[neurons], self._square[neurons])
        return scores
