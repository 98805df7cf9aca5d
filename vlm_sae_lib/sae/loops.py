"""The loops over active pairs of sample and latent that a training step consists of, compiled (``compiled.py``).

All of them work on rows ``start`` to ``stop`` and write nothing that belongs to others. Pairs lie in order of their
row; those of row i are ``bounds[i]`` to ``bounds[i + 1]``. The tests compare each with its definition.
"""

import numpy as np

from vlm_sae_lib.compiled import compiled


@compiled
def weighted_sums(start, stop, bounds, columns, weights, table, out):
    """out[i] = Σ weight · table[column] over the pairs of row i."""
    for i in range(start, stop):
        out[i] = 0
        for pair in range(bounds[i], bounds[i + 1]):
            weight, row = weights[pair], table[columns[pair]]
            for j in range(out.shape[1]):
                out[i, j] += weight * row[j]


@compiled
def products_at(start, stop, bounds, columns, left, right, out):
    """out[pair] = ⟨left[i], right[column]⟩ for the pairs of row i."""
    for i in range(start, stop):
        for pair in range(bounds[i], bounds[i + 1]):
            out[pair] = _dot(left[i], right[columns[pair]])


@compiled
def residuals_and_slopes(
    start, stop, bounds, latents, values, decoder, centred, scale, slopes, by_value, squares, last
):
    """Decode a sample's G nested prefixes, and take the loss's derivatives by what was decoded.

    ``bounds`` delimits pairs by sample and group. Written: the derivative by each group's share of the reconstruction,
    ``slopes`` (samples, G, d): scale · Σ_{g' ≥ g} r_g', r the prefix's residual x̂ − x; by each active value,
    ``by_value``; Σ_g ‖r_g‖², ``squares``; and −r_G, ``last``, unless that has no rows.
    """
    groups, dim = slopes.shape[1], slopes.shape[2]
    residual = np.empty(dim, dtype=np.float32)
    for i in range(start, stop):
        for j in range(dim):
            residual[j] = -centred[i, j]
        total = 0.0
        for group in range(groups):
            bag = i * groups + group
            for pair in range(bounds[bag], bounds[bag + 1]):
                value, row = values[pair], decoder[latents[pair]]
                for j in range(dim):
                    residual[j] += value * row[j]
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
            bag = i * groups + group
            for pair in range(bounds[bag], bounds[bag + 1]):
                by_value[pair] = _dot(slopes[i, group], decoder[latents[pair]])


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

    Positive single-precision numbers are ordered as the integers with their bits. Halving the range of these takes at
    most 31 counts, and a count takes many numbers at once: quicker than to partition them.
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
def round_rows(start, stop, rows, scale, whole, step, norm, lost):
    """Each row · scale as step · whole numbers of eight bits; its length, and that of what rounding took from it."""
    scaled = np.empty(rows.shape[1], dtype=np.float32)
    for i in range(start, stop):
        largest = np.float32(0)
        for j in range(rows.shape[1]):
            scaled[j] = rows[i, j] * scale[j]
            largest = max(largest, abs(scaled[j]))
        step[i] = largest / np.float32(127)
        inverse = np.float32(127) / largest if largest > 0 else np.float32(0)
        square, error = np.float32(0), np.float32(0)
        for j in range(rows.shape[1]):
            nearest = np.rint(scaled[j] * inverse)
            whole[i, j] = np.int8(nearest)
            rest = scaled[j] - nearest * step[i]
            square += scaled[j] * scaled[j]
            error += rest * rest
        norm[i], lost[i] = np.sqrt(square), np.sqrt(error)


@compiled
def count_candidates(start, stop, whole, step, steps, bias, a, b, c, d, cut, counts):
    """How many columns of each row may hold ``cut`` or more, with an error of up to a_i · b_j + c_i · d_j."""
    for i in range(start, stop):
        count = 0
        for j in range(whole.shape[1]):
            most = whole[i, j] * (step[i] * steps[j]) + bias[j] + (a[i] * b[j] + c[i] * d[j])
            count += most >= cut
        counts[i] = count


@compiled
def find_candidates(start, stop, whole, step, steps, bias, a, b, c, d, cut, bounds, columns):
    """Which these are."""
    width = whole.shape[1]
    # One byte for each column, and eight of them are skipped at once.
    found = np.zeros(-(-width // 8) * 8, dtype=np.uint8)
    eights = found.view(np.uint64)
    for i in range(start, stop):
        for j in range(width):
            most = whole[i, j] * (step[i] * steps[j]) + bias[j] + (a[i] * b[j] + c[i] * d[j])
            found[j] = most >= cut
        pair = bounds[i]
        for eight in range(len(eights)):
            if eights[eight]:
                for j in range(8 * eight, 8 * eight + 8):
                    if found[j]:
                        columns[pair] = j
                        pair += 1


@compiled
def columns_of(start, stop, whole, step, steps, bias, columns, out):
    """The values of some columns."""
    for i in range(start, stop):
        for place in range(len(columns)):
            j = columns[place]
            out[i, place] = whole[i, j] * (step[i] * steps[j]) + bias[j]


@compiled
def _dot(left, right):
    total = np.float32(0)
    for j in range(left.shape[0]):
        total += left[j] * right[j]
    return total
