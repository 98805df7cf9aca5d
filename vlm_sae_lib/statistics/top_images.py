"""The images that each neuron answers to most, kept in one pass."""

import numpy as np
from jaxtyping import Bool, Float, Int

from vlm_sae_lib.machine.compiled import compiled, in_threads
from vlm_sae_lib.statistics.loops import Pairs


class TopImages:
    """Per neuron the ``k`` largest activations met so far and the images they come from, largest first.

    Equal activations rank by the smaller image id, whatever the order in which the images come. Empty places hold the
    activation ``-inf`` and the id -1.
    """

    def __init__(self, n_neurons: int, k: int) -> None:
        self.k = k
        self.activations = np.full((n_neurons, k), -np.inf)
        self.image_ids = np.full((n_neurons, k), -1, dtype=np.int64)

    def add_dense(
        self, neurons: Int[np.ndarray, " f"], activations: Float[np.ndarray, "f n"], image_ids: Int[np.ndarray, " n"]
    ) -> None:
        """Offer every image of a batch to some neurons."""
        in_threads(_rank_dense, len(neurons), neurons, activations, image_ids, *self._kept, at_least=1)

    def add_sparse(
        self,
        edges: Int[np.ndarray, " p+1"],
        pairs: Pairs,
        plain: Bool[np.ndarray, " n_neurons"],
        image_ids: Int[np.ndarray, " n"],
    ) -> None:
        """Offer the positive activations of a sparse batch to the ``plain`` neurons."""
        in_threads(_rank_sparse, len(edges) - 1, edges, pairs, plain, image_ids, *self._kept, at_least=1)

    def offer(
        self, neurons: Int[np.ndarray, " f"], values: Float[np.ndarray, "f m"], image_ids: Int[np.ndarray, "f m"]
    ) -> None:
        """Merge candidates of ``neurons`` into what is kept; an activation of -inf is none."""
        in_threads(_rank_offered, len(neurons), neurons, values, image_ids, *self._kept)

    @property
    def _kept(self) -> tuple[np.ndarray, np.ndarray]:
        return self.activations, self.image_ids

    def fill_zeros(self, neurons: Int[np.ndarray, " f"], zero_ids: Int[np.ndarray, " m"]) -> None:
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
        self, low: Float[np.ndarray, " n_neurons"]
    ) -> tuple[Int[np.ndarray, "n_neurons k"], Float[np.ndarray, "n_neurons k"], Bool[np.ndarray, "n_neurons k"]]:
        """Ids (-1 where none), activations (0 where none) and where there are any: only those above ``low``."""
        there = self.activations > low[:, None]
        return np.where(there, self.image_ids, -1), np.where(there, self.activations, 0.0), there


@compiled
def _rank(activations, image_ids, value, image_id):
    """Put a candidate where it belongs among those that one neuron keeps, largest first; the last one falls out."""
    place = len(activations)
    while place > 0 and (
        value > activations[place - 1] or (value == activations[place - 1] and image_id < image_ids[place - 1])
    ):
        place -= 1
    for behind in range(len(activations) - 1, place, -1):
        activations[behind], image_ids[behind] = activations[behind - 1], image_ids[behind - 1]
    if place < len(activations):
        activations[place], image_ids[place] = value, image_id


@compiled
def _rank_dense(start, stop, neurons, values, image_ids, activations, kept_ids):
    for row in range(start, stop):
        neuron = neurons[row]
        for n in range(values.shape[1]):
            if values[row, n] >= activations[neuron, -1]:
                _rank(activations[neuron], kept_ids[neuron], values[row, n], image_ids[n])


@compiled
def _rank_sparse(start, stop, edges, pairs, plain, image_ids, activations, kept_ids):
    for neuron in range(edges[start], edges[stop]):
        if plain[neuron]:
            for e in range(pairs.ends[neuron], pairs.ends[neuron + 1]):
                value = pairs.values[e]
                if value > 0 and value >= activations[neuron, -1]:
                    _rank(activations[neuron], kept_ids[neuron], value, image_ids[pairs.pictures[e]])


@compiled
def _rank_offered(start, stop, neurons, values, image_ids, activations, kept_ids):
    for row in range(start, stop):
        neuron = neurons[row]
        for m in range(values.shape[1]):
            if values[row, m] >= activations[neuron, -1] and values[row, m] > -np.inf:
                _rank(activations[neuron], kept_ids[neuron], values[row, m], image_ids[row, m])
