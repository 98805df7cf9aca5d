"""Loops over active pairs (neuron, picture): weighted sums of embeddings, kept in the cache for one neuron at a time.

Sparse activations come by neuron: ``pictures[first:last]`` and ``values[first:last]`` belong to neuron f, with
``first, last = ends[f : f + 2]``. Embeddings come as they are, with the inverse of their lengths, so that no second
copy of them is made; every sum is float64. Loops over neurons go piece by piece through ``edges`` (`even_pieces`).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from vlm_sae_lib.machine.compiled import compiled, in_threads
from vlm_sae_lib.machine.loops import add_rows

PIECES = 64
"""A loop over neurons is cut into so many pieces of about the same work: frequent neurons often lie together."""


class Embeddings(NamedTuple):
    """Checked embeddings: row n over its length is ``rows[n] * inverse[n]``."""

    rows: Float[np.ndarray, "n dim"]
    inverse: Float[np.ndarray, " n"]


class Pairs(NamedTuple):
    """Stored activations by neuron; ``n_images`` counts the pictures without any too."""

    ends: Int[np.ndarray, " n_neurons+1"]
    pictures: Int[np.ndarray, " e"]
    values: Float[np.ndarray, " e"]
    n_images: int


def even_pieces(ends: Int[np.ndarray, " n_neurons+1"]) -> Int[np.ndarray, " p+1"]:
    """Edges of pieces of consecutive neurons that hold about equally many entries."""
    n_neurons = len(ends) - 1
    work = ends + np.arange(n_neurons + 1, dtype=np.int64)  # a neuron without entries is some work too
    edges = np.searchsorted(work, np.linspace(0, work[-1], max(1, min(PIECES, n_neurons // 16)) + 1))
    edges[0], edges[-1] = 0, n_neurons
    return edges


@compiled
def square_lengths(start, stop, rows, squares):
    """Squared length of each embedding: not finite where an entry is not."""
    for row in range(start, stop):
        square = 0.0
        for d in range(rows.shape[1]):
            value = np.float64(rows[row, d])
            square += value * value
        squares[row] = square


@compiled
def lowest(start, stop, edges, pairs, low):
    """Minimum of each neuron, implicit zeros included."""
    for neuron in range(edges[start], edges[stop]):
        first, last = pairs.ends[neuron], pairs.ends[neuron + 1]
        smallest = 0.0 if last - first < pairs.n_images else np.inf
        for e in range(first, last):
            smallest = min(smallest, pairs.values[e])
        low[neuron] = smallest


@compiled
def score_sums(start, stop, edges, pairs, low, embeddings, above, sums):
    """What `pairs.ratio` needs of neurons with a minimum of zero, in units of the heaviest weight.

    Writes how many pictures lie above the minimum, and where two do ``<e_t, W>, |W|^2, S1, S2``. The sum W itself is
    never stored. Overwrites the values of these neurons.
    """
    ends, pictures, values, _ = pairs
    rows, inverse = embeddings
    total = np.empty(rows.shape[1])
    for neuron in range(edges[start], edges[stop]):
        first, last = ends[neuron], ends[neuron + 1]
        if low[neuron] != 0 or first == last:
            continue
        heaviest, positive = first, 0
        for e in range(first, last):
            positive += values[e] > 0
            if values[e] > values[heaviest]:
                heaviest = e
        above[neuron] = positive
        if positive < 2:
            continue
        top, s1, s2 = values[heaviest], 0.0, 0.0
        values[heaviest] = 0.0
        for e in range(first, last):
            weight = values[e] / top
            s1 += weight
            s2 += weight * weight
            values[e] = weight * inverse[pictures[e]]
        total[:] = 0.0
        add_rows(total, rows, pictures, values, first, last)
        t = pictures[heaviest]
        dot, norm = 0.0, 0.0
        for d in range(len(total)):
            dot += total[d] * (rows[t, d] * inverse[t])
            norm += total[d] * total[d]
        sums[0, neuron], sums[1, neuron], sums[2, neuron], sums[3, neuron] = dot, norm, s1, s2


class Sums(NamedTuple):
    """The arrays of `sums.PairSums`, which describes them."""

    low: Float[np.ndarray, " n_neurons"]
    at_low: Int[np.ndarray, " n_neurons"]
    top: Float[np.ndarray, " n_neurons"]
    top_row: Float[np.ndarray, "n_neurons dim"]
    top_inverse: Float[np.ndarray, " n_neurons"]
    total: Float[np.ndarray, " n_neurons"]
    square: Float[np.ndarray, " n_neurons"]
    weighted: Float[np.ndarray, "n_neurons dim"]


@compiled
def add_plain(start, stop, edges, pairs, plain, embeddings, sums):
    """Add a batch to the sums of ``plain`` neurons, whose minimum is zero for good. Overwrites their values."""
    ends, pictures, values, n_images = pairs
    rows, inverse = embeddings
    low, at_low, top, top_row, top_inverse, total, square, weighted = sums
    wide = np.empty(rows.shape[1])
    for neuron in range(edges[start], edges[stop]):
        if not plain[neuron]:
            continue
        first, last = ends[neuron], ends[neuron + 1]
        heaviest, positive = first, 0
        for e in range(first, last):
            positive += values[e] > 0
            if values[e] > values[heaviest]:
                heaviest = e
        low[neuron] = 0.0
        at_low[neuron] += n_images - positive
        if positive == 0:
            continue
        s1, s2 = total[neuron], square[neuron]
        if s1 > 0:
            wide[:] = weighted[neuron]
        else:  # nothing was summed so far: leave the memory of neurons that never need it untouched
            wide[:] = 0.0
        if values[heaviest] > top[neuron]:
            if top[neuron] > 0:  # the picture kept apart so far joins the sums
                s1 += top[neuron]
                s2 += top[neuron] * top[neuron]
                weight = top[neuron] * top_inverse[neuron]
                for d in range(len(wide)):
                    wide[d] += weight * top_row[neuron, d]
            t = pictures[heaviest]
            top[neuron], top_inverse[neuron] = values[heaviest], inverse[t]
            top_row[neuron] = rows[t]
            values[heaviest] = 0.0
        for e in range(first, last):
            weight = values[e]
            s1 += weight
            s2 += weight * weight
            values[e] = weight * inverse[pictures[e]]
        if s1 > 0:
            add_rows(wide, rows, pictures, values, first, last)
            weighted[neuron] = wide
            total[neuron], square[neuron] = s1, s2


@compiled
def norms(start, stop, neurons, weighted, top_row, dot, norm):
    """<top_row, W> and |W|^2 of each of the ``neurons``."""
    for place in range(start, stop):
        neuron = neurons[place]
        along, square = 0.0, 0.0
        for d in range(weighted.shape[1]):
            along += weighted[neuron, d] * top_row[neuron, d]
            square += weighted[neuron, d] * weighted[neuron, d]
        dot[place], norm[place] = along, square


def unit_sum(embeddings: Embeddings, part: int = 512) -> Float[np.ndarray, " dim"]:
    """Sum of the unit embeddings; parts of fixed length, so that it does not depend on the number of threads."""
    n, dim = embeddings.rows.shape
    parts = np.zeros((-(-n // part), dim))
    in_threads(_unit_sums, len(parts), part, np.arange(n), embeddings, parts, at_least=1)
    return parts.sum(axis=0)


@compiled
def _unit_sums(start, stop, part, pictures, embeddings, parts):
    rows, inverse = embeddings
    for place in range(start, stop):
        add_rows(parts[place], rows, pictures, inverse, place * part, min(place * part + part, len(rows)))
