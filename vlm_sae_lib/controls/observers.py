"""Observers that know the truth, in place of people: how much do a neuron's top pictures have in common?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.stats import binom

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.scores.truth import one_hot, top_image_precision
from vlm_sae_lib.statistics.inputs import top_image_table


def factor_agreement(
    top_images: Int[np.ndarray, "n_neurons k"], factors: pd.DataFrame, columns: Sequence[str]
) -> Float[np.ndarray, " n_neurons"]:
    """Mean share of factors in which two of a neuron's top images agree, over all pairs of them.

    Args:
        top_images: row numbers of ``factors``; -1 where there is none.
        columns: the categorical factors that count, each alike.

    Returns:
        NaN where a neuron has fewer than two top images.
    """
    top = _checked(top_images, factors)
    there = top >= 0
    number = there.sum(axis=1)
    pairs = number * (number - 1) / 2
    agreeing = np.zeros(len(top))
    for column in columns:
        truth, _ = one_hot(factors, column)
        counts = (truth[np.maximum(top, 0)] & there[:, :, None]).sum(axis=1)
        agreeing += (counts * (counts - 1) / 2).sum(axis=1)
    return np.where(pairs > 0, agreeing / np.maximum(pairs, 1) / len(columns), np.nan)


def most_shared(
    top_images: Int[np.ndarray, "n_neurons k"], factors: pd.DataFrame, columns: Sequence[str]
) -> Float[np.ndarray, " n_neurons"]:
    """How much more often than in all pictures the best value of any factor comes in a neuron's top images.

    (share in the top images − share in all pictures) / (1 − share in all pictures), for each factor's most frequent
    value, the largest over the factors: 1 where all share a value, 0 where none is more frequent than by chance.
    """
    found = top_image_precision(_checked(top_images, factors), factors, columns)
    rest = 1 - found["base_rate"]
    beyond = ((found["precision"] - found["base_rate"]) / rest).where(rest > 0, 0.0)
    beyond = beyond.where(found["precision"].notna())
    return beyond.groupby(found["neuron"]).max().to_numpy(dtype=np.float64)


def surprise(
    top_images: Int[np.ndarray, "n_neurons k"], factors: pd.DataFrame, columns: Sequence[str]
) -> Float[np.ndarray, " n_neurons"]:
    """How unlikely it is that so many of a neuron's top images share a value by chance: the largest −log10 p.

    p is the binomial chance (`scipy.stats.binom`) that of k images drawn blindly as many or more have the value. Many
    values are tried, so that it orders neurons and is no test.
    """
    top = _checked(top_images, factors)
    there = top >= 0
    best = np.zeros(len(top))
    for column in columns:
        truth, _ = one_hot(factors, column)
        counts = (truth[np.maximum(top, 0)] & there[:, :, None]).sum(axis=1)
        chance = binom.logsf(counts - 1, there.sum(axis=1)[:, None], truth.mean(axis=0))
        best = np.maximum(best, -chance.min(axis=1) / np.log(10))
    return np.where(there.any(axis=1), best, np.nan)


def _checked(top_images: np.ndarray, factors: pd.DataFrame) -> np.ndarray:
    top = top_image_table(top_images)
    if top.size and top.max() >= len(factors):
        raise UserError(f"Image id {top.max()} has no factors; they cover {len(factors)} pictures.")
    return top
