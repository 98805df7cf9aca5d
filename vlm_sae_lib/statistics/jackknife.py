"""The interval of a mean over pairs of trainings, which are not independent: each training is in many pairs."""

import numpy as np
from jaxtyping import Float

from vlm_sae_lib.arrays import real_array
from vlm_sae_lib.errors import UserError

OVER_PAIRS = "jackknife over the trainings of the mean over their pairs, with Student's t"


def pseudo_values(pairs: Float[np.ndarray, "n_trainings n_trainings"]) -> Float[np.ndarray, " n_trainings"]:
    """One value for each training, whose mean is the mean over all pairs and whose t-interval is its interval.

    Tukey's pseudo-values n θ − (n − 1) θ₋ᵢ, where θ₋ᵢ is the mean over the pairs without training i. If what two
    trainings have in common is a sum of a part of each, this is Student's t over these parts. As far as it is of the
    pair alone the interval is too wide, at most by √(2 (n − 1) / (n − 2)): half as wide again with ten trainings. Over
    disjoint pairs it would be right, and leave out all pairs but n / 2.

    Args:
        pairs: symmetric; what stands on its diagonal does not count.

    Raises:
        UserError: fewer than three trainings, of which none can be left out, or no square table of them.
    """
    pairs = real_array(pairs, "The pairs").astype(np.float64)
    if pairs.ndim != 2 or pairs.shape[0] != pairs.shape[1]:
        raise UserError(f"The pairs have shape {pairs.shape}; give a square table, a row and a column per training.")
    n = len(pairs)
    if n < 3:
        raise UserError(f"An interval over pairs of trainings needs at least three of them, not {n}.")
    upper = np.where(np.eye(n, dtype=bool), 0, (pairs + pairs.T) / 2)
    total, own = upper.sum() / 2, upper.sum(axis=1)
    return n * total / (n * (n - 1) / 2) - (n - 1) * (total - own) / ((n - 1) * (n - 2) / 2)
