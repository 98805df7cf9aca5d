"""The loop that those of more than one room are made of.

numba compiles it into each of them, and knows what it has kept on disk by the file of the outer loop alone: whoever
changes this file must touch those too, or they run as before.
"""

from vlm_sae_lib.machine.compiled import compiled


@compiled
def add_rows(total, rows, places, weights, first, last):
    """total += Σ weights[e] · rows[places[e]] for e from ``first`` to ``last``; four rows at a time, so that the sum is
    read and written a quarter as often."""
    e = first
    while e + 4 <= last:
        p, q, r, s = places[e], places[e + 1], places[e + 2], places[e + 3]
        v, w, x, y = weights[e], weights[e + 1], weights[e + 2], weights[e + 3]
        for d in range(len(total)):
            total[d] += (v * rows[p, d] + w * rows[q, d]) + (x * rows[r, d] + y * rows[s, d])
        e += 4
    while e < last:
        p, v = places[e], weights[e]
        for d in range(len(total)):
            total[d] += v * rows[p, d]
        e += 1
