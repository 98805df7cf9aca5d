"""Captions under interventions: degradations, the judge, the choice, verdicts, and published captions said again."""

import copy

import numpy as np
import pandas as pd
import pytest

from vlm_sae_lib import Workbench, load_profile
from vlm_sae_lib.claims.captioning import conclude
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments import running
from vlm_sae_lib.experiments.captioning import (
    AMPLIFY,
    BARE,
    BEST,
    CONDITIONS,
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


def test_the_control_has_as_many_tries():
    rng = np.random.default_rng(0)
    pooled = {c: PooledLatents(*[rng.random((30, 64)).astype(np.float32)] * 2) for c in CONDITIONS}
    for condition in CONDITIONS:
        tries = make_tries(None, pooled, condition, Size())
        assert sum(t.random for t in tries) == sum(not t.random for t in tries)


def test_nuisance_latents_are_those_that_rise_steadily():
    clean = np.zeros((50, 3))
    worse = np.stack([np.full(50, 0.5), np.random.default_rng(0).normal(0.5, 2, 50), np.full(50, -0.5)], 1)
    assert nuisance(clean, worse).tolist() == [0, 1, 2]


def test_the_best_by_whole_captions_then_by_slots_then_the_earlier():
    tries = [Try(AMPLIFY, str(i), None, random=i == 3) for i in range(4)]
    right = [np.array(rows, bool) for rows in ([[1, 1], [0, 0]], [[1, 1], [1, 0]], [[1, 1], [0, 1]], [[1, 1], [1, 1]])]
    best = choose(tries, right)
    assert best[AMPLIFY].words == best[BEST].words == "1" and best[RANDOM].words == "3"


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


def test_published_gains_are_differences_and_the_choice_stands(found):
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


def test_a_changed_number_changes_the_verdict(found):
    for low, verdict in ((0.2, Verdict.HOLDS), (-0.2, Verdict.FAILS)):
        other = copy.deepcopy(found)
        for condition in CONDITIONS:
            for what in ("gain", "relative change"):
                other.results[f"{condition}/{what}, all slots right/{BEST}"] |= {
                    "value": 0.25,
                    "ci_low": low,
                    "ci_high": 0.3,
                }
        lines = conclude(other)
        assert lines[1].verdict is verdict and lines[-1].verdict is verdict
    assert all(line.rests_on and set(line.rests_on) <= set(found.results) for line in conclude(found))
    ceiling, below = copy.deepcopy(found), copy.deepcopy(found)
    ceiling.results[f"clean/all slots right/{BARE}"]["value"] = 1.0
    below.results[f"clean/all slots right/{BARE}"]["value"] = 0.5
    assert conclude(ceiling)[0].verdict is Verdict.UNTESTED and conclude(below)[0].verdict is not Verdict.UNTESTED


def test_figures_draw(found):
    for figure in FIGURES.values():
        assert figure(found).axes


def test_another_model_is_refused():
    with pytest.raises(UserError, match="pocket world only"):
        run(Workbench(load_profile("paper")), Findings("captioning", "paper"))
