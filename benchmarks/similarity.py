"""Uniqueness: all pairs of neurons by their sixteen top pictures."""

from collections.abc import Iterator

import numpy as np

from benchmarks import floors
from benchmarks.timing import Row, side_by_side
from vlm_sae_lib.scores.uniqueness import uniqueness

PART = 400


def top_pictures(neurons: int, pictures: int, seed: int = 0) -> np.ndarray:
    """Sixteen pictures for each neuron, mostly its own; every tenth neuron shares half of them with another.

    As in the paper's App. G, where 16,000 of 75 million pairs share any.
    """
    rng = np.random.default_rng(seed)
    top = rng.integers(pictures, size=(neurons, 16))
    alike = np.arange(0, neurons, 10)
    top[alike, :8] = top[rng.integers(neurons, size=len(alike)), 8:]
    return top


def by_sets(top: np.ndarray) -> int:
    """How many pairs have a picture in common, one pair after another."""
    sets = [frozenset(row.tolist()) for row in top]
    return sum(not sets[i].isdisjoint(other) for i in range(len(sets)) for other in sets[i + 1 :])


def run() -> Iterator[Row]:
    for neurons, pictures, goal in ((12_288, 1_281_167, 1.0), (65_536, 1_281_167, 20.0)):
        top = top_pictures(neurons, pictures)
        pairs = neurons * (neurons - 1) // 2
        scale = pairs / (PART * (PART - 1) / 2)
        times = side_by_side(lambda t=top: uniqueness(t), lambda t=top: by_sets(t[:PART]), scale=scale)
        note = f"sets of Python, {PART} neurons, scaled by {scale:.0f}"
        sharing = uniqueness(top).pairs_above(0)
        facts = {"goal_seconds": goal} | floors.facts(floors.uniqueness(neurons, top.shape[1], sharing))
        yield Row("uniqueness", f"{neurons:,} neurons, {pairs:,} pairs", times[0], "sets", times[1], None, note, facts)
