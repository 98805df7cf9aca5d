"""95 % intervals. What is resampled, and from which library the method comes, stands with each."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from vlm_sae_lib.arrays import real_array
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.overrides import Count, Seed, held

LEVEL = 0.95
RESAMPLES = 2000
OVER_TRAININGS = "Student's t over the trainings"
"""The interval of `student` where the unit is a training, in words."""
UNDEFINED = (float("nan"), float("nan"))


class Interval(NamedTuple):
    low: float
    high: float


class Estimate(NamedTuple):
    value: float
    interval: Interval


def wilson(successes: int, n: int) -> Interval:
    """Wilson's score interval of a proportion (`scipy.stats.binomtest`); undefined for n = 0."""
    if not (0 <= successes <= n < np.inf and successes == int(successes) and n == int(n)):
        raise UserError(f"{successes} successes of {n} trials: give whole numbers between 0 and that of the trials.")
    if n == 0:
        return Interval(*UNDEFINED)
    interval = stats.binomtest(int(successes), int(n)).proportion_ci(LEVEL, method="wilson")
    return Interval(float(interval.low), float(interval.high))


def percentiles(replicates: Float[np.ndarray, " n_resamples"], n: int | None = None) -> Interval:
    """The middle 95 % of bootstrap replicates, such as those of `ms_bootstrap`; NaN replicates are left out.

    The k-th smallest of R lies at k / (R + 1) (Davison and Hinkley 1997, section 5.2.1): where the truth is as likely
    between any two of them, it lies between these ends 95 times in a hundred, however few they are (from 39 on). At
    (k - 1) / (R - 1), where one usually reads a quantile, the ends of 200 would hold it 94 times, those of 50 91 times.

    Args:
        n: of how many values they were drawn. Draws of few vary less than samples do, so that the middle 95 % of draws
            of 24 hold the truth 93 times in a hundred; with ``n`` it is widened as Student's t is (the expanded
            percentile interval of Hesterberg 2015). Without, the values are taken to be many.
    """
    values = np.sort(_defined(replicates))
    if len(values) < 2:
        return Interval(*UNDEFINED)
    ends = np.array([_tail(n), 1 - _tail(n)])
    if np.isfinite(values).all():
        low, high = np.quantile(values, ends, method="weibull")
    else:  # infinite ends: by order, without interpolation
        below = max(1, int((len(values) + 1) * ends[0] + 1e-9))
        low, high = values[below - 1], values[-below]
    return Interval(float(low), float(high))


def _tail(n: int | None) -> float:
    if n is None or n < 2:
        return (1 - LEVEL) / 2
    return float(stats.norm.cdf(-np.sqrt(n / (n - 1)) * stats.t.ppf((1 + LEVEL) / 2, n - 1)))


def bootstrap_mean(values: Any, *, seed: int = 0, n_resamples: int = RESAMPLES) -> Estimate:
    """Mean, with the bootstrap over ``values``, `percentiles` widened for their number; NaN is left out.

    From two dozen values on; of fewer, or where a few large ones among two dozen make the mean, it is too narrow.
    """
    sample = _defined(values)
    return _bootstrap((sample,), _mean, seed=seed, n_resamples=n_resamples)


def bootstrap_difference(
    a: Any, b: Any, *, paired: bool = False, seed: int = 0, n_resamples: int = RESAMPLES
) -> Estimate:
    """mean(a) - mean(b); ``paired`` draws the same places of both, and drops a pair with a NaN in it."""
    samples = _two(a, b, paired)
    return _bootstrap(
        samples, lambda x, y, axis: _mean(x, axis) - _mean(y, axis), paired=paired, seed=seed, n_resamples=n_resamples
    )


def bootstrap_ratio(a: Any, b: Any, *, paired: bool = False, seed: int = 0, n_resamples: int = RESAMPLES) -> Estimate:
    """mean(a) / mean(b), as `bootstrap_difference`. Infinite where b's mean is zero, and so then the upper end."""
    samples = _two(a, b, paired)

    def ratio(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return _mean(x, axis) / _mean(y, axis)

    return _bootstrap(samples, ratio, paired=paired, seed=seed, n_resamples=n_resamples)


def spearman(a: Any, b: Any, *, seed: int = 0, n_resamples: int = RESAMPLES) -> Estimate:
    """Spearman's rank correlation, with the bootstrap over pairs. A pair with a NaN in it is left out.

    NaN where one side is constant. Draws of few pairs, some of them tied, vary as much as samples do: not widened.
    """
    both = _two(a, b, paired=True)
    return _bootstrap(both, _rank_correlation, paired=True, widened=False, seed=seed, n_resamples=n_resamples)


def spearman_draws(
    a: Any, b: Any, *, seed: int = 0, n_resamples: int = 500
) -> tuple[float, Float[np.ndarray, " n_resamples"]]:
    """Spearman's rank correlation and its bootstrap draws over pairs, for a mean over trainings (`over_trainings`)."""
    a, b = _two(a, b, paired=True)
    n_resamples, seed = held("n_resamples", n_resamples, Count), held("seed", seed, Seed)
    if len(a) < 2:
        return float("nan"), np.full(n_resamples, np.nan)
    drawn = np.random.default_rng(seed).integers(len(a), size=(n_resamples, len(a)))
    return float(_rank_correlation(a, b, axis=-1)), _rank_correlation(a[drawn], b[drawn], axis=-1)


def _rank_correlation(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    x, y = (stats.rankdata(side, axis=axis) for side in (x, y))
    x, y = x - x.mean(axis=axis, keepdims=True), y - y.mean(axis=axis, keepdims=True)
    with np.errstate(invalid="ignore"):
        return (x * y).sum(axis=axis) / np.sqrt((x * x).sum(axis=axis) * (y * y).sum(axis=axis))


def student(values: Any, *, level: float = LEVEL) -> Estimate:
    """Mean, with Student's t over ``values``: one for each unit that varies, be it a training, a latent or a picture.

    NaN is left out. Fewer than two values have no interval.
    """
    sample = _defined(values)
    if len(sample) < 2:
        return Estimate(float(sample[0]) if len(sample) else float("nan"), Interval(*UNDEFINED))
    half = stats.t.ppf((1 + level) / 2, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample))
    value = float(sample.mean())
    return Estimate(value, Interval(value - float(half), value + float(half)))


def of_trainings(values_by_training: Sequence[Any]) -> Estimate:
    """Mean over trainings of the mean of each one's values (say, MS per neuron), with Student's t over the trainings.

    The values of one trained model are no independent repeats of the experiment; trainings are. Of one training alone
    the values are resampled, and the interval says nothing about retraining. One without values is left out.
    """
    groups = [group for group in map(_defined, values_by_training) if len(group)]
    return bootstrap_mean(groups[0]) if len(groups) == 1 else student([group.mean() for group in groups])


def _mean(x: np.ndarray, axis: int) -> np.ndarray:
    return np.mean(x, axis=axis)


def _bootstrap(
    samples: tuple[np.ndarray, ...], statistic: Callable, *,
    seed: int, n_resamples: int, paired: bool = False, widened: bool = True,
) -> Estimate:  # fmt: skip
    n_resamples, seed = held("n_resamples", n_resamples, Count), held("seed", seed, Seed)
    if min(map(len, samples)) == 0:
        return Estimate(float("nan"), Interval(*UNDEFINED))
    value = float(statistic(*samples, axis=-1))
    if min(map(len, samples)) < 2:
        return Estimate(value, Interval(*UNDEFINED))
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        # scipy gives up on its own interval as soon as one replicate is infinite or NaN, which rare draws make of a
        # ratio or a correlation; ours is taken from the replicates
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        result = stats.bootstrap(
            samples,
            statistic,
            paired=paired,
            vectorized=True,
            n_resamples=n_resamples,
            batch=max(1, 2**20 // max(map(len, samples))),
            confidence_level=LEVEL,
            method="percentile",
            random_state=np.random.default_rng(seed),
        )
    return Estimate(value, percentiles(result.bootstrap_distribution, min(map(len, samples)) if widened else None))


def _defined(values: Any) -> Float[np.ndarray, " n"]:
    sample = _values(values)
    return sample[~np.isnan(sample)]


def _values(values: Any) -> Float[np.ndarray, " n"]:
    return real_array(values, "The values", gaps=True).astype(np.float64).ravel()


def _two(a: Any, b: Any, paired: bool) -> tuple[np.ndarray, np.ndarray]:
    if not paired:
        return _defined(a), _defined(b)
    a, b = _values(a), _values(b)
    if len(a) != len(b):
        raise UserError(f"Pairs need two lists of one length, not {len(a)} and {len(b)} values.")
    both = ~(np.isnan(a) | np.isnan(b))
    return a[both], b[both]
