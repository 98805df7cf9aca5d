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


def shares_by_bin(
    aligned: Bool[np.ndarray, " n"], bins: Int[np.ndarray, " n"], at_least: int = 1
) -> dict[int, float]:
    """Alignment by number of the bin, as of `by_bin` without its intervals; bins of fewer pairs are left out."""
    numbers, sizes = np.unique(bins[bins >= 0], return_counts=True)
    return {int(number): float(aligned[bins == number].mean()) for number in numbers[sizes >= at_least]}


def uniform_share(aligned: Bool[np.ndarray, " n"], bins: Int[np.ndarray, " n"], at_least: int = AT_LEAST) -> float:
    """`uniform_alignment` straight from the pairs; NaN where no bin has enough of them."""
    shares = shares_by_bin(aligned, bins, at_least)
    return float(np.mean(list(shares.values()))) if shares else float("nan")


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
