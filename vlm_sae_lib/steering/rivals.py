"""A latent, the difference of means, random directions: what each may try for a concept. Each has as many tries.

A latent has candidates × strengths. Random directions have as many of both: each stands in for one candidate and moves
every token exactly as far as that one would, at the same strengths (``Intervention.direction_seed``). The difference of
means has one direction, so its tries are strengths alone, and to suppress two forms of the move.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from vlm_sae_lib.steering.diff_mean import Contrast, Erasure, Shift
from vlm_sae_lib.steering.experiment import Setting, Task
from vlm_sae_lib.steering.sweep import UNSTEERED, Intervention

SAE, SAE_KEPT, DIFF_MEAN = "SAE", "SAE, error kept", "DiffMean"
RANDOM, RANDOM_KEPT = "random directions", "random directions, error kept"
IN_PLACE, BARE = "SAE in place, unsteered", "bare model"
CHOOSING = (SAE, SAE_KEPT, DIFF_MEAN, RANDOM, RANDOM_KEPT)
METHODS = (*CHOOSING, IN_PLACE, BARE)
DROPPED = (SAE, RANDOM, IN_PLACE)
"""The methods under which what the SAE misses is dropped, as in the paper; under the others it stays."""

UP, DOWN = (0.5, 0.75, 1, 1.5, 3), (0, -0.25, -0.5, -1, -2)
"""Multiples of a latent's maximum, the mildest first."""
SHIFTS = tuple(np.geomspace(0.5, 32, 15).tolist())
"""Multiples of the difference of means; as many as three candidates × ``UP``."""
ERASURES = tuple(np.geomspace(0.5, 4, 7).tolist())
MINUS = tuple((-np.geomspace(0.5, 16, 8)).tolist())
CURVE = {Shift: (*SHIFTS[4:13:2], MINUS[1], *MINUS[3:7]), Erasure: (*ERASURES[:5:2], *ERASURES[5:])}
"""The strengths of each form of the difference on the curve: five for a task, as many as of a latent."""


def make_tries(
    task: Task, candidates: pd.DataFrame, contrasts: dict[tuple[str, str], Contrast], seed: int
) -> list[Setting]:
    """Every try of every method for every concept, the mildest first.

    candidates: as of ``concepts.candidate_latents``; contrasts: by (about, concept); seed: of the random directions.
    """
    rng = np.random.default_rng(seed)
    tries: list[Setting] = []
    for (about, concept), own in candidates.groupby(["about", "concept"], sort=False):
        latents = list(zip(own["latent"].tolist(), own["maximum"].tolist(), strict=True))
        ways = rng.integers(2**31, size=len(latents)).tolist()
        for method in (SAE, SAE_KEPT, RANDOM, RANDOM_KEPT):
            along = ways if method in (RANDOM, RANDOM_KEPT) else [None] * len(latents)
            tries += [
                Setting(method, about, concept, 0, Intervention(latent, multiple * maximum, way), multiple)
                for multiple in (UP if task == "insertion" else DOWN)
                for (latent, maximum), way in zip(latents, along, strict=True)
            ]
        pair = contrasts[about, concept]
        moves: list[Shift | Erasure] = [Shift(pair.direction, s) for s in (SHIFTS if task == "insertion" else MINUS)]
        if task == "suppression":
            moves = [*(Erasure(pair, s) for s in ERASURES), *moves]
        tries += [Setting(DIFF_MEAN, about, concept, 0, move, move.strength) for move in moves]
        tries += [Setting(method, about, concept, 0, UNSTEERED, 0.0) for method in (IN_PLACE, BARE)]
    return tries


def with_contrast(move: Shift | Erasure, other: Contrast) -> Shift | Erasure:
    """The same move by another contrast."""
    return replace(move, **({"contrast": other} if isinstance(move, Erasure) else {"direction": other.direction}))


def on_curve(tries: list[Setting], settings: list[Setting]) -> list[Setting]:
    """Five strengths of each method that steers: of the chosen latent or direction, or of the difference's chosen form.

    Their ``repetition`` tells which of the five it is, from the mildest.
    """
    points = []
    for chosen in (s for s in settings if s.method in CHOOSING):
        own = [
            t for t in tries
            if (t.method, t.about, t.concept) == (chosen.method, chosen.about, chosen.concept)
            and t.intervention.latent == chosen.intervention.latent
            and type(t.intervention) is type(chosen.intervention)
            and t.multiple in CURVE.get(type(t.intervention), (t.multiple,))
        ]  # fmt: skip
        points += [replace(t, repetition=step) for step, t in enumerate(own)]
    return points
