"""From settings to statements: rates by concept, and their means with intervals over concepts.

Concepts are the outermost unit: pictures of one concept share its latent, its setting and its luck, so an interval over
pictures would be too narrow. Intervals are 95 % percentile bootstraps over concepts, widened for their number; a single
concept's rate has Wilson's interval over its pictures.
"""

import numpy as np
import pandas as pd

from vlm_sae_lib.statistics.intervals import bootstrap_mean, percentiles
from vlm_sae_lib.steering.experiment import STEERED

OUTCOMES = ("success", "rest", "both")


def by_concept(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per method and concept: rates averaged over repetitions, n pictures, Wilson's interval of ``success``.

    The interval is that of one repetition's pictures; more repetitions do not narrow it.
    """
    keys = ["method", "about", "concept"]
    table = scores.groupby(keys, sort=False)[["n", *OUTCOMES]].mean().reset_index()
    table["repetitions"] = scores.groupby(keys, sort=False).size().to_numpy()
    low, high = wilson(table["success"].to_numpy(), table["n"].to_numpy())
    return table.assign(n=table["n"].astype(int), success_low=low, success_high=high)


def by_about(concepts: pd.DataFrame, *, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """One row per method, about (and "all") and outcome: rate, low, high, concepts, pictures."""
    rows = []
    for about in [*concepts["about"].unique(), "all"]:
        part = concepts if about == "all" else concepts[concepts["about"] == about]
        for method, group in part.groupby("method", sort=False):
            for outcome in OUTCOMES:
                values = group[outcome].dropna().to_numpy()
                rate, (low, high) = bootstrap_mean(values, seed=seed, n_resamples=draws)
                rows.append((method, about, outcome, rate, low, high, len(values), int(group["n"].sum())))
    columns = ["method", "about", "outcome", "rate", "low", "high", "concepts", "pictures"]
    return pd.DataFrame(rows, columns=columns)


def times_best_control(
    concepts: pd.DataFrame, outcome: str = "success", *, draws: int = 2000, seed: int = 0
) -> dict[str, float | str]:
    """Mean steered rate over that of the best control, with an interval over concepts (resampled together).

    In every resample the best control is found anew, so the interval knows of that choice. Infinite where no control
    ever succeeds; NaN where steering does not succeed either, or where no concept has a rate of every method.
    """
    wide = concepts.pivot(index=["about", "concept"], columns="method", values=outcome).dropna()
    controls = [name for name in wide.columns if name != STEERED]
    if wide.empty:
        nothing = float("nan")
        return {"value": nothing, "low": nothing, "high": nothing, "best_control": "none", "concepts": 0}

    def ratio(means: pd.Series | np.ndarray, best: float) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(means, float) / np.asarray(best, float)

    picks = np.random.default_rng(seed).integers(len(wide), size=(draws, len(wide)))
    steered = wide[STEERED].to_numpy()[picks].mean(1)
    best = wide[controls].to_numpy()[picks].mean(1).max(1)
    resampled = ratio(steered, best)
    low, high = percentiles(resampled, len(wide))
    means = wide.mean()
    return {
        "value": float(ratio(means[STEERED], means[controls].max())),
        "low": float(low),
        "high": float(high),
        "best_control": str(means[controls].idxmax()),
        "concepts": len(wide),
    }


def trade_off_area(points: np.ndarray, unsteered: np.ndarray) -> float:
    """Area below the line through points (rest, success), the unsteered one among them; the best of both is 1.

    The line runs from the largest rest to the smallest, never falls, is straight between points, where a strength
    between theirs would lie, and level from the last of them to a rest of 0. NaN where a point is not defined.
    """
    points = np.vstack([points, unsteered])
    if np.isnan(points).any():
        return float("nan")
    rest, success = points[np.lexsort((points[:, 1], -points[:, 0]))].T
    success = np.maximum.accumulate(success)
    return float(rest[-1] * success[-1] + np.trapezoid(success[::-1], rest[::-1]))


def wilson(rate: np.ndarray, n: np.ndarray, z: float = 1.959964) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95 % interval of a proportion seen in n tries; NaN for n = 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
