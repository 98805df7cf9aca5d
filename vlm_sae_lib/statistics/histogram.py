"""How often a neuron takes which activations, in bins that are the same for all neurons and all parts of a pass."""

import numpy as np
from jaxtyping import Bool, Float, Int

from vlm_sae_lib.machine.compiled import compiled, in_threads
from vlm_sae_lib.statistics.loops import Pairs

LOWEST, HIGHEST = -16, 16
"""Between 2^LOWEST and 2^HIGHEST bins are half an octave: they begin at 2^e and at 1.5 · 2^e."""

BINS = 2 * (HIGHEST - LOWEST) + 3
"""And one each for what is not positive, for what is smaller than the first of them and for what is too large."""


def edges() -> Float[np.ndarray, " bins+1"]:
    """Bin b counts activations with ``edges[b] <= a < edges[b + 1]``; the first one holds all that are not positive."""
    octaves = 2.0 ** np.arange(LOWEST, HIGHEST)
    halves = np.stack([octaves, 1.5 * octaves], axis=1).ravel()
    return np.concatenate([[-np.inf, np.nextafter(0.0, 1.0)], halves, [2.0**HIGHEST, np.inf]])


@compiled
def bin_of(bits):
    """The bin of a positive float64 from its bits: its exponent and the first digit of its mantissa number the bins."""
    place = (bits >> 51) - 2 * (1023 + LOWEST) + 2
    return min(max(place, 1), BINS - 1)


def count_dense(
    counts: Int[np.ndarray, "n_neurons bins"], neurons: Int[np.ndarray, " f"], activations: Float[np.ndarray, "f n"]
) -> None:
    """Count the positive activations of some neurons. What is not positive follows from the number of pictures."""
    in_threads(_count_dense, len(neurons), counts, neurons, activations, activations.view(np.int64), at_least=1)


@compiled
def _count_dense(start, stop, counts, neurons, activations, bits):
    for row in range(start, stop):
        for n in range(activations.shape[1]):
            if activations[row, n] > 0:
                counts[neurons[row], bin_of(bits[row, n])] += 1


def count_sparse(
    counts: Int[np.ndarray, "n_neurons bins"],
    edges: Int[np.ndarray, " p+1"],
    pairs: Pairs,
    plain: Bool[np.ndarray, " n_neurons"],
) -> None:
    """As `count_dense`, for the ``plain`` neurons of a sparse batch."""
    in_threads(_count_sparse, len(edges) - 1, counts, edges, pairs, pairs.values.view(np.int64), plain, at_least=1)


@compiled
def _count_sparse(start, stop, counts, edges, pairs, bits, plain):
    for neuron in range(edges[start], edges[stop]):
        if plain[neuron]:
            for e in range(pairs.ends[neuron], pairs.ends[neuron + 1]):
                if pairs.values[e] > 0:
                    counts[neuron, bin_of(bits[e])] += 1
