"""Captions under interventions: degradations, the judge, the choice, effects, and published captions said again."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from random_saes import DIM, WIDTH, inputs, make_sae

from vlm_sae_lib import Workbench, load_profile
from vlm_sae_lib.claims.captioning import observe
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments import running
from vlm_sae_lib.experiments.captioning import (
    AMPLIFY,
    BARE,
    BEST,
    BEYOND,
    CONDITIONS,
    FAMILIES,
    RANDOM,
    RECONSTRUCTION,
    SLOTS,
    Size,
    Try,
    choose,
    degraded,
    make_tries,
    nuisance,
    run,
    slots_right,
)
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.pocket.degradations import DEGRADATIONS, degrade
from vlm_sae_lib.pocket.language import DESCRIBE, answers
from vlm_sae_lib.pocket.world import pocket_pictures
from vlm_sae_lib.show.experiments.captioning import FIGURES
from vlm_sae_lib.steering import steered
from vlm_sae_lib.steering.concepts import PooledLatents


@pytest.fixture(scope="module")
def found():
    return Findings.read(running.published("captioning"))


@pytest.fixture(scope="module")
def small():
    """The experiment on few pictures."""
    size = Size(choosing=12, test=4, counts=(3,), amplify=(2.0,), suppress=(0.0,), shift=(1.0,))
    run(Workbench(load_profile("pocket")), found := Findings("captioning", "pocket"), size)
    return found


def pooled_at_random(width=64):
    rng = np.random.default_rng(0)
    return {c: PooledLatents(*[rng.random((30, width)).astype(np.float32)] * 2) for c in CONDITIONS}


def test_a_degradation_is_the_same_each_time_and_another_for_another_picture():
    image = pocket_pictures(1, 4).images[0]
    for how in DEGRADATIONS:
        first, again, other = (np.asarray(degrade(image, how, seed)) for seed in (1, 1, 2))
        assert np.array_equal(first, again) and first.shape == (64, 64, 3) and not np.array_equal(first, image)
        assert how == "dark" or not np.array_equal(first, other)
    with pytest.raises(ValueError, match="noise, dark, occluded"):
        degrade(image, "fog", 0)


def test_slots_against_the_truth():
    truth = pocket_pictures(3, 4).factors
    right = [answers(facts)[DESCRIBE] for facts in truth.to_dict("records")]
    assert slots_right(np.array(right), truth).all()
    wrong = [
        right[0].replace(truth["habitat"].iloc[0], "cave" if truth["habitat"].iloc[0] != "cave" else "sea"),
        "no",
        "",
    ]
    assert slots_right(np.array(wrong, dtype=object), truth).tolist() == [
        [slot != "habitat" for slot in SLOTS], [False] * 5, [False] * 5,
    ]  # fmt: skip


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_control_has_every_try_of_every_family(condition):
    tries = make_tries(None, pooled_at_random(), condition, Size())
    for family in FAMILIES:
        own, control = ([t for t in tries if t.family == family and t.random is random] for random in (False, True))
        assert [t.words for t in own] == [t.words for t in control]
        assert [t.what.strength for t in own] == [t.what.strength for t in control]
        assert len(own) == {"amplify": 6, "suppress": 4, "shift back": 2 * (condition != "clean")}[family]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_reconstruction_is_never_among_the_candidates(condition):
    tries = make_tries(None, pooled_at_random(), condition, Size())
    assert RECONSTRUCTION not in FAMILIES and {t.family for t in tries} <= set(FAMILIES)
    assert all(t.what.keep_error for t in tries)
    everything_right = [np.ones((2, 2), bool)] * len(tries)
    assert RECONSTRUCTION not in choose(tries, everything_right, seed=0)


def test_the_control_pushes_as_far_on_each_picture_and_another_way():
    tries = make_tries(make_sae("relu"), pooled_at_random(WIDTH), "noise", Size(counts=(2,)))
    for own, control in zip(tries[::2], tries[1::2], strict=True):
        assert control.random and not own.random and own.words == control.words
        for picture in inputs(3, 5, DIM):
            pushes = [t.what.edit(picture) - picture for t in (own, control)]
            assert pushes[0].norm() > 0
            torch.testing.assert_close(pushes[1].norm(), pushes[0].norm(), rtol=1e-4, atol=1e-5)
            assert not torch.allclose(*pushes, atol=1e-3)


def test_nuisance_latents_are_those_that_rise_steadily():
    clean = np.zeros((50, 3))
    worse = np.stack([np.full(50, 0.5), np.random.default_rng(0).normal(0.5, 2, 50), np.full(50, -0.5)], 1)
    assert nuisance(clean, worse).tolist() == [0, 1, 2]


def test_the_best_by_whole_captions_then_by_slots_then_by_lot():
    tries = [Try(AMPLIFY, str(i), None, random=i == 3) for i in range(4)]
    right = [np.array(rows, bool) for rows in ([[1, 1], [0, 0]], [[1, 1], [1, 0]], [[1, 1], [0, 1]], [[1, 1], [1, 1]])]
    best = [choose(tries, right, seed=seed) for seed in range(20)]
    assert all(chosen[AMPLIFY] is chosen[BEST] and chosen[RANDOM].words == "3" for chosen in best)
    assert {chosen[BEST].words for chosen in best} == {"1", "2"}  # equal in both, and neither for being the earlier
    assert choose(tries, right, seed=3) == choose(tries, right, seed=3)


def test_the_effect_is_the_best_edit_less_the_best_random_one_picture_by_picture(small):
    effect = small.effects[BEYOND]
    assert effect.values.shape == (4, len(CONDITIONS)) and effect.cases == CONDITIONS
    assert (effect.unit, effect.of, effect.n) == ("picture", "share of captions", 4)
    assert set(np.unique(effect.values)) <= {-1.0, 0.0, 1.0}
    for place, condition in enumerate(CONDITIONS):
        shares = [small.value(f"{condition}/all slots right/{name}") for name in (BEST, RANDOM)]
        assert effect.values[:, place].mean() == pytest.approx(shares[0] - shares[1])
        assert small.value(f"{condition}/beyond random latents, all slots right/{BEST}") == pytest.approx(
            shares[0] - shares[1]
        )


def test_changes_and_optimism_by_hand(small):
    chosen = small.frame("chosen").set_index(["condition", "family"])
    for condition in CONDITIONS:
        bare = small.value(f"{condition}/slots right/{BARE}")
        for name in (BEST, RANDOM, RECONSTRUCTION):
            change = small.value(f"{condition}/slots right/{name}") / bare - 1
            assert small.value(f"{condition}/relative change, slots right/{name}") == pytest.approx(change, abs=1e-6)
        for name in (BEST, RANDOM):
            gains = [small.value(f"{condition}/{what}, slots right/{name}") for what in ("gain where chosen", "gain")]
            assert small.value(f"{condition}/optimism, slots right/{name}") == pytest.approx(gains[0] - gains[1])
        assert small.value(f"{condition}/tries") == small.value(f"{condition}/random tries")
        assert RECONSTRUCTION not in chosen.loc[condition].index
        assert f"{condition}/gain where chosen, slots right/{RECONSTRUCTION}" not in small.results


def test_edits_are_chosen_on_at_least_forty_pictures():
    assert Size().choosing >= 40


def test_published_captions_by_the_slow_path(found):
    bench = Workbench(load_profile("pocket"))
    vlm, sae, said = bench.vlm(), bench.shown("steering"), found.frame("first test pictures")
    test = bench.pictures("test").subset(range(2))
    for condition in ("clean", "occluded"):
        images = degraded(test, condition)
        own = said[said["condition"] == condition].set_index(["by", "picture"])["caption"]
        for i, image in enumerate(images):
            assert vlm.answer(image, DESCRIBE, max_new_tokens=16) == own[BARE, i]
            with steered(vlm, sae, {}):
                assert vlm.answer(image, DESCRIBE, max_new_tokens=16) == own[RECONSTRUCTION, i]


def test_published_gains_are_differences_and_the_choice_is_the_best(found):
    chosen = found.frame("chosen").set_index(["condition", "family"])
    for condition in CONDITIONS:
        share = found.value(f"{condition}/all slots right/{BEST}")
        gain = share - found.value(f"{condition}/all slots right/{BARE}")
        assert found.value(f"{condition}/gain, all slots right/{BEST}") == pytest.approx(gain, abs=1e-6)
        own = chosen.loc[condition].drop([BEST, RANDOM])["choosing all slots right"]
        assert own.max() == chosen.loc[(condition, BEST), "choosing all slots right"]
        assert isinstance(own, pd.Series) and chosen.loc[(condition, BEST), "test all slots right"] == pytest.approx(
            share, abs=1e-4
        )


def test_observations_rest_on_results_and_say_their_numbers(small):
    lines = observe(small)
    assert all(line.rests_on and set(line.rests_on) <= set(small.results) for line in lines)
    assert any("12.7 %" in line.question and "No version of the paper" in line.answer for line in lines)
    other = copy.deepcopy(small)
    other.results[f"noise/gain, all slots right/{BEST}"] |= {"value": 0.25, "ci_low": 0.125, "ci_high": 0.5}
    told = [line for line in observe(other) if "0.250 [0.125, 0.500] (noise)" in line.answer]
    assert len(told) == 1 and "edit of latents" in told[0].question


def test_figures_draw(small):
    for figure in FIGURES.values():
        assert figure(small).axes


def test_another_model_is_refused():
    with pytest.raises(UserError, match="pocket world only"):
        run(Workbench(load_profile("paper")), Findings("captioning", "paper"))
