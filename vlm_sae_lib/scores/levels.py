"""Does depth in the taxonomy follow the Matryoshka level, or only how rarely a latent fires?

The paper prints one mean per level (v3 Tab. A8). Here are its controls: the depth expected of random pictures, latents
sorted by frequency, partners of equal frequency, levels dealt out at random, and labels dealt to other pictures.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.scores.hierarchy import Reduce, neuron_depths
from vlm_sae_lib.statistics.intervals import LEVEL, UNDEFINED, Estimate, Interval, percentiles, student
from vlm_sae_lib.taxonomy import as_path


def expected_depth(folders: Sequence[str | None]) -> float:
    """Mean LCA depth of two different pictures drawn at random: what a latent without meaning would have."""
    paths = [as_path(folder) for folder in folders if folder is not None]
    n = len(paths)
    if n < 2:
        return float("nan")
    shared = Counter(path[: rank + 1] for path in paths for rank in range(len(path)))
    return sum(count * (count - 1) for count in shared.values()) / (n * (n - 1))


def levels_of(group_sizes: Sequence[int]) -> Int[np.ndarray, " n_neurons"]:
    """The level of each neuron, 0 for the outermost."""
    return np.repeat(np.arange(len(group_sizes)), group_sizes)


def frequency_levels(rates: Any, group_sizes: Sequence[int]) -> Int[np.ndarray, " n_neurons"]:
    """Levels by firing rate alone: the most frequent neurons form level 0, and so on, in groups of the same sizes.

    Ties go to the smaller neuron.

    Raises:
        UserError: the groups hold another number of neurons.
    """
    rates = np.asarray(rates)
    if sum(group_sizes) != len(rates):
        raise UserError(f"The groups hold {sum(group_sizes)} neurons, but there are rates of {len(rates)}.")
    levels = np.empty(len(rates), dtype=np.int64)
    levels[np.argsort(-rates, kind="stable")] = levels_of(group_sizes)
    return levels


def frequency_partners(depths: Any, rates: Any, other_depths: Any, other_rates: Any) -> Int[np.ndarray, " n_neurons"]:
    """For each neuron the other dictionary's neuron that fires most nearly as often, by log rate, ties to the smaller.

    -1 where the neuron has no depth; only others with a depth can be partners, and one may serve several: where the
    other dictionary has few neurons of such a rate, the match is poor, and the partners are few.
    """
    depths, other_depths = np.asarray(depths, dtype=np.float64), np.asarray(other_depths, dtype=np.float64)
    others = np.flatnonzero(~np.isnan(other_depths))
    if len(others) == 0:
        return np.full(len(depths), -1)
    theirs = np.log(np.maximum(np.asarray(other_rates, dtype=np.float64)[others], 1e-12))
    ours = np.log(np.maximum(np.asarray(rates, dtype=np.float64), 1e-12))
    nearest = others[np.abs(ours[:, None] - theirs).argmin(axis=1)]
    return np.where(np.isnan(depths), -1, nearest)


def level_means(values: Any, levels: Any, n_levels: int) -> list[Estimate]:
    """Mean of each level's values, with Student's t over its neurons, as a level may hold two; NaN is left out."""
    values, levels = np.asarray(values, dtype=np.float64), np.asarray(levels)
    return [student(values[levels == level]) for level in range(n_levels)]


def slope(values: Any, levels: Any) -> float:
    """Least-squares slope of a neuron's value on its level, in value per level; NaN in only one level."""
    values, levels = _defined(values, levels)
    centred = levels - levels.mean() if len(levels) else levels
    spread = centred @ centred
    return float(centred @ values / spread) if spread > 0 else float("nan")


def trend(values: Any, levels: Any) -> Estimate:
    """`slope`, with Welch's interval over neurons: the slope is a sum of the levels' means, each of a variance of its
    own, which in a level of two or three neurons is known badly, and Satterthwaite's degrees of freedom say so."""
    return Estimate(value := slope(values, levels), _welch(value, _parts(values, levels)))


def trend_difference(values: Any, levels: Any, other: Any, other_levels: Any) -> Estimate:
    """How much steeper one dictionary's `slope` is than another's, with Welch's interval; the two vary apart."""
    value = slope(values, levels) - slope(other, other_levels)
    return Estimate(value, _welch(value, _parts(values, levels) + _parts(other, other_levels)))


def trend_over_seeds(runs: Sequence[tuple[Any, Any]], *, minus: Sequence[tuple[Any, Any]] = ()) -> Estimate:
    """Mean `slope` over trainings, with Student's t over them; of one training, as `trend` has it.

    Args:
        runs: (values, levels) of each seed's dictionary.
        minus: another kind's of the same seeds, whose slopes are taken off.
    """
    if len(runs) == 1 and len(minus) < 2:
        return trend_difference(*runs[0], *minus[0]) if minus else trend(*runs[0])
    return student(slopes(runs, minus=minus))


def slopes(runs: Sequence[tuple[Any, Any]], *, minus: Sequence[tuple[Any, Any]] = ()) -> Float[np.ndarray, " n_seeds"]:
    """`slope` of each training, less that of the other kind's training of the same seed.

    Raises:
        ValueError: kinds of different numbers of seeds.
    """
    others = [slope(*run) for run in minus] if minus else [0.0] * len(runs)
    return np.array([slope(*run) - other for run, other in zip(runs, others, strict=True)])


def dealt_levels(
    values: Any, levels: Any, n_levels: int, draws: int = 1000, seed: int = 0
) -> tuple[Float[np.ndarray, "draws n_levels"], Float[np.ndarray, " draws"]]:
    """Level means and slopes when the neurons are dealt to levels at random, the sizes kept."""
    values, levels = _defined(values, levels)
    rng = np.random.default_rng(seed)
    means, slopes = np.full((draws, n_levels), np.nan), np.full(draws, np.nan)
    for draw in range(draws):
        dealt = rng.permutation(values)
        means[draw], slopes[draw] = _means(dealt, levels, n_levels), slope(dealt, levels)
    return means, slopes


def shuffled_labels(
    top_images: Int[np.ndarray, "n_neurons k"], folders: Sequence[str | None], levels: Any, n_levels: int,
    *, draws: int = 20, seed: int = 0, reduce: Reduce = "mean",
) -> tuple[Float[np.ndarray, "draws n_levels"], Float[np.ndarray, " draws"]]:  # fmt: skip
    """Level means and slopes when the folder names are dealt to other pictures: what is left without any meaning."""
    top = np.asarray(top_images)
    full, levels = (top >= 0).all(axis=1), np.asarray(levels)
    rng = np.random.default_rng(seed)
    means, slopes = np.full((draws, n_levels), np.nan), np.full(draws, np.nan)
    for draw in range(draws):
        dealt = [folders[i] for i in rng.permutation(len(folders))]
        depths = np.where(full, neuron_depths(top, dealt, reduce=reduce), np.nan)
        means[draw], slopes[draw] = _means(depths, levels, n_levels), slope(depths, levels)
    return means, slopes


def middle(draws: Float[np.ndarray, "draws n"]) -> list[Estimate]:
    """Mean and middle 95 % of the draws of each column."""
    return [Estimate(float(np.nanmean(c)) if (~np.isnan(c)).any() else float("nan"), percentiles(c)) for c in draws.T]


def span(draws: Float[np.ndarray, "draws n"]) -> list[Interval]:
    """Smallest and largest of each column."""
    return [Interval(float(np.nanmin(c)), float(np.nanmax(c))) for c in draws.T]


def _defined(values: Any, levels: Any) -> tuple[np.ndarray, np.ndarray]:
    values, levels = np.asarray(values, dtype=np.float64), np.asarray(levels)
    if values.shape != levels.shape:
        raise UserError(f"There are {values.shape} values but levels of shape {levels.shape}; give one for each.")
    there = ~np.isnan(values)
    return values[there], levels[there]


def _means(values: np.ndarray, levels: np.ndarray, n_levels: int) -> np.ndarray:
    there = ~np.isnan(values)
    number = np.bincount(levels[there], minlength=n_levels)
    total = np.bincount(levels[there], values[there], minlength=n_levels)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _parts(values: Any, levels: Any) -> list[tuple[float, int]]:
    """What each level adds to the variance of the slope, with its degrees of freedom.

    A level of one neuron is given the variance that the others have within.
    """
    values, levels = _defined(values, levels)
    groups = [(level, values[levels == level]) for level in np.unique(levels)]
    within = [(group.var(ddof=1), len(group) - 1) for _, group in groups if len(group) > 1]
    freedom = sum(degrees for _, degrees in within)
    spread = float(((levels - levels.mean()) ** 2).sum()) if len(levels) else 0.0
    if not within or not spread:
        return []
    pooled = sum(variance * degrees for variance, degrees in within) / freedom
    parts = []
    for level, group in groups:
        weight = len(group) * (level - levels.mean()) / spread  # of the level's mean in the slope
        variance = group.var(ddof=1) if len(group) > 1 else pooled
        parts.append((float(weight**2 * variance / len(group)), len(group) - 1 or freedom))
    return parts


def _welch(value: float, parts: list[tuple[float, int]]) -> Interval:
    variance = sum(part for part, _ in parts)
    if not parts or np.isnan(value):
        return Interval(*UNDEFINED)
    if variance == 0:
        return Interval(value, value)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(variance))
    return Interval(value - half, value + half)
