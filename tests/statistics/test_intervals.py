"""Intervals: known values, coverage, and what is undefined."""

import math
import warnings

import numpy as np
import pytest
from scipy import stats

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.statistics.intervals import (
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    of_trainings,
    percentiles,
    spearman,
    student,
    wilson,
)

RNG = np.random.default_rng


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_wilson_is_the_formula():
    successes, n = 7, 24
    z = stats.norm.ppf(0.975)
    p = successes / n
    centre, half = p + z * z / 2 / n, z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    low, high = wilson(successes, n)
    assert low == pytest.approx((centre - half) / (1 + z * z / n)) and high == pytest.approx(
        (centre + half) / (1 + z * z / n)
    )
    assert wilson(0, 10).low == 0 and wilson(10, 10).high == 1 and 0.2 < wilson(0, 10).high < 0.4
    assert all(math.isnan(end) for end in wilson(0, 0))
    for wrong in ((3, 2), (-1, 2)):
        with pytest.raises(UserError, match="between 0 and"):
            wilson(*wrong)


def test_bootstrap_mean_has_the_width_of_the_standard_error_and_skips_nan():
    values = RNG(0).normal(3, 2, size=400)
    value, (low, high) = bootstrap_mean([*values, math.nan], seed=1)
    half = 1.96 * values.std() / 20
    assert value == pytest.approx(values.mean())
    assert value - low == pytest.approx(half, rel=0.15) and high - value == pytest.approx(half, rel=0.15)
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1)
    assert bootstrap_mean(values, seed=1).interval != bootstrap_mean(values, seed=2).interval


def test_few_values_widen_the_middle_of_their_draws_as_students_t_does():
    draws = RNG(3).normal(size=200_000)
    plain, few, many = percentiles(draws), percentiles(draws, 10), percentiles(draws, 10**6)
    assert few.high == pytest.approx(stats.t.ppf(0.975, 9) * math.sqrt(10 / 9), rel=0.02)
    assert many == pytest.approx(plain, abs=1e-3) and few.low < plain.low < plain.high < few.high
    assert percentiles(draws, 1) == plain


@pytest.mark.parametrize("number", [39, 50, 199, 200, 1000])
def test_the_middle_of_however_many_draws_holds_another_draw_95_times_in_a_hundred(number):
    """Where the truth is one more of such draws; of 39 the ends are then the first and the last."""
    repetitions = 4000
    drawn = RNG(number).normal(size=(repetitions, number + 1))
    ends = np.array([percentiles(row[1:]) for row in drawn])
    held = ((ends[:, 0] <= drawn[:, 0]) & (drawn[:, 0] <= ends[:, 1])).mean()
    assert held == pytest.approx(0.95, abs=2 * math.sqrt(0.95 * 0.05 / repetitions))


def test_the_ends_of_few_draws_are_draws_and_of_one_that_is_infinite_no_mixture():
    for number in (39, 9):
        assert percentiles(np.arange(1.0, number + 1)) == pytest.approx((1, number))
    assert percentiles(np.arange(1.0, 200)) == pytest.approx((5, 195))
    assert percentiles([*np.arange(1.0, 39), math.inf]) == (1, math.inf)
    assert percentiles([*np.arange(1.0, 199), math.inf]) == (5, 195)
    assert percentiles([-math.inf, *np.arange(2.0, 200)]) == (5, 195)


def test_differences_and_ratios_paired_and_not():
    base = RNG(0).normal(10, 3, size=200)
    a, b = base + RNG(1).normal(1, 0.1, size=200), base
    paired, loose = bootstrap_difference(a, b, paired=True), bootstrap_difference(a, b)
    assert paired.value == loose.value == pytest.approx((a - b).mean())
    widths = [estimate.interval.high - estimate.interval.low for estimate in (paired, loose)]
    assert widths[0] < 0.1 < 0.5 < widths[1]
    ratio = bootstrap_ratio(a, b, paired=True)
    assert ratio.value == pytest.approx(a.mean() / b.mean()) and ratio.interval.low < ratio.value < ratio.interval.high
    assert bootstrap_ratio(a[:50], b).value == pytest.approx(a[:50].mean() / b.mean())
    with pytest.raises(UserError, match="one length"):
        bootstrap_difference(a[:3], b, paired=True)


def test_a_ratio_to_almost_nothing_is_open_above():
    control = np.zeros(40)
    control[0] = 1
    value, (low, high) = bootstrap_ratio(np.ones(40), control)
    assert value == 40 and 0 < low < 40 and high == math.inf
    assert bootstrap_ratio(np.ones(4), np.zeros(4)).value == math.inf


def test_spearman_is_scipys_and_its_interval_holds_it():
    a = RNG(0).normal(size=150)
    b = a + RNG(1).normal(size=150)
    b[3] = math.nan
    value, (low, high) = spearman(a, b)
    kept = ~np.isnan(b)
    assert value == pytest.approx(stats.spearmanr(a[kept], b[kept]).statistic) and low < value < high < 1
    assert spearman(a, np.exp(a)).value == pytest.approx(1)
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]).value)
    tied = spearman([1, 1, 2, 2], [1, 2, 2, 2])
    assert tied.value == pytest.approx(stats.spearmanr([1, 1, 2, 2], [1, 2, 2, 2]).statistic)
    assert -1 <= tied.interval.low <= tied.interval.high <= 1


def test_trainings_are_the_unit_and_one_alone_has_only_its_values():
    rng = RNG(0)
    trainings = [rng.normal(centre, 0.1, size=500) for centre in (0.0, 1.0, 2.0)]
    found = of_trainings(trainings)
    means = [training.mean() for training in trainings]
    expected = stats.t.interval(0.95, 2, loc=np.mean(means), scale=stats.sem(means))
    assert found.value == pytest.approx(np.mean(means)) and found.interval == pytest.approx(expected)
    pooled = bootstrap_mean(np.concatenate(trainings)).interval
    assert found.interval.high - found.interval.low > 20 * (pooled.high - pooled.low)
    assert of_trainings(trainings[:1]) == bootstrap_mean(trainings[0])
    assert of_trainings([[math.nan], *trainings, []]) == found


def test_students_interval_is_scipys_at_any_level_and_leaves_nan_out():
    values = RNG(2).normal(3, 2, size=10)
    for level in (0.95, 0.99):
        expected = stats.t.interval(level, 9, loc=values.mean(), scale=stats.sem(values))
        assert student([*values, math.nan], level=level).interval == pytest.approx(expected)
    assert student([4.0]).value == 4 and all(math.isnan(end) for end in student([4.0]).interval)
    assert student([2.0, 2.0]).interval == (2, 2)


@pytest.mark.parametrize("values", [[], [math.nan]])
def test_nothing_gives_nothing(values):
    for estimate in (bootstrap_mean(values), bootstrap_difference(values, [1, 2]), spearman(values, values)):
        assert math.isnan(estimate.value) and all(math.isnan(end) for end in estimate.interval)
    assert math.isnan(of_trainings([values]).value) and math.isnan(of_trainings([]).value)
    assert all(math.isnan(end) for end in percentiles(values))


def test_one_value_has_a_mean_but_no_interval_and_equal_values_a_narrow_one():
    value, interval = bootstrap_mean([2.5])
    assert value == 2.5 and all(math.isnan(end) for end in interval)
    assert bootstrap_mean([2.5, 2.5, 2.5]) == (2.5, (2.5, 2.5))
