"""What several experiments measure alike: a code's MS under each scoring encoder, its spread, its reconstruction."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pocket.language import ABOUT
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.scores.comparison import Scored, score
from vlm_sae_lib.statistics.intervals import OVER_TRAININGS
from vlm_sae_lib.workbench import Workbench

RESAMPLES = 200
AT_LEAST = 10
"""Pictures on which a neuron must lie above its minimum for the second of the two means that are reported."""
POPULATIONS = ((2, ""), (AT_LEAST, ENOUGH))
"""The plan's two, every neuron whose score is defined and those of enough pictures; with how results' names end."""

OVER_PICTURES = f"{RESAMPLES} bootstrap draws of the pictures, middle 95 %"
SEEDS = tuple(range(10))
"""Of every autoencoder whose training takes less than a minute (book/analysis_plan.md)."""


def scored(bench: Workbench, code: Any, encoder: str, *, seed: int = 0) -> Scored:
    """MS of every column of a code ``(test pictures, neurons)`` under one of the profile's scoring encoders.

    All codes scored with the same seed see the same draws of the pictures, so their differences are paired.
    """
    return score(code, bench.embeddings("test", encoder).array(), resamples=RESAMPLES, seed=seed)


def scored_runs(bench: Workbench, runs: Sequence[Any], encoder: str) -> list[Scored]:
    """MS of the code of every training. Pictures are drawn again only where one training stands alone: of several, the
    interval is over the trainings."""
    unit = bench.embeddings("test", encoder).array()
    return [score(code, unit, resamples=RESAMPLES if len(runs) == 1 else 1) for code in runs]


def means(runs: Sequence[Scored], at_least: int = 2) -> Float[np.ndarray, " n_seeds"]:
    """Each training's mean MS over its neurons of so many pictures; NaN where it has none."""
    return np.array([run.moved(at_least)[0] for run in runs])


def slopes(
    places: Float[np.ndarray, " n_places"], values: Float[np.ndarray, "n_places n_seeds"]
) -> Float[np.ndarray, " n_seeds"]:
    """Each training's slope of a value over where it was measured; NaN where one of its values is."""
    return np.array([stats.linregress(places, column).slope for column in values.T])


def known_factors(bench: Workbench, split: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The truth of a split's pictures, row i of picture i, and the categorical factors that the experiments compare.

    Raises:
        UserError: pictures whose truth nobody knows.
    """
    pictures = bench.pictures(split)
    if not hasattr(pictures, "captions"):  # photographs may have ranks, but neither colours nor habitats
        raise UserError(f"The pictures of profile {bench.profile.name!r} come without their truth; use profile pocket.")
    return pictures.factors, ABOUT


def interval_kind(runs: Sequence[Any]) -> str:
    """What the interval of a mean over these trainings is of, in words; of one alone, that over the pictures."""
    return OVER_TRAININGS if len(runs) > 1 else OVER_PICTURES


def sorted_curve(values: np.ndarray, points: int = 200) -> list[float]:
    """Values in falling order at evenly spaced quantiles, for a curve that does not hold every neuron; NaN left out."""
    values = np.sort(values[~np.isnan(values)])[::-1]
    if len(values) <= points:
        return values.tolist()
    return values[np.linspace(0, len(values) - 1, points).round().astype(int)].tolist()
