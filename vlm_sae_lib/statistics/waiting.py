"""Sparse batches that wait until adding them is worth the way through all sums."""

import numpy as np
import scipy.sparse as sp
from jaxtyping import Int

from vlm_sae_lib.statistics.loops import Embeddings

AT_LEAST = 1 << 24  # bytes that may wait, however few the neurons


class WaitingBatches:
    """Copies of sparse batches, as many as fit a budget: a sixth of what the sums take.

    Every addition reads and writes nearly each row of the sums, which are far larger than the cache. With so many
    pictures at once these passes cost less than fetching the pictures' embeddings, which no order of work avoids.
    """

    def __init__(self, n_neurons: int, dim: int) -> None:
        self._budget = max(AT_LEAST, 2 * n_neurons * dim)
        self._dim = dim
        self._clear()

    def _clear(self) -> None:
        self._matrices: list[sp.csr_matrix] = []
        self._ids: list[np.ndarray] = []
        self._rows = self._inverse = np.empty(0)
        self._held = self._bytes = 0

    def __len__(self) -> int:
        return self._held

    def has_room(self, matrix: sp.csr_matrix, embeddings: Embeddings) -> bool:
        """Whether a batch fits beside those that wait."""
        same = not self._held or embeddings.rows.dtype == self._rows.dtype
        return same and self._bytes + _bytes(matrix, embeddings) <= self._budget

    def add(self, matrix: sp.csr_matrix, embeddings: Embeddings, image_ids: Int[np.ndarray, " n"]) -> None:
        """Keep a copy of a batch that `has_room`."""
        rows, inverse = embeddings
        if not self._held:  # memory that is never written to is never taken from the system
            most = self._budget // (rows.itemsize * self._dim)
            self._rows, self._inverse = np.empty((most, self._dim), rows.dtype), np.empty(most)
        place = slice(self._held, self._held + len(rows))
        self._rows[place], self._inverse[place] = rows, inverse
        self._matrices.append(matrix.astype(np.float64, copy=True))
        self._ids.append(image_ids)
        self._held += len(rows)
        self._bytes += _bytes(matrix, embeddings)

    def take(self) -> tuple[sp.csr_matrix, Embeddings, Int[np.ndarray, " n"]]:
        """All that waits as one batch; nothing waits any more."""
        matrix = sp.vstack(self._matrices, format="csr")
        embeddings = Embeddings(self._rows[: self._held], self._inverse[: self._held])
        ids = np.concatenate(self._ids)
        self._clear()
        return matrix, embeddings, ids


def _bytes(matrix: sp.csr_matrix, embeddings: Embeddings) -> int:
    return 8 * matrix.nnz + matrix.indices.nbytes + matrix.indptr.nbytes + embeddings.rows.nbytes
