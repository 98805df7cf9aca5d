"""What one pass over the pictures counts about each neuron, batch by batch and part by part."""

import numpy as np
import scipy.sparse as sp
from jaxtyping import Int

from vlm_sae_lib.machine.compiled import in_threads
from vlm_sae_lib.statistics import histogram, loops
from vlm_sae_lib.statistics.pairs import DENSE_BLOCK, columns_of, pairs_by_neuron
from vlm_sae_lib.statistics.sums import PairSums
from vlm_sae_lib.statistics.top_images import TopImages


class Tally:
    """Sums, top images and histogram of each neuron.

    A neuron whose minimum is zero in its first batch and that was never negative is *plain*: only its positive
    activations are touched. All others are treated densely, also in a sparse batch.

    Attributes:
        sums, best: of all neurons.
        plain: (n_neurons,) which neurons are plain.
        counts: (n_neurons, `histogram.BINS`) positive activations; the first bin stays empty.
    """

    def __init__(self, n_neurons: int, dim: int, top_k: int) -> None:
        self.sums = PairSums(n_neurons, dim)
        self.best = TopImages(n_neurons, top_k)
        self.plain = np.ones(n_neurons, dtype=bool)
        self.counts = np.zeros((n_neurons, histogram.BINS), dtype=np.int32)
        self._smallest_ids = np.empty(0, dtype=np.int64)  # those that can be among the first top_k zeros

    @property
    def n_images(self) -> int:
        return self.sums.n_images

    def add_sparse(self, matrix: sp.csr_matrix, embeddings: loops.Embeddings, ids: Int[np.ndarray, " n"]) -> None:
        """Add a batch (n, n_neurons)."""
        self.sums.take_type(embeddings.rows)
        pairs = pairs_by_neuron(matrix)
        edges = loops.even_pieces(pairs.ends)
        low = np.empty(len(self.plain))
        in_threads(loops.lowest, len(edges) - 1, edges, pairs, low, at_least=1)
        # a minimum above zero says something in the first batch only; later a plain neuron has met its zeros
        self._make_dense(np.flatnonzero((low < 0) if self.n_images else (low != 0)))
        histogram.count_sparse(self.counts, edges, pairs, self.plain)
        self.best.add_sparse(edges, pairs, self.plain, ids)
        dense = np.flatnonzero(~self.plain)
        if len(dense):
            self._add_dense(dense, columns_of(pairs, dense), embeddings, ids)
        self.sums.add_sparse(edges, pairs, self.plain, embeddings)
        self._count(embeddings, ids)

    def add_dense(self, matrix: np.ndarray, embeddings: loops.Embeddings, ids: Int[np.ndarray, " n"]) -> None:
        """Add a batch (n, n_neurons)."""
        self.sums.take_type(embeddings.rows)
        neurons = np.arange(len(self.plain))
        self._make_dense(neurons)
        self._add_dense(neurons, matrix, embeddings, ids)
        self._count(embeddings, ids)

    def _add_dense(
        self, neurons: np.ndarray, matrix: np.ndarray | sp.csc_matrix, embeddings: loops.Embeddings, ids: np.ndarray
    ) -> None:
        unit = embeddings.rows * embeddings.inverse[:, None]
        step = max(1, DENSE_BLOCK // len(ids))
        for start in range(0, len(neurons), step):
            block = matrix[:, start : start + step]
            block = block.T if isinstance(block, np.ndarray) else block.T.toarray()
            rows = np.array(block, dtype=np.float64, order="C")
            histogram.count_dense(self.counts, neurons[start : start + step], rows)
            self.best.add_dense(neurons[start : start + step], rows, ids)
            self.sums.add_dense(neurons[start : start + step], rows, embeddings, unit)

    def _count(self, embeddings: loops.Embeddings, ids: np.ndarray) -> None:
        self.sums.count(embeddings)
        self._meet(ids)

    def _meet(self, ids: np.ndarray) -> None:
        self._smallest_ids = np.sort(np.concatenate([self._smallest_ids, ids]))[: 2 * self.best.k]

    def _make_dense(self, neurons: np.ndarray) -> None:
        """From here on zeros of these neurons may rank among the top images: name those met so far."""
        neurons = neurons[self.plain[neurons]]
        self.plain[neurons] = False
        if self.n_images and len(neurons):
            self.best.fill_zeros(neurons, self._smallest_ids)

    def merge(self, other: "Tally") -> None:
        """Add what another part counted, which met other images."""
        n_neurons = len(self.plain)
        best = TopImages(n_neurons, self.best.k)
        best.activations, best.image_ids = other.best.activations.copy(), other.best.image_ids.copy()
        if not self.n_images:
            self.plain = other.plain.copy()
        self._make_dense(np.flatnonzero(~other.plain))
        best.fill_zeros(np.flatnonzero(other.plain & ~self.plain), other._smallest_ids)
        self.best.offer(np.arange(n_neurons), best.activations, best.image_ids)
        self.counts += other.counts
        self.sums.merge(other.sums)
        self._meet(other._smallest_ids)
