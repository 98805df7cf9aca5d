"""The loops over active pairs of sample and latent that a training step consists of (see ``machine/compiled.py``).

All of them work on rows ``start`` to ``stop`` and write nothing that belongs to others. Pairs lie in order of their
row; those of row i are ``bounds[i]`` to ``bounds[i + 1]``. The tests compare each with its definition.
"""

import numpy as np

from vlm_sae_lib.machine.compiled import compiled
from vlm_sae_lib.machine.loops import add_rows

COUNTS = 31
"""Counts of a row at most until its k-th largest value is known: one for each bit of a positive number."""


@compiled
def weighted_sums(start, stop, bounds, columns, weights, table, out):
    """out[i] = Σ weight · table[column] over the pairs of row i."""
    for i in range(start, stop):
        out[i] = 0
        add_rows(out[i], table, columns, weights, bounds[i], bounds[i + 1])


@compiled
def products_at(start, stop, bounds, columns, left, right, out):
    """out[pair] = ⟨left[i], right[column]⟩ for the pairs of row i."""
    for i in range(start, stop):
        for pair in range(bounds[i], bounds[i + 1]):
            out[pair] = _dot(left[i], right[columns[pair]])


@compiled
def residuals_and_slopes(
    start, stop, bounds, latents, values, decoder, centred, edges, scale, slopes, by_value, bags, squares, last
):
    """Decode a sample's G nested prefixes, and take the loss's derivatives by what was decoded.

    Group g holds the latents from ``edges[g]`` to ``edges[g + 1]``. Written: the derivative by each group's share of
    the reconstruction, ``slopes`` (samples, G, d): scale · Σ_{g' ≥ g} r_g', r the prefix's residual x̂ − x; by each
    active value, ``by_value``; the pair's row of ``slopes``, ``bags``; Σ_g ‖r_g‖², ``squares``; and −r_G, ``last``,
    unless that has no rows.
    """
    groups, dim = slopes.shape[1], slopes.shape[2]
    residual = np.empty(dim, dtype=np.float32)
    for i in range(start, stop):
        for j in range(dim):
            residual[j] = -centred[i, j]
        total, pair = 0.0, bounds[i]
        for group in range(groups):
            first = pair
            while pair < bounds[i + 1] and latents[pair] < edges[group + 1]:
                bags[pair] = i * groups + group
                pair += 1
            add_rows(residual, decoder, latents, values, first, pair)
            total += _dot(residual, residual)
            for j in range(dim):
                slopes[i, group, j] = scale * residual[j]
        squares[i] = total
        if last.shape[0]:
            for j in range(dim):
                last[i, j] = -residual[j]
        for group in range(groups - 1, -1, -1):
            if group < groups - 1:
                for j in range(dim):
                    slopes[i, group, j] += slopes[i, group + 1, j]
            while pair > bounds[i] and latents[pair - 1] >= edges[group]:
                pair -= 1
                by_value[pair] = _dot(slopes[i, group], decoder[latents[pair]])


@compiled
def sort_by_column(bounds, columns, order, rows, starts):
    """The order that sorts pairs by column and then row, their rows in that order, and where each column's begin.

    ``starts`` (columns + 1) is given as zeros.
    """
    for pair in range(len(columns)):
        starts[columns[pair] + 1] += 1
    for column in range(1, len(starts)):
        starts[column] += starts[column - 1]
    free = starts[:-1].copy()
    for i in range(len(bounds) - 1):
        for pair in range(bounds[i], bounds[i + 1]):
            place = free[columns[pair]]
            order[place], rows[place] = pair, i
            free[columns[pair]] += 1


@compiled
def largest_of_rows(start, stop, values, k, columns, kept, counts):
    """The k largest positive values of each row; of equal ones at the cut the first stay.

    Row i's are ``columns[i, :counts[i]]``, ascending, and ``kept`` beside them.
    """
    for i in range(start, stop):
        bits = values[i].view(np.int32)
        cut = _cut(bits, k)
        spare, taken = k - _count_from(bits, cut + 1), 0
        for j in range(len(bits)):
            if bits[j] >= cut and (bits[j] > cut or spare > 0):
                spare -= bits[j] == cut
                columns[i, taken] = j
                kept[i, taken] = values[i, j]
                taken += 1
        counts[i] = taken


@compiled
def largest_of_all(bounds, columns, values, k, new_bounds, new_columns, kept):
    """The k largest positive values of all pairs; of equal ones at the cut the first stay. Returns how many there are.

    What is left of each row is delimited by ``new_bounds``.
    """
    bits = values.view(np.int32)
    cut = _cut(bits, k)
    spare, taken = k - _count_from(bits, cut + 1), 0
    for i in range(len(bounds) - 1):
        new_bounds[i] = taken
        for pair in range(bounds[i], bounds[i + 1]):
            if bits[pair] >= cut and (bits[pair] > cut or spare > 0):
                spare -= bits[pair] == cut
                new_columns[taken] = columns[pair]
                kept[taken] = values[pair]
                taken += 1
    new_bounds[-1] = taken
    return taken


@compiled
def keep_largest(start, stop, values, k):
    """Zero what is not positive or below the k-th largest of its row."""
    for i in range(start, stop):
        bits = values[i].view(np.int32)
        cut = _cut(bits, k)
        for j in range(len(bits)):
            values[i, j] = values[i, j] if bits[j] >= cut else np.float32(0)


@compiled
def _cut(bits, k):
    """The k-th largest of positive numbers, 1 where there are no more than k.

    Positive single-precision numbers are ordered as the integers with their bits. Halving the range of these takes few
    counts, and a count takes many numbers at once: quicker than to partition them.
    """
    low, high = 1, 1
    for j in range(len(bits)):
        high = max(high, bits[j] + 1)
    if _count_from(bits, low) <= k:
        return low
    while high - low > 1:
        middle = low + (high - low) // 2
        count = _count_from(bits, middle)
        if count == k:
            return middle
        if count > k:
            low = middle
        else:
            high = middle
    return low


@compiled
def _count_from(bits, lowest):
    lowest, count = np.int32(lowest), np.int32(0)
    for j in range(len(bits)):
        count += np.int32(bits[j] >= lowest)
    return count


@compiled
def squares(start, stop, rows, out):
    """Σ x² of each row; squares in single precision, their sum in double."""
    for i in range(start, stop):
        total = 0.0
        for j in range(rows.shape[1]):
            total += np.float64(rows[i, j] * rows[i, j])
        out[i] = total


@compiled
def remove_along(start, stop, rows, vectors):
    """Take from each vector its part along the row, which has unit length."""
    for i in range(start, stop):
        along = _dot(vectors[i], rows[i])
        for j in range(rows.shape[1]):
            vectors[i, j] -= along * rows[i, j]


@compiled
def to_unit_length(start, stop, rows, shortest):
    """Scale each row to length 1; one below ``shortest`` is divided by that."""
    for i in range(start, stop):
        scale = np.float32(1) / max(np.sqrt(_dot(rows[i], rows[i])), shortest)
        for j in range(rows.shape[1]):
            rows[i, j] *= scale


@compiled
def round_rows(start, stop, rows, scale, most, whole, step, norm, lost):
    """Each row · scale as step · whole numbers up to ``most``; its length, and that of what rounding took from it."""
    scaled = np.empty(rows.shape[1], dtype=np.float32)
    for i in range(start, stop):
        largest = np.float32(0)
        for j in range(rows.shape[1]):
            scaled[j] = rows[i, j] * scale[j]
            largest = max(largest, abs(scaled[j]))
        step[i] = largest / most
        inverse = most / largest if largest > 0 else np.float32(0)
        square, error = np.float32(0), np.float32(0)
        for j in range(rows.shape[1]):
            nearest = np.rint(scaled[j] * inverse)
            whole[i, j] = np.int8(nearest)
            rest = scaled[j] - nearest * step[i]
            square += scaled[j] * scaled[j]
            error += rest * rest
        norm[i], lost[i] = np.sqrt(square), np.sqrt(error)


@compiled
def count_above(start, stop, values, cut, counts):
    """How many values of each row exceed ``cut``."""
    for i in range(start, stop):
        count = np.int32(0)
        for j in range(values.shape[1]):
            count += np.int32(values[i, j] > cut)
        counts[i] = count


@compiled
def find_above(start, stop, values, cut, bounds, columns, kept):
    """Which these are."""
    found = _no_columns(values.shape[1])
    for i in range(start, stop):
        for j in range(values.shape[1]):
            found[j] = values[i, j] > cut
        _write_columns(found, bounds[i], columns)
        for pair in range(bounds[i], bounds[i + 1]):
            kept[pair] = values[i, columns[pair]]


@compiled
def count_candidates(start, stop, whole, step, steps, bias, a, b, c, d, cut, counts):
    """How many columns of each row may hold ``cut`` or more, with an error of up to a_i · b_j + c_i · d_j."""
    for i in range(start, stop):
        count = np.int32(0)
        for j in range(whole.shape[1]):
            most = _value(whole[i, j], step[i], steps[j], bias[j]) + (a[i] * b[j] + c[i] * d[j])
            count += np.int32(most >= cut)
        counts[i] = count


@compiled
def find_candidates(start, stop, whole, step, steps, bias, a, b, c, d, cut, bounds, columns):
    """Which these are."""
    found = _no_columns(whole.shape[1])
    for i in range(start, stop):
        for j in range(whole.shape[1]):
            most = _value(whole[i, j], step[i], steps[j], bias[j]) + (a[i] * b[j] + c[i] * d[j])
            found[j] = most >= cut
        _write_columns(found, bounds[i], columns)


@compiled
def scaled_back(start, stop, whole, step, steps, bias, out):
    """The pre-activations that whole numbers stand for."""
    for i in range(start, stop):
        for j in range(whole.shape[1]):
            out[i, j] = _value(whole[i, j], step[i], steps[j], bias[j])


@compiled
def _value(whole, step, other, bias):
    # An integer times a float would be a float of double the width, at half the speed.
    return np.float32(whole) * (step * other) + bias


@compiled
def _no_columns(width):
    """One byte for each column, filled up so that eight can be skipped at once."""
    return np.zeros(-(-width // 8) * 8, dtype=np.uint8)


@compiled
def _write_columns(found, pair, columns):
    """The numbers of the bytes that are set, from ``columns[pair]`` on."""
    eights = found.view(np.uint64)
    for eight in range(len(eights)):
        if eights[eight]:
            for j in range(8 * eight, 8 * eight + 8):
                if found[j]:
                    columns[pair] = j
                    pair += 1


@compiled
def _dot(left, right):
    total = np.float32(0)
    for j in range(left.shape[0]):
        total += left[j] * right[j]
    return total
