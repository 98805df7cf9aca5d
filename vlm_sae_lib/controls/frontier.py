"""A score at equal reconstruction: does one way of training lie above the line that another draws from R² to score?"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.statistics.intervals import UNDEFINED, Estimate, Interval, percentiles


class Point(NamedTuple):
    """One trained SAE: its R², a score of it, and what that score is in each bootstrap draw ``(n_resamples,)``."""

    r2: float
    value: float
    draws: Float[np.ndarray, " n_resamples"]


def above_frontier(runs: Sequence[Point], frontier: Mapping[Any, Sequence[Point]], *, seed: int = 0) -> Estimate:
    """Mean score over seeds, less the score that the frontier has at the same mean R².

    The frontier is the line through its settings' mean R² and mean score. Seeds are resampled first, of every setting
    on its own, and with them R²; then the draws, which all points share.

    Args:
        runs: a point for each seed.
        frontier: points for each seed, by setting (say, by k); at least two settings.

    Returns:
        NaN where the R² lies outside the frontier's: the line is never prolonged. No interval where that is so in more
        than one draw of twenty.

    Raises:
        UserError: too little to draw a line, or draws of different numbers.
    """
    if not runs or len(frontier) < 2 or not all(frontier.values()):
        raise UserError("A frontier needs two settings, and each side at least one trained SAE.")
    kinds = [list(runs), *map(list, frontier.values())]
    if len({len(point.draws) for kind in kinds for point in kind}) > 1:
        raise UserError("Points drawn different numbers of times cannot be paired by draw.")
    rng = np.random.default_rng(seed)
    r2, score = (np.stack(side) for side in zip(*(_resampled(kind, rng) for kind in kinds), strict=True))
    means = [(np.mean([point.r2 for point in kind]), np.mean([point.value for point in kind])) for kind in kinds]
    replicates = np.array([_above(r2[:, draw], score[:, draw]) for draw in range(r2.shape[1])])
    inside = np.isfinite(replicates).mean() >= 0.95
    return Estimate(_above(*np.array(means).T), percentiles(replicates) if inside else Interval(*UNDEFINED))


def _resampled(points: list[Point], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mean R² and mean score of the seeds drawn, for each draw."""
    draws = np.stack([point.draws for point in points], axis=1)
    picked = rng.integers(len(points), size=draws.shape)
    return np.array([p.r2 for p in points])[picked].mean(axis=1), np.take_along_axis(draws, picked, axis=1).mean(axis=1)


def _above(r2: np.ndarray, score: np.ndarray) -> float:
    """The first point's score less that of the line through the others."""
    order = 1 + np.argsort(r2[1:])
    line = np.interp(r2[0], r2[order], score[order], left=np.nan, right=np.nan)
    return float(score[0] - line)
