"""Does an edit change what it should, and nothing else? Cause and isolation (RAVEL, Huang et al. 2024).

Each picture's own value of a factor is taken out of its activation, and probes answer before and after. *Cause*: the
probe no longer says that value. *Isolation*: the probes of the other factors say what they said.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from vlm_sae_lib.scores.detectors import Detected, truth_table

CAUSE, ISOLATION, BOTH = "cause", "isolation", "mean of cause and isolation"


def answers(readings: Float[np.ndarray, "n n_values"], names: pd.DataFrame) -> dict[str, Int[np.ndarray, " n"]]:
    """For each factor which of its values has the largest reading, as a row of ``names`` (`absorption.value_names`)."""
    columns = {factor: np.flatnonzero(names["factor"] == factor) for factor in names["factor"].unique()}
    return {factor: own[readings[:, own].argmax(axis=1)] for factor, own in columns.items()}


def entailed(factors: pd.DataFrame, names: pd.DataFrame) -> Bool[np.ndarray, "n_values n_values"]:
    """[u, v]: every picture that shows u shows v too, as every bird is an animal. One that none shows entails none."""
    truth = truth_table(factors, names).astype(np.float64)
    return (truth.T @ (1 - truth) == 0) & (truth.sum(axis=0) > 0)[:, None]


def cause_and_isolation(
    before: Mapping[str, Int[np.ndarray, " n"]],
    after: Mapping[str, Mapping[str, Int[np.ndarray, " n"]]],
    truth: Bool[np.ndarray, "n n_values"],
    names: pd.DataFrame,
    entails: Bool[np.ndarray, "n_values n_values"],
    *,
    resamples: int = 1,
    seed: int = 0,
) -> Detected:
    """Cause, isolation and their mean for each value, over the pictures of which the probe said it, and rightly.

    A value that entails the one taken out must go with it: no bird stays where no animal is. So another factor counts
    for isolation on those pictures only whose value of it does not entail the edited one.

    Args:
        before: each factor's answers, as of `answers`.
        after: by the factor whose value was taken out, all factors' answers.
        truth: of the pictures, for each row of ``names``.
        entails: as of `entailed`, by other pictures.
        resamples: draws of the pictures.

    Returns:
        NaN for a value of no such picture; isolation is NaN, too, where nothing else counts.
    """
    n = len(truth)
    rng = np.random.default_rng(seed)
    counts = np.concatenate([np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), size=resamples)])
    found: dict[str, list[np.ndarray]] = {CAUSE: [], ISOLATION: []}
    for factor in names["factor"].unique():
        own = np.flatnonzero(names["factor"] == factor)
        value = own[truth[:, own].argmax(axis=1)]
        right = truth[:, own].any(axis=1) & (before[factor] == value)
        shown = (value[:, None] == own) & right[:, None]
        gone = after[factor][factor] != value
        same, others = np.zeros(n), np.zeros(n)
        for other in before:
            its = np.flatnonzero(names["factor"] == other)
            counted = (other != factor) & ~entails[its[truth[:, its].argmax(axis=1)], value]
            same += counted & (after[factor][other] == before[other])
            others += counted
        found[CAUSE].append(_ratio(counts, shown * gone[:, None], shown))
        found[ISOLATION].append(_ratio(counts, shown * same[:, None], shown * others[:, None]))
    values = {what: np.concatenate(parts, axis=1) for what, parts in found.items()}
    values[BOTH] = (values[CAUSE] + values[ISOLATION]) / 2
    order = np.argsort(np.concatenate([np.flatnonzero(names["factor"] == f) for f in names["factor"].unique()]))
    values = {what: rows[:, order] for what, rows in values.items()}
    return Detected(names, {w: rows[0] for w, rows in values.items()}, {w: rows[1:] for w, rows in values.items()})


def _ratio(counts: np.ndarray, part: np.ndarray, whole: np.ndarray) -> Float[np.ndarray, "draws values"]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return (counts @ part.astype(np.float64)) / (counts @ whole.astype(np.float64))
