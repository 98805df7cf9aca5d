"""The mean over pairs of trainings: the same value as leaving each out by hand, and how often its interval is right."""

import numpy as np
import oracles
import pytest

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.statistics.intervals import student
from vlm_sae_lib.statistics.jackknife import pseudo_values


@pytest.mark.parametrize("n", [3, 4, 10])
def test_pseudo_values_by_leaving_out(n):
    table = np.random.default_rng(n).normal(size=(n, n))
    whole, each = oracles.over_pairs(table.tolist())
    found = pseudo_values(table)
    assert found == pytest.approx(each) and found.mean() == pytest.approx(whole)


def test_the_diagonal_does_not_count_and_two_trainings_are_too_few():
    table = np.random.default_rng(0).normal(size=(5, 5))
    assert pseudo_values(table + 100 * np.eye(5)) == pytest.approx(pseudo_values(table))
    with pytest.raises(UserError, match="at least three of them, not 2"):
        pseudo_values(np.ones((2, 2)))


def test_an_undefined_pair_leaves_the_mean_undefined():
    table = np.ones((4, 4))
    table[0, 1] = np.nan
    assert np.isnan(student(pseudo_values(table)).value)


def coverage(of_training, of_pair, n, repetitions=1500):
    """How often the interval holds 0, where a pair's value is a part of each training and a part of its own."""
    held = 0
    for seed in range(repetitions):
        rng = np.random.default_rng((3, n, seed))
        parts, own = of_training * rng.normal(size=n), of_pair * rng.normal(size=(n, n))
        low, high = student(pseudo_values(parts[:, None] + parts + (own + own.T) / 2)).interval
        held += low <= 0 <= high
    return held / repetitions


@pytest.mark.parametrize("n", [5, 10])
def test_how_often_the_interval_holds_the_truth(n):
    """Right where trainings differ, too wide where only pairs do; t over all pairs as if they were independent would
    hold it in six of ten."""
    assert 0.93 <= coverage(1, 0, n) <= 0.97
    assert 0.93 <= coverage(1, 0.3, n) <= 0.98
    assert coverage(0, 1, n) >= 0.97


def test_pairs_as_if_they_were_independent_hold_it_too_seldom():
    held = 0
    for seed in range(500):
        parts = np.random.default_rng(seed).normal(size=10)
        low, high = student((parts[:, None] + parts)[np.triu_indices(10, 1)]).interval
        held += low <= 0 <= high
    assert held / 500 < 0.7
