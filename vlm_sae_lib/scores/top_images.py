"""The images that each neuron answers to most, kept in one pass."""

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int


class TopImages:
    """Per neuron the ``k`` largest activations met so far and the images they come from, largest first.

    Equal activations rank by the smaller image id, whatever the order in which the images come. Empty places hold the
    activation ``-inf`` and the id -1. Every ``add`` expects its images in ascending id, so that "the first" among
    equals is also the smallest id.
    """

    def __init__(self, n_neurons: int, k: int) -> None:
        self.k = k
        self.activations = np.full((n_neurons, k), -np.inf)
        self.image_ids = np.full((n_neurons, k), -1, dtype=np.int64)

    def add_dense(
        self, neurons: Int[np.ndarray, "f"], activations: Float[np.ndarray, "f n"], image_ids: Int[np.ndarray, "n"]
    ) -> None:
        """Offer every image of a batch; activations ``(f, n)`` are in ascending image id."""
        places = min(self.k, activations.shape[1])
        rows = np.arange(len(neurons))
        rest = activations.copy()
        values = np.empty((len(neurons), places))
        ids = np.empty((len(neurons), places), dtype=np.int64)
        for place in range(places):  # argmax takes the first among equals, which no partial sort promises
            best = rest.argmax(axis=1)
            values[:, place] = rest[rows, best]
            ids[:, place] = image_ids[best]
            rest[rows, best] = -np.inf
        self.offer(neurons, values, ids)

    def add_sparse(
        self, neurons: Int[np.ndarray, "f"], by_neuron: sp.csr_matrix, image_ids: Int[np.ndarray, "n"]
    ) -> None:
        """Offer the stored entries of ``(f, n)`` rows, whose column indices are sorted (ascending image id)."""
        stored = np.diff(by_neuron.indptr)
        row_of = np.repeat(np.arange(len(stored)), stored)
        order = np.lexsort((-by_neuron.data, row_of))  # stable: equals stay in ascending image id
        place = np.arange(len(order)) - np.repeat(by_neuron.indptr[:-1], stored)
        kept = place < self.k
        order, place, row = order[kept], place[kept], row_of[kept]
        width = int(min(self.k, stored.max(initial=0)))
        values = np.full((len(stored), width), -np.inf)
        ids = np.full((len(stored), width), -1, dtype=np.int64)
        values[row, place] = by_neuron.data[order]
        ids[row, place] = image_ids[by_neuron.indices[order]]
        self.offer(neurons, values, ids)

    def offer(
        self, neurons: Int[np.ndarray, "f"], values: Float[np.ndarray, "f m"], image_ids: Int[np.ndarray, "f m"]
    ) -> None:
        """Merge ranked candidates of ``neurons`` into what is kept."""
        if values.shape[1] == 0:
            return
        # a neuron whose best candidate lies below all that it keeps has nothing to gain
        gains = (values[:, 0] >= self.activations[neurons, -1]) & (values[:, 0] > -np.inf)
        neurons, values, image_ids = neurons[gains], values[gains], image_ids[gains]
        values = np.concatenate([self.activations[neurons], values], axis=1)
        image_ids = np.concatenate([self.image_ids[neurons], image_ids], axis=1)
        order = np.lexsort((image_ids, -values), axis=1)[:, : self.k]
        self.activations[neurons] = np.take_along_axis(values, order, axis=1)
        self.image_ids[neurons] = np.take_along_axis(image_ids, order, axis=1)

    def fill_zeros(self, neurons: Int[np.ndarray, "f"], zero_ids: Int[np.ndarray, "m"]) -> None:
        """Offer an activation of zero on ``zero_ids`` (ascending), but not on images that the neuron already keeps.

        ``zero_ids`` needs the 2 k smallest ids met: fewer than k of them can be kept already.
        """
        zero_ids = zero_ids[: 2 * self.k]
        shape = (len(neurons), len(zero_ids))
        known = (self.image_ids[neurons][:, :, None] == zero_ids).any(axis=1)
        order = np.argsort(known, axis=1, kind="stable")
        values = np.where(np.take_along_axis(known, order, axis=1), -np.inf, 0.0)
        ids = np.take_along_axis(np.broadcast_to(zero_ids, shape), order, axis=1)
        self.offer(neurons, values, np.where(values == 0, ids, -1))

    def above(
        self, low: Float[np.ndarray, "n_neurons"]
    ) -> tuple[Int[np.ndarray, "n_neurons k"], Float[np.ndarray, "n_neurons k"], Bool[np.ndarray, "n_neurons k"]]:
        """Ids (-1 where none), activations (0 where none) and where there are any: only those above ``low``."""
        there = self.activations > low[:, None]
        return np.where(there, self.image_ids, -1), np.where(there, self.activations, 0.0), there
