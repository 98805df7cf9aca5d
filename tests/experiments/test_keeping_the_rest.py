"""Edits that keep the rest: equal tries, the best arm chosen without the test pictures, and what is written down."""

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_vlm import DIM, PROMPTS, TinySae, shared_vlm, tiny_pictures

from vlm_sae_lib import Workbench, load_profile
from vlm_sae_lib.claims.keeping_the_rest import observe
from vlm_sae_lib.experiments import diff_mean, keeping_the_rest_records, running
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.keeping_the_rest import BARE, REPAINTED, Size, painted_anew, run
from vlm_sae_lib.experiments.keeping_the_rest_records import latents_moved, record_arms, record_best
from vlm_sae_lib.pocket.language import QUESTIONS, vocabulary, words
from vlm_sae_lib.pocket.repainting import repaint
from vlm_sae_lib.pocket.world import pocket_pictures
from vlm_sae_lib.show.experiments.keeping_the_rest import FIGURES
from vlm_sae_lib.statistics.intervals import student
from vlm_sae_lib.steering import arms
from vlm_sae_lib.steering.arms import ARMS, Lesson, Means, make_tries, teach
from vlm_sae_lib.steering.attribution import attribute
from vlm_sae_lib.steering.concepts import Gallery
from vlm_sae_lib.steering.following import lessons
from vlm_sae_lib.steering.learned import LatentChange

TOY = Size(
    shared=diff_mean.Size(kinds=("colour", "habitat"), per_kind=1, pictures=60, n_choosing=3, n_test=(2, 2)),
    taught=6, lesson=Lesson(steps=2, batch=4), acting=2, most_latents=6,
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


@pytest.fixture(scope="module")
def published():
    return Findings.read(running.published("keeping_the_rest"))


def test_observations_and_figures_rest_on_what_is_found(small):
    lines = observe(small)
    assert len({line.question for line in lines}) == len(lines)
    assert all(set(line.rests_on) <= set(small.results) for line in lines)
    for figure in FIGURES.values():
        assert figure(small).axes


def test_published_differences_are_those_of_the_published_concepts(published):
    both = published.frame("by concept").pivot(index=["about", "concept"], columns="method", values="both")
    best, rival = published.value("best edit of latents"), published.value("best rival")
    expected = student(both[best] - both[rival])
    row = published.results[f"effect/best edit of latents minus {rival}"]
    told = row["value"], row["ci_low"], row["ci_high"]
    assert told == pytest.approx((expected.value, *expected.interval), abs=1e-4)
    for arm in ARMS:
        assert published.value(f"both/{arm}") == pytest.approx(both[arm].mean(), abs=1e-4)


def test_what_is_said_of_published_pictures_painted_anew_by_the_slow_path(published):
    rates = published.frame("by concept")
    row = rates[(rates["method"] == REPAINTED) & (rates["concept"] == "red")].iloc[0]
    bench = Workbench(load_profile("pocket"))
    facts = bench.pictures("test").subset(range(60)).factors
    facts = facts[facts["colour"] != "red"].iloc[: int(row["n"])].to_dict("records")
    said = bench.vlm().answers([repaint(f, "colour", "red") for f in facts], QUESTIONS["colour"], max_new_tokens=1)
    assert sum(word == "red" for word in said) / len(facts) == pytest.approx(row["success"], abs=1e-4)


def test_the_page_says_what_was_found(published):
    """Its prose names arms and says of differences whether they can be told from zero: another outcome needs others."""

    def interval(name):
        return published.results[name]["ci_low"], published.results[name]["ci_high"]

    best = f"effect/best edit of latents minus {arms.DIRECTION}"
    assert (published.value("best edit of latents"), published.value("best rival")) == (arms.LEARNED, arms.DIRECTION)
    assert interval(f"both/{arms.LEARNED}")[0] > 0.4
    assert interval(f"effect/{arms.LEARNED} minus {arms.DIFF_MEAN}")[0] > 0
    for name in (best, f"effect/best edit of latents minus {arms.DEALT}"):
        assert interval(name)[0] < 0 < interval(name)[1]
    ladder = [published.value(f"both/{a}") for a in (arms.DETECTS, arms.ACTS, arms.SWAP_WHERE, arms.DIFF_MEAN)]
    assert ladder == sorted(ladder) and interval("latents lowered by a learned change")[1] < 1
    assert published.value(f"success/{arms.PROMPT}") == 0
    rates = published.frame("by concept")
    anew = rates[rates["method"] == REPAINTED].groupby("about")["both"].mean()
    assert (anew[["habitat", "species"]] == 1).all() and (anew.drop(["habitat", "species"]) < 0.7).all()
    shares = [f"share that steers/{what}" for what in ("live latents", "random directions as long")]
    assert published.value(shares[0]) < 0.1 and interval(shares[0])[0] > interval(shares[1])[1]
    foretold = "rank correlation with how often the concept is named/attribution minus F1"
    assert interval(foretold)[0] < 0 < interval(foretold)[1]
