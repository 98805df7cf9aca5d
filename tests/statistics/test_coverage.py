"""How often each kind of interval that the book uses holds the truth, where the truth is known: 93 to 97 in a hundred.

The draws are seeded. Two thousand repetitions tell a share of .95 to within .01, four hundred to within .02; where a
repetition is dear, the quick test has the few, and one marked "long" the many.
"""

import numpy as np
import oracles
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy import stats

from vlm_sae_lib.controls.reconstruction import r2_bootstrap
from vlm_sae_lib.scores import comparison, detectors, levels, spread
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
NEW_DRAWS = 300
FEW_AND_MANY = [250, pytest.param(2000, marks=pytest.mark.long)]
SPREADS = (0, 1, 2, 5)
"""By how many times their own error trainings differ from one another."""


def coverage(interval_of, truth, repetitions):
    """Share of the repetitions whose interval holds the truth; ``interval_of`` is given a generator and a seed."""
    inside = 0
    for seed in range(repetitions):
        low, high = interval_of(RNG((7, seed)), seed)
        inside += low <= truth <= high
    return inside / repetitions


def as_it_says(share):
    return 0.93 <= share <= 0.97


def trainings(rng, number, times, n=100):
    """Values of some neurons in each of some trainings, whose means differ ``times`` their own error."""
    return rng.normal(size=(number, n)) + rng.normal(size=(number, 1)) * times / np.sqrt(n)


@pytest.mark.parametrize("n", [12, 24, 40, 200])
def test_wilson_over_all_shares(n):
    shares = np.linspace(0.02, 0.98, 193)
    intervals = np.array([wilson(k, n) for k in range(n + 1)])
    chances = stats.binom.pmf(np.arange(n + 1)[:, None], n, shares)
    held = (intervals[:, :1] <= shares) & (shares <= intervals[:, 1:])
    assert as_it_says((chances * held).sum(axis=0).mean())


@pytest.mark.parametrize("times", SPREADS)
@pytest.mark.parametrize("number", [3, 10])
def test_means_over_trainings(number, times):
    def found(rng, seed):
        return of_trainings(trainings(rng, number, times)).interval

    assert as_it_says(coverage(found, 0, 2000))


@pytest.mark.parametrize("times", SPREADS)
@pytest.mark.parametrize("number", [3, 10])
def test_differences_of_two_kinds_paired_by_training(number, times):
    def found(rng, seed):
        shared = rng.normal(size=(number, 1)) * 3  # what a seed does to both kinds
        ours, theirs = (trainings(rng, number, times) + shared + plus for plus in (0.5, 0.0))
        runs, minus = ([(run.mean(), np.empty(0)) for run in kind] for kind in (ours, theirs))
        return comparison.over_trainings(runs, minus=minus).interval

    assert as_it_says(coverage(found, 0.5, 2000))


def test_the_rule_of_old_held_too_few_where_three_trainings_differ():
    """Seeds drawn first and their values then (issue 14, fault 7)."""
    share = {
        times: coverage(lambda rng, seed, t=times: oracles.seeds_outermost(trainings(rng, 3, t, 20), seed), 0, 1000)
        for times in (1, 2, 5)
    }
    assert not as_it_says(share[2]) and share[5] < 0.85 and share[5] < share[2] < share[1]


def test_slopes_over_trainings():
    level = levels.levels_of((2, 4, 8, 16, 40))

    def slope(rng, seed):
        kinds = [[(rng.normal(size=70) + (a + rng.normal() / 5) * level, level) for _ in range(10)] for a in (0.3, 0.1)]
        return levels.trend_over_seeds(kinds[0], minus=kinds[1]).interval

    assert as_it_says(coverage(slope, 0.2, 600))


UNITS = {  # (draw n units, their mean): what is averaged over concepts, latents and pictures
    "scores": (lambda rng, n: rng.normal(0.4, 0.2, n), 0.4),
    "rates of 40 pictures": (lambda rng, n: rng.binomial(40, rng.beta(1, 2, n)) / 40, 1 / 3),
    "differences of rates": (lambda rng, n: rng.beta(0.5, 1.5, n) - rng.beta(0.5, 0.5, n), -0.25),
    "areas": (lambda rng, n: rng.beta(2, 3, n), 0.4),
}


@pytest.mark.parametrize("n", [24, 400])
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("how", [bootstrap_mean, student])
def test_means_over_concepts_latents_and_pictures(how, units, n):
    draw, mean = UNITS[units]
    more = {"n_resamples": NEW_DRAWS} if how is bootstrap_mean else {}

    def found(rng, seed):
        return how(draw(rng, n), **(more | {"seed": seed} if more else {})).interval

    assert as_it_says(coverage(found, mean, 1000 if n < 400 else 500))


def test_the_middle_of_draws_unwidened_held_too_few_of_24():
    def unwidened(rng, seed):
        values = rng.normal(size=24)
        return percentiles(values[rng.integers(24, size=(NEW_DRAWS, 24))].mean(axis=1))

    assert coverage(unwidened, 0, 2000) < 0.932


@pytest.mark.parametrize("paired", [True, False])
def test_differences_of_two_means(paired):
    def found(rng, seed):
        a = rng.beta(2, 3, 40)
        b = a - 0.1 + 0.1 * rng.normal(size=40) if paired else rng.normal(0.3, 0.2, size=30)
        return bootstrap_difference(a, b, paired=paired, seed=seed, n_resamples=NEW_DRAWS).interval

    assert as_it_says(coverage(found, 0.1, 1000))


def test_ratios_of_captions_that_are_right_and_of_similarities():
    def captions(rng, seed):
        before = rng.random(400) < 0.5
        after = np.where(rng.random(400) < 0.7, before, rng.random(400) < 0.6)
        return bootstrap_ratio(after, before, paired=True, seed=seed, n_resamples=NEW_DRAWS).interval

    def similarities(rng, seed):
        before = rng.normal(0.2, 0.08, 60)
        return bootstrap_ratio(before + rng.normal(0.05, 0.1, 60), before, paired=True, seed=seed,
                               n_resamples=NEW_DRAWS).interval  # fmt: skip

    assert as_it_says(coverage(captions, (0.7 * 0.5 + 0.3 * 0.6) / 0.5, 1000))
    assert as_it_says(coverage(similarities, 1.25, 1000))


@pytest.mark.parametrize("pairs", [24, 60, 400])
@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_rank_correlations(correlation, pairs):
    def found(rng, seed):
        a, b = rng.normal(size=(2, pairs))
        b = correlation * a + np.sqrt(1 - correlation**2) * b
        return spearman(a, b, seed=seed, n_resamples=NEW_DRAWS).interval

    assert as_it_says(coverage(found, 6 / np.pi * np.arcsin(correlation / 2), 500))


@pytest.mark.parametrize("sizes", [(2, 4, 8, 16, 40), (3, 7, 15, 40, 120)])
@pytest.mark.parametrize("first", [1, 2])
def test_trends_over_levels_of_a_few_latents_which_may_vary_more(sizes, first):
    level = levels.levels_of(sizes)

    def values(rng, rise):
        return rise * level + rng.normal(size=len(level)) * np.where(level == 0, first, 1)

    def steeper(rng, seed):
        return levels.trend_difference(values(rng, 0.3), level, values(rng, 0.1), level).interval

    shares = (
        coverage(lambda rng, seed: levels.trend(values(rng, 0.1), level).interval, 0.1, 1000),
        coverage(steeper, 0.2, 1000),
    )
    least = 0.91 if first == 2 and sizes[0] == 2 else 0.93  # two latents do not show that they vary more than others
    assert all(least <= share <= 0.97 for share in shares), shares


def test_means_of_levels_of_a_few_latents():
    level = levels.levels_of((2, 3, 40))
    for number in range(3):
        assert as_it_says(coverage(lambda rng, seed, i=number: levels.level_means(rng.normal(size=45), level, 3)[i][1],
                                   0, 1500))  # fmt: skip


def clusters(rng, n):
    """Pictures of twelve kinds: what sixteen latents say of them, sparsely, and their embeddings in six dimensions."""
    kind = rng.integers(12, size=n)
    fires = (RNG(5).random((12, 16)) < 0.25)[kind] | (rng.random((n, 16)) < 0.03)
    embeddings = RNG(99).normal(size=(12, 6))[kind] + 0.5 * rng.normal(size=(n, 6))
    return np.where(fires, rng.exponential(size=(n, 16)), 0), embeddings


@pytest.mark.parametrize(
    ("pictures", "repetitions"), [(300, 400), pytest.param(2000, 1000, marks=pytest.mark.long)]
)
def test_mean_ms_over_pictures_of_one_training(pictures, repetitions):
    """Latents are fixed and pictures drawn; the truth is Eq. 9 over very many of them."""
    latents, embeddings = clusters(RNG(1), 400_000)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    truth = ((latents.T @ unit) ** 2).sum(axis=1) / latents.sum(axis=0) ** 2

    def found(rng, seed):
        latents, embeddings = clusters(rng, pictures)
        return comparison.score(sp.csr_matrix(latents), embeddings, resamples=200, seed=seed).mean().interval

    assert as_it_says(coverage(found, truth.mean(), repetitions))


@pytest.mark.parametrize("repetitions", FEW_AND_MANY)
def test_r2_over_pictures(repetitions):
    shrunk = np.array([0.95, 0.9, 0.7, 0.5, 0.2, 0.1])

    def rebuilt(rng, n):
        x = rng.normal(size=(n, 6)) * [3, 2, 1, 1, 0.5, 0.5] * np.exp(0.2 * rng.normal(size=(n, 1)))
        return x, x * shrunk + 0.2 * rng.normal(size=(n, 6))

    x, x_hat = rebuilt(RNG(1), 1_000_000)
    truth = 1 - ((x - x_hat) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum()

    def found(rng, seed):
        return r2_bootstrap(*rebuilt(rng, 1000), seed=seed, n_resamples=200).estimate.interval

    assert as_it_says(coverage(found, truth, repetitions))


def test_mean_cosine_over_pictures_and_that_near_zero_it_holds_too_many():
    def cloud(rng, n, off):
        return rng.normal(size=(n, 8)) * [2, 1.5, 1, 1, 1, 0.5, 0.5, 0.5] + [off, *[0] * 7]

    share = {}
    for off in (0, 1):
        rows = cloud(RNG(1), 1_000_000, off)
        truth = ((rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0) ** 2).sum() if off else 0.0
        share[off] = coverage(
            lambda rng, s, o=off: spread.mean_cosine(cloud(rng, 300, o), seed=s, n_resamples=200)[1], truth, 400
        )
    assert as_it_says(share[1]) and share[0] > 0.97


@pytest.mark.parametrize("repetitions", FEW_AND_MANY)
def test_detectors_over_pictures(repetitions):
    def shown(rng, n):
        kind = rng.integers(3, size=n)
        latents = np.maximum(0, (kind[:, None] == np.arange(3)) * 1.5 + rng.normal(size=(n, 3)) - 0.5)
        return sp.csr_matrix(latents), pd.DataFrame({"habitat": [f"habitat {k}" for k in kind]})

    chosen = detectors.choose_detectors(*shown(RNG(1), 3000), ["habitat"])
    many = detectors.score_detectors(chosen, *shown(RNG(2), 300_000), resamples=1)
    inside = dict.fromkeys(detectors.METRICS, 0)
    for seed in range(repetitions):
        scored = detectors.score_detectors(chosen, *shown(RNG((7, seed)), 800), resamples=200, seed=seed)
        for metric in inside:
            low, high = percentiles(scored.mean(metric, ["habitat"])[1])
            inside[metric] += low <= many.mean(metric, ["habitat"])[0] <= high
    assert all(as_it_says(number / repetitions) for number in inside.values()), inside
