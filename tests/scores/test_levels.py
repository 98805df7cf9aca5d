"""Depth per Matryoshka level, its trend and its controls."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.scores import levels
from vlm_sae_lib.statistics.intervals import student
from vlm_sae_lib.taxonomy import lca_depth

FOLDERS = [f"{i:05d}_{'A' if i % 2 else 'B'}_p{i % 4}_c{i % 4}_o{i % 8}_f{i % 8}_g{i % 8}_s{i % 8}" for i in range(40)]


def test_expected_depth_is_the_mean_over_all_pairs():
    pairs = [lca_depth(a, b) for a, b in combinations(FOLDERS, 2)]
    assert levels.expected_depth(FOLDERS) == pytest.approx(np.mean(pairs))
    assert levels.expected_depth([*FOLDERS, None]) == levels.expected_depth(FOLDERS)
    assert np.isnan(levels.expected_depth(FOLDERS[:1]))


def test_levels_by_frequency_have_the_sizes_and_the_order():
    assert levels.levels_of([1, 2, 0, 1]).tolist() == [0, 1, 1, 3]
    assert levels.frequency_levels([0.1, 0.5, 0.1, 0.9], [1, 2, 1]).tolist() == [1, 1, 2, 0]
    with pytest.raises(UserError, match="hold 3 neurons"):
        levels.frequency_levels([0.1, 0.5], [1, 2])


def test_partners_fire_most_nearly_as_often():
    partners = levels.frequency_partners([1.0, np.nan, 2.0], [0.5, 0.1, 0.011], [7.0, 6.0, np.nan], [0.4, 0.01, 0.5])
    assert partners.tolist() == [0, -1, 1]
    assert levels.frequency_partners([1.0], [0.0], [np.nan], [0.1]).tolist() == [-1]
    assert levels.frequency_partners([1.0], [0.0], [3.0, 3.0], [0.1, 0.1]).tolist() == [0]


def test_slope_is_least_squares_and_leaves_nan_out():
    rng = np.random.default_rng(0)
    level, values = rng.integers(0, 5, 50), rng.normal(size=50)
    assert levels.slope(values, level) == pytest.approx(np.polyfit(level, values, 1)[0])
    assert levels.slope([*values, np.nan], [*level, 4]) == levels.slope(values, level)
    assert np.isnan(levels.slope([1.0, 2.0], [3, 3])) and np.isnan(levels.slope([], np.empty(0, dtype=int)))
    with pytest.raises(UserError, match="one for each"):
        levels.slope([1.0], [0, 1])


def test_trend_finds_a_rise_and_none_in_noise():
    rng = np.random.default_rng(1)
    level = np.repeat(np.arange(4), 20)
    noise = rng.normal(size=80)
    rising = levels.trend(noise + level, level)
    assert rising.interval.low > 0.5 and rising.interval.low < rising.value < rising.interval.high
    flat = levels.trend(noise, level)
    assert flat.interval.low < 0 < flat.interval.high
    steeper = levels.trend_difference(noise + level, level, noise, level)
    assert steeper.value == pytest.approx(1) and steeper.interval.low > 0


def test_dealt_levels_keep_the_overall_mean_and_lose_the_rise():
    level = np.repeat(np.arange(3), [2, 3, 5])
    values = level.astype(float)
    means, slopes = levels.dealt_levels([*values, np.nan], [*level, 2], 3, draws=200, seed=2)
    np.testing.assert_allclose(means @ [2, 3, 5] / 10, values.mean())
    assert abs(slopes.mean()) < 0.2 and slopes.max() <= 1 + 1e-12
    middle = levels.middle(means)
    assert all(part.interval.low <= part.value <= part.interval.high for part in middle)
    assert all(part.low <= other.interval.low for part, other in zip(levels.span(means), middle, strict=True))


def test_shuffled_labels_bring_every_level_to_the_depth_of_random_pairs():
    species = np.array([i % 8 for i in range(40)])
    top = np.array([np.flatnonzero(species == k)[:4] for k in range(8)] + [[0, 1, 2, -1]])
    level = np.array([0] * 4 + [1] * 4 + [1])
    means, slopes = levels.shuffled_labels(top, FOLDERS, level, 2, draws=30, seed=3)
    assert means.shape == (30, 2) and np.isfinite(slopes).all()
    assert np.abs(means.mean(axis=0) - levels.expected_depth(FOLDERS)).max() < 0.5


def test_level_means_of_an_empty_level_are_undefined():
    found = levels.level_means([1.0, 3.0, np.nan], [0, 0, 1], 2)
    assert found[0].value == 2 and np.isnan(found[1].value)


def test_a_slope_has_welchs_interval_which_for_two_levels_is_that_of_two_means():
    rng = np.random.default_rng(3)
    low, high = rng.normal(0, 1, 6), rng.normal(1, 3, 15)
    found = levels.trend(np.concatenate([low, high]), np.repeat([0, 1], [6, 15]))
    expected = stats.ttest_ind(high, low, equal_var=False).confidence_interval()
    assert found.value == pytest.approx(high.mean() - low.mean()) and found.interval == pytest.approx(tuple(expected))


def test_a_level_of_one_is_given_what_the_others_vary_by_and_nothing_else_is_undefined():
    alone = levels.trend([0.0, 1.0, 3.0], [0, 1, 1])
    assert alone.value == 2 and alone.interval.low < 2 < alone.interval.high
    assert all(np.isnan(levels.trend([0.0, 1.0], [0, 1]).interval))
    assert levels.trend([1.0, 1.0, 2.0, 2.0], [0, 0, 1, 1]) == (1, (1, 1))
    assert np.isnan(levels.trend([], []).value) and all(np.isnan(levels.trend([], []).interval))


def test_trends_over_trainings_have_students_interval_paired_by_seed():
    level = np.repeat([0, 1, 2], 4)
    runs, others = ([(rise * level, level) for rise in rises] for rises in ((1.0, 1.2, 1.7), (0.5, 0.6, 0.7)))
    assert levels.trend_over_seeds(runs).interval == pytest.approx(student([1.0, 1.2, 1.7]).interval)
    assert levels.trend_over_seeds(runs, minus=others).interval == pytest.approx(student([0.5, 0.6, 1.0]).interval)
    noise = np.random.default_rng(0).normal(size=12)
    assert levels.trend_over_seeds([(noise, level)]) == levels.trend(noise, level)
    steeper = levels.trend_over_seeds([(noise, level)], minus=[(noise + level, level)])
    assert steeper == levels.trend_difference(noise, level, noise + level, level)
    with pytest.raises(ValueError):
        levels.slopes(runs, minus=others[:2])
