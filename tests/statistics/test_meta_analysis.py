"""Effects over several places, against the formulas written out, and against places whose truth is known."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.statistics.intervals import student
from vlm_sae_lib.statistics.meta_analysis import random_effects

Y = np.array([0.12, 0.31, -0.05, 0.22, 0.18])
V = np.array([0.01, 0.0025, 0.0049, 0.0016, 0.0225])


def weighted(y, v, tau2):
    """(mean, standard error, Q) with weights 1 / (v + τ²)."""
    w = [1 / (vi + tau2) for vi in v]
    mean = sum(wi * yi for wi, yi in zip(w, y, strict=True)) / sum(w)
    return mean, 1 / math.sqrt(sum(w)), sum(wi * (yi - mean) ** 2 for wi, yi in zip(w, y, strict=True))


def paule_mandel(y, v):
    """τ² at which Q is what it is expected to be, k − 1; 0 where it is below that already."""
    def excess(tau2):
        return weighted(y, v, tau2)[2] - (len(y) - 1)

    return optimize.brentq(excess, 0, 1e6, xtol=1e-16) if excess(0) > 0 else 0.0


@pytest.mark.parametrize("spread", [1.0, 1e3, 1e-3])
def test_what_is_combined_follows_the_formulas(spread):
    y, v, k = spread * Y, V, len(Y)
    tau2 = paule_mandel(y, v)
    mean, error, _ = weighted(y, v, tau2)
    q = weighted(y, v, 0)[2]
    found = random_effects(y, v)
    assert found.value == pytest.approx(mean, rel=1e-6) and found.error == pytest.approx(error, rel=1e-5)
    assert found.tau == pytest.approx(math.sqrt(tau2), rel=1e-5, abs=1e-12)
    assert found.i2 == pytest.approx(max(0, 1 - (k - 1) / q)) and (tau2 > 0) is (spread >= 1)
    half = stats.t.ppf(0.975, k - 1) * error
    assert found.estimate().interval == pytest.approx((mean - half, mean + half), rel=1e-4)
    wider = stats.t.ppf(0.975, k - 2) * math.sqrt(tau2 + error**2)
    assert found.prediction() == pytest.approx((mean - wider, mean + wider), rel=1e-4)
    assert found.p_value() == pytest.approx(2 * stats.t.sf(abs(mean) / error, k - 1), rel=1e-3)


def test_two_places_of_equal_variance_by_hand():
    found = random_effects([0.0, 1.0], [0.1, 0.1])
    assert found.value == 0.5 and found.tau**2 == pytest.approx(0.5 - 0.1)  # the variance of the means minus v
    assert found.error == pytest.approx(math.sqrt((0.1 + 0.4) / 2)) and math.isnan(found.prediction().low)
    assert found.estimate().interval.high == pytest.approx(0.5 + stats.t.ppf(0.975, 1) * 0.5)


def test_places_that_agree_better_than_their_units_allow_are_not_taken_to_be_sure():
    """Hartung and Knapp's factor would make this interval one of no width."""
    found = random_effects([0.2, 0.2, 0.2], [0.01, 0.01, 0.01])
    assert found.error == pytest.approx(0.1 / math.sqrt(3)) and found.tau == found.i2 == 0


def test_where_no_place_has_a_variance_it_is_students_t_over_the_places():
    found = random_effects(Y, np.zeros(5))
    assert found.value == pytest.approx(Y.mean())
    assert found.estimate().interval == pytest.approx(student(Y).interval)
    assert found.i2 == 1 and found.tau == pytest.approx(Y.std(ddof=1))
    same = random_effects([0.3, 0.3], [0, 0])
    assert same.estimate() == (0.3, (0.3, 0.3)) and same.i2 == 0 and same.p_value() == 0
    assert random_effects([0.0, 0.0], [0, 0]).p_value() == 1


def test_a_place_without_a_variance_is_no_surer_than_the_surest_of_the_others():
    assert random_effects(Y, [*V[:4], 0.0]) == random_effects(Y, [*V[:4], V[:4].min()])


@pytest.mark.parametrize(
    ("means", "variances"),
    [
        ([0.1], [0.1]), ([], []), ([0.1, math.nan], [1, 1]), ([0.1, 0.2], [1, math.nan]), ([0, 1], [1, -1]),
        ([0, 1], [1]),
    ],
)
def test_what_cannot_be_combined_is_refused(means, variances):
    with pytest.raises(UserError):
        random_effects(np.array(means), np.array(variances))


@pytest.mark.parametrize(("tau", "least"), [(0.0, 0.93), (0.03, 0.86), (0.3, 0.93)])
def test_the_interval_holds_the_truth_as_often_as_it_says(tau, least):
    """Five places of ten trainings each, their variances estimated; a sixth place lies where it was predicted.

    The prediction is known to be too sure where the places differ as much as their own errors.
    """
    rng, truth, draws = np.random.default_rng(7), 0.2, 1000
    covered = predicted = 0
    for _ in range(draws):
        there = truth + tau * rng.standard_normal(6)
        units = there[:5, None] + rng.uniform(0.02, 0.2, (5, 1)) * rng.standard_normal((5, 10))
        found = random_effects(units.mean(1), units.var(1, ddof=1) / 10)
        covered += found.estimate().interval.low <= truth <= found.estimate().interval.high
        predicted += found.prediction().low <= there[5] <= found.prediction().high
    assert covered / draws > 0.93 and predicted / draws > least
    if tau == 0.3:  # where places differ, it is no wider than it need be
        assert covered / draws < 0.97
