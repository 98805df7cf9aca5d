"""A score at equal reconstruction: does one way of training lie above the line that another draws from R² to score?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vlm_sae_lib.errors import UserError


class Point(NamedTuple):
    """One trained SAE: its R², and a score of it."""

    r2: float
    score: float


def above_frontier(trained: Point, plain: Sequence[Point]) -> float:
    """One SAE's score, less the score that the plain SAEs of the same seed have at its R².

    Args:
        trained: the SAE in question.
        plain: SAEs of one seed, trained otherwise, of different sparsity; the line through them is the frontier.

    Returns:
        NaN where the R² lies outside the frontier's: the line is never prolonged.

    Raises:
        UserError: fewer than two points of the line.
    """
    if len(plain) < 2:
        raise UserError(f"A frontier is a line through at least two trained SAEs; there are {len(plain)}.")
    r2, score = np.array(sorted(plain), dtype=np.float64).T
    return float(trained.score - np.interp(trained.r2, r2, score, left=np.nan, right=np.nan))
