"""Edits that keep the rest: equal tries, the best arm chosen without the test pictures, and what is written down."""

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_vlm import DIM, PROMPTS, TinySae, shared_vlm, tiny_pictures

from vlm_sae_lib import Workbench, load_profile
from vlm_sae_lib.experiments import diff_mean, keeping_the_rest_records
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.keeping_the_rest import BARE, REPAINTED, Size, painted_anew, run
from vlm_sae_lib.experiments.keeping_the_rest_records import latents_moved, record_arms, record_best
from vlm_sae_lib.pocket.language import QUESTIONS, vocabulary, words
from vlm_sae_lib.pocket.world import pocket_pictures
from vlm_sae_lib.statistics.intervals import student
from vlm_sae_lib.steering import arms
from vlm_sae_lib.steering.arms import ARMS, Lesson, Means, make_tries, teach
from vlm_sae_lib.steering.attribution import attribute
from vlm_sae_lib.steering.concepts import Gallery
from vlm_sae_lib.steering.following import lessons
from vlm_sae_lib.steering.learned import LatentChange

TOY = Size(
    shared=diff_mean.Size(kinds=("colour", "habitat"), per_kind=1, pictures=120, n_choosing=6, n_test=(3, 3)),
    taught=10, lesson=Lesson(steps=2, batch=4), acting=2, most_latents=6,
)  # fmt: skip


@pytest.fixture(scope="module")
def small():
    """The experiment itself, on a handful of pictures."""
    run(Workbench(load_profile("pocket")), found := Findings("keeping_the_rest", "pocket"), TOY)
    return found


@pytest.fixture
def tries():
    vlm, sae = shared_vlm(), TinySae()
    maximum = np.linspace(1, 2, sae.n_latents).astype(np.float32)
    taught = lessons(vlm, tiny_pictures(4), PROMPTS, "red")
    means = Means([3, 5], attribute(taught, sae, torch.from_numpy(maximum)), torch.ones(DIM))
    learned, _ = teach(taught, sae, Lesson(steps=1, batch=2))
    return make_tries(("colour", "red"), means, sae, maximum, np.arange(12), learned, seed=0)


def rates(seed=0):
    """Of every arm and bound, on test and on choosing, for five concepts."""
    rng = np.random.default_rng(seed)
    rows = [
        {"method": arm, "about": "colour", "concept": f"c{c}", "n": 20}
        | dict(zip(("success", "rest", "both", "choosing_success", "choosing_rate"), rng.random(5), strict=True))
        for arm in (*ARMS, BARE, REPAINTED) for c in range(5)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_every_arm_has_as_many_tries(tries):
    count = pd.Series([t.method for t in tries]).value_counts()
    assert set(count.index) == set(ARMS) - {arms.PROMPT}
    assert set(count) == {arms.TRIES} == {len(arms.PHRASES)}


def test_concepts_pictures_and_their_number_are_those_of_the_difference_of_means():
    assert Size().shared == diff_mean.Size() and Size().shared.n_choosing >= 40


def test_prompts_use_words_that_the_model_knows():
    known = set(vocabulary())
    for phrase in arms.PHRASES:
        told = phrase.format(concept="red", question=QUESTIONS["colour"])
        assert set(words(told)) <= known


def test_the_best_arms_are_chosen_on_the_choosing_pictures_whatever_the_test_says():
    """An arm that is best on test alone must not be picked; the two bounds and the controls are no candidates."""
    scored = rates()
    scored.loc[scored["method"] == arms.SWAP, "choosing_rate"] = 0.99
    scored.loc[scored["method"] == arms.SWAP, "both"] = 0.01
    scored.loc[scored["method"] == arms.RANK_ONE, "choosing_rate"] = 0.98
    scored.loc[scored["method"] == arms.DEALT, "choosing_rate"] = 1.0
    found = Findings("toy", "toy")
    assert record_best(found, scored) == arms.SWAP
    assert found.value("best edit of latents") == arms.SWAP and found.value("best rival") == arms.RANK_ONE
    both = scored.pivot(index="concept", columns="method", values="both")
    expected = student(both[arms.SWAP] - both[arms.RANK_ONE])
    row = found.results[f"effect/best edit of latents minus {arms.RANK_ONE}"]
    assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx((expected.value, *expected.interval))


def test_rates_are_means_over_concepts_and_optimism_is_choosing_minus_test():
    scored, found = rates(1), Findings("toy", "toy")
    record_arms(found, scored, (BARE, REPAINTED))
    own = scored[scored["method"] == arms.LEARNED]
    assert found.value(f"rest/{arms.LEARNED}") == pytest.approx(own["rest"].mean())
    assert found.value(f"optimism/{arms.LEARNED}") == pytest.approx((own["choosing_rate"] - own["both"]).mean())
    assert found.value("pictures") == 100


def test_the_whole_experiment_on_a_handful_of_pictures(small):
    for outcome in keeping_the_rest_records.OUTCOMES:
        for arm in (*ARMS, BARE, REPAINTED):
            assert 0 <= small.value(f"{outcome}/{arm}") <= 1
    assert small.value("success/" + BARE) == 0
    assert set(small.frame("by concept")["method"]) == {*ARMS, BARE, REPAINTED}
    assert small.value("best edit of latents") in arms.OF_LATENTS


def test_pictures_are_painted_anew_only_where_the_concept_is_lacking():
    source = pocket_pictures(8, 4)
    gallery = Gallery(source.images, source.factors)
    anew = painted_anew(gallery, ("habitat", source.factors["habitat"].iloc[0]), 2)
    lacking = np.flatnonzero(source.factors["habitat"] != source.factors["habitat"].iloc[0])[:2]
    changed = [i for i in range(8) if anew.images[i] != gallery.images[i]]
    assert changed == lacking.tolist() and anew.factors is gallery.factors


def test_latents_that_a_change_moves_are_counted():
    change = LatentChange(TinySae())
    with torch.no_grad():
        change.raised.fill_(0)
        change.raised[:3] = 1
        change.kept[5:7] = 0.1
    assert latents_moved(change) == (3, 2)
