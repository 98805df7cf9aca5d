"""Does a score prefer the neuron that an observer prefers (paper v3 §4.2.1, Fig. 4, Tab. A1)? By bins of difference."""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.statistics.intervals import wilson

WIDTH = 0.1
AT_LEAST = 10
"""Pairs below which a bin does not enter the mean over bins."""


def prefers_first(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Whether each pair's first neuron has the larger value; a tie goes to the second, as in the paper."""
    return np.asarray(x) > np.asarray(y)


def bin_of(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Number of the bin, ``WIDTH`` wide, of the absolute difference of two scores; -1 where one is NaN."""
    difference = np.abs(np.asarray(x, dtype=np.float64) - np.asarray(y, dtype=np.float64))
    known = ~np.isnan(difference)
    return np.where(known, np.floor(np.where(known, difference, 0) / WIDTH + 1e-9), -1).astype(int)


def by_bin(aligned: Bool[np.ndarray, " n"], bins: Int[np.ndarray, " n"]) -> pd.DataFrame:
    """Per bin that holds a pair: ``bin_low, bin_high, pairs, aligned, alignment, low, high``.

    The interval is Wilson's and takes pairs for independent, though a neuron can be in several.
    """
    rows = []
    for number in np.unique(bins[bins >= 0]):
        here = aligned[bins == number]
        low, high = wilson(int(here.sum()), len(here))
        edges = (round(number * WIDTH, 6), round((number + 1) * WIDTH, 6))
        rows.append((*edges, len(here), int(here.sum()), float(here.mean()), low, high))
    return pd.DataFrame(rows, columns=["bin_low", "bin_high", "pairs", "aligned", "alignment", "low", "high"])


def uniform_alignment(table: pd.DataFrame, at_least: int = AT_LEAST) -> float:
    """Unweighted mean of the bins' alignment, the paper's headline: as if all differences were equally frequent."""
    kept = table[table["pairs"] >= at_least]
    return float(kept["alignment"].mean()) if len(kept) else float("nan")


def bin_draws(
    aligned: Bool[np.ndarray, " n"],
    bins: Int[np.ndarray, " n"],
    first: Int[np.ndarray, " n"],
    second: Int[np.ndarray, " n"],
    *,
    n_resamples: int = 500,
    seed: int = 0,
    at_least: int = 1,
) -> dict[int, tuple[float, Float[np.ndarray, " n_resamples"]]]:
    """Alignment by bin, and what other draws of the neurons would have given: NaN where no pair of the bin was drawn.

    Neurons are drawn with replacement and a pair weighs as often as both of its neurons come together, so that pairs
    with a neuron in common move together. The same seed draws the same neurons.

    Args:
        first, second: numbers of each pair's neurons.
        at_least: pairs below which a bin is left out.
    """
    numbers, sizes = np.unique(bins[bins >= 0], return_counts=True)
    numbers = numbers[sizes >= at_least]
    if len(numbers) == 0:
        return {}
    rng = np.random.default_rng(seed)
    neurons = int(max(first.max(), second.max())) + 1
    drawn = np.stack([np.bincount(rng.integers(neurons, size=neurons), minlength=neurons) for _ in range(n_resamples)])
    weights = np.concatenate([np.ones((1, len(first))), drawn[:, first] * drawn[:, second]]).astype(np.float64)
    members = (bins[:, None] == numbers).astype(np.float64)
    with np.errstate(invalid="ignore"):
        rates = (weights * aligned) @ members / (weights @ members)
    return {int(number): (float(rates[0, i]), rates[1:, i]) for i, number in enumerate(numbers)}


def uniform_draws(
    aligned: Bool[np.ndarray, " n"],
    bins: Int[np.ndarray, " n"],
    first: Int[np.ndarray, " n"],
    second: Int[np.ndarray, " n"],
    *,
    n_resamples: int = 500,
    seed: int = 0,
    at_least: int = AT_LEAST,
) -> tuple[float, Float[np.ndarray, " n_resamples"]]:
    """`uniform_alignment`, and what other draws of the neurons would have given; arguments as of `bin_draws`."""
    by_number = bin_draws(aligned, bins, first, second, n_resamples=n_resamples, seed=seed, at_least=at_least)
    if not by_number:
        return float("nan"), np.full(n_resamples, np.nan)
    rates = np.stack([np.append(value, draws) for value, draws in by_number.values()], axis=1)
    known = ~np.isnan(rates)  # a bin none of whose pairs was drawn is left out of that draw
    means = np.where(known.any(axis=1), np.nansum(rates, axis=1) / np.maximum(known.sum(axis=1), 1), np.nan)
    return float(means[0]), means[1:]


def balanced_pairs(scores: Float[np.ndarray, " n_neurons"], n: int, *, seed: int = 0) -> Int[np.ndarray, "n 2"]:
    """Pairs of different neurons drawn at random, as many from each bin of difference as it and the others hold.

    Bins with few pairs give all of them, the others share the rest equally, as the paper balanced its own roughly. The
    order within a pair is random. Neurons whose score is NaN are in none.

    Raises:
        UserError: fewer than ``n`` pairs to draw from.
    """
    known = np.flatnonzero(~np.isnan(scores))
    pairs = known[np.stack(np.triu_indices(len(known), k=1), axis=1)]
    if len(pairs) < n:
        raise UserError(f"{len(known)} neurons make {len(pairs)} pairs; draw no more than those, not {n}.")
    rng = np.random.default_rng(seed)
    pairs = pairs[rng.permutation(len(pairs))]
    bins = bin_of(scores[pairs[:, 0]], scores[pairs[:, 1]])
    place = pd.Series(bins).groupby(bins).cumcount().to_numpy()
    chosen = np.lexsort((bins, place))[:n]  # the first of every bin, then the second of every bin, …
    pairs = pairs[np.sort(chosen)]
    swapped = rng.random(len(pairs)) < 0.5
    return np.where(swapped[:, None], pairs[:, ::-1], pairs)
