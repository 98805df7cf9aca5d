"""The word of a claim over several islands: the plan's rule on effects that are combined over them."""

import math

import numpy as np
import pytest
from island_results import CLAIM, COUNTED, TEN, put, where
from scipy import stats

from vlm_sae_lib.claims.claim import By, Claim
from vlm_sae_lib.claims.islands import ask, evidences
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.statistics.meta_analysis import random_effects

HOLDS, REVERSED, FAILS, UNDECIDED, UNTESTED, _ = Verdict


def over(tmp_path, *means, claim=CLAIM):
    names = ("home", *COUNTED[1:])[: len(means)]
    return ask(claim, where(tmp_path, **dict(zip(names, means, strict=True)))).overall


@pytest.mark.parametrize(
    ("means", "word"),
    [
        ((0.2, 0.21, 0.19, 0.2, 0.22), HOLDS),
        ((-0.2, -0.21, -0.19, -0.2, -0.22), REVERSED),
        ((0.0, 0.01, -0.01, 0.0, 0.01), FAILS),
        ((0.2, 0.21, 0.19, 0.2, -0.3), UNDECIDED),  # one island is enough that zero is not excluded
    ],
)
def test_the_word_follows_from_the_combined_effect(tmp_path, means, word):
    found = over(tmp_path, *means)
    assert found.word is word and found.left_out == 5
    variance = TEN.var(ddof=1) / 10
    combined = random_effects(np.array(means), np.full(5, variance))
    assert found.effects[0].combined.value == pytest.approx(combined.value)
    assert found.effects[0].corrected.interval == pytest.approx(combined.estimate().interval)


def test_islands_count_alike_where_they_differ_more_than_their_trainings(tmp_path):
    put(tmp_path, "fjord", gain=0.4 + 2 * TEN)
    found = ask(CLAIM, where(tmp_path, home=0.1, atoll=0.2)).overall
    assert found.effects[0].combined.value == pytest.approx(np.mean([0.1, 0.2, 0.4]), rel=0.01)


def test_one_island_that_changes_the_word_makes_it_undecided(tmp_path):
    """All five together exclude what matters; without the last, too few lie close enough."""
    found = over(tmp_path, 0.10, 0.11, 0.105, 0.101, 0.030)
    assert found.before is HOLDS and found.stability == 1
    shaky = over(tmp_path, 0.05, 0.09, 0.05, 0.06, 0.03)
    assert shaky.before is HOLDS and shaky.stability < 0.9 and shaky.word is UNDECIDED


def test_effects_of_one_claim_are_a_family(tmp_path):
    both = Claim(
        "it", "It", "It works.", "nowhere", "none", (*CLAIM.decided_by, By("layers", "kept", 0.05, "what is kept"))
    )
    for i, island in enumerate(COUNTED):
        put(tmp_path, island, gain=0.2 + 0.01 * i + TEN, kept=0.1 + 0.03 * i + TEN)
    surest, other = ask(both, evidences(tmp_path)).overall.effects
    assert surest.combined.p_value() < other.combined.p_value()
    assert other.corrected == other.combined.estimate() and surest.corrected == surest.combined.estimate(0.975)
    half = stats.t.ppf(1 - 0.025 / 2, 4) * surest.combined.error
    assert surest.corrected.interval.high - surest.combined.value == pytest.approx(half)


def test_two_islands_have_an_interval_and_nothing_to_leave_out(tmp_path):
    found = over(tmp_path, 0.2, 0.2)
    assert found.left_out == 0 and math.isnan(found.stability) and found.word is HOLDS
    assert math.isnan(found.effects[0].combined.prediction().low)
    assert over(tmp_path, 0.1, 0.3).word is UNDECIDED, "two that differ say little: t has one degree of freedom"


def test_a_single_island_has_no_overall_effect(tmp_path):
    found = over(tmp_path, 0.2)
    assert found.word is UNTESTED and found.effects[0].combined is None and found.left_out == 0


def test_trainings_that_are_all_alike_weigh_no_more_than_the_surest_of_the_others(tmp_path):
    put(tmp_path, "atoll", gain=[0.1 + 0.2] * 10)  # whose standard deviation numpy takes to be 5.9e-17
    found = ask(CLAIM, where(tmp_path, home=0.3, fjord=0.31)).overall
    variance = TEN.var(ddof=1) / 10
    assert found.effects[0].combined.error == pytest.approx(random_effects([0.3, 0.3, 0.31], [variance] * 3).error)


def test_identical_values_everywhere(tmp_path):
    for island in COUNTED:
        put(tmp_path, island, gain=[0.2] * 10)
    found = ask(CLAIM, evidences(tmp_path)).overall
    assert found.word is HOLDS and found.effects[0].corrected.interval == (0.2, 0.2)
    assert found.effects[0].combined.i2 == found.effects[0].combined.tau == 0


def test_trainings_without_a_value_are_left_out(tmp_path):
    some = [*(0.2 + TEN[:5]), *[math.nan] * 5]
    put(tmp_path, "atoll", gain=some)
    found = ask(CLAIM, where(tmp_path, home=0.2)).overall.effects[0]
    means, variances = [0.2, 0.2 + TEN[:5].mean()], [TEN.var(ddof=1) / 10, TEN[:5].var(ddof=1) / 5]
    assert found.combined.value == pytest.approx(random_effects(means, variances).value)
    assert found.islands == ("", "atoll")


def test_an_effect_of_a_single_training_is_left_out_of_that_effect_alone(tmp_path):
    both = Claim(
        "it", "It", "It works.", "nowhere", "none", (*CLAIM.decided_by, By("layers", "kept", 0.05, "what is kept"))
    )
    for island in COUNTED:
        put(tmp_path, island, gain=0.2 + TEN, kept=[0.3] if island == "atoll" else 0.2 + TEN)
    gain, kept = ask(both, evidences(tmp_path)).overall.effects
    assert gain.islands == COUNTED and kept.islands == ("", "fjord", "skerry", "mainland")
    assert kept.combined.places == 4 and kept.combined.value == pytest.approx(0.2)
