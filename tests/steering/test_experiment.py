"""The study: candidates by F1, settings chosen and scored on different pictures, controls with as many tries."""

import numpy as np
import oracles
import pandas as pd
import pytest
from tiny_vlm import TinySae, shared_vlm, tiny_pictures

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.steering import experiment, rates
from vlm_sae_lib.steering.concepts import (
    Gallery,
    PooledLatents,
    best_f1,
    candidate_latents,
    list_concepts,
    pool_latents,
)
from vlm_sae_lib.steering.experiment import SteeringStudy, make_tries, run_study, score_settings
from vlm_sae_lib.steering.sweep import SteeringBench

QUESTIONS = {"colour": "what colour is it ?", "order": "what order ?", "habitat": "where is it ?"}
STUDY = SteeringStudy(
    multiples=(1, 4), n_choosing=4, n_test=5, repetitions=2, random_latents=8, rest=("order", "colour", "habitat")
)


@pytest.fixture(scope="module")
def galleries():
    """Two galleries whose "truth" is what the random model says, so that some answers are right."""
    made = []
    for seed in (0, 1):
        images = tiny_pictures(24, seed)
        bench = SteeringBench(shared_vlm(), TinySae(), images)
        words = bench.answers([experiment.UNSTEERED], list(QUESTIONS.values()))[0]
        made.append(Gallery(images, pd.DataFrame(words, columns=list(QUESTIONS))))
    return made


@pytest.fixture(scope="module")
def study_of(galleries):
    choosing, _ = galleries
    pooled = pool_latents(shared_vlm(), TinySae(), choosing.images)
    concepts = list_concepts(choosing.factors, ["colour", "order"], 2, min_pictures=2, seed=0)
    candidates = candidate_latents(pooled, choosing.factors, concepts, n_candidates=2, min_pictures=3)
    return pooled, concepts, candidates


def test_pooled_latents_are_those_of_every_token():
    vlm, sae, images = shared_vlm(), TinySae(), tiny_pictures(5)
    pooled = pool_latents(vlm, sae, images, batch_size=2)
    z = sae.encode(vlm.states(images)).numpy()
    np.testing.assert_allclose(pooled.largest, z.max(1), atol=1e-6)
    np.testing.assert_allclose(pooled.mean, z.mean(1), rtol=1e-5, atol=1e-6)
    assert pooled.live(5).tolist() == [k for k in range(40) if (z[..., k].max(1) > 0).sum() >= 5]
    with pytest.raises(UserError, match="width"):
        pool_latents(vlm, TinySae(dim=8), images)


def test_best_f1_is_the_best_over_all_thresholds():
    rng = np.random.default_rng(0)
    values = np.round(np.maximum(rng.normal(size=(40, 6)), 0), 1)  # many ties, many zeros
    values[:, 4], values[:, 5] = 0, 1.0  # never fires; always fires, and equally
    labels = rng.random((40, 3)) < [0.1, 0.5, 0.0]
    expected = [[oracles.best_f1(values[:, k], labels[:, c]) for c in range(3)] for k in range(6)]
    np.testing.assert_allclose(best_f1(values, labels), expected, atol=1e-12)


def test_candidates_are_the_latents_that_detect_the_concept():
    rng = np.random.default_rng(1)
    factors = pd.DataFrame({"colour": rng.choice(["red", "blue"], 60), "order": ["beetle"] * 30 + ["fern"] * 30})
    latents = np.maximum(rng.normal(size=(60, 9)), 0)
    latents[:, 4] = np.where(factors["colour"] == "red", 2.0, 0.0)
    latents[:, 7] = np.where(factors["order"] == "fern", 3.0, 0.0)
    latents[:, 8] = 0
    latents[:3, 8] = 9.0  # fires on three pictures only
    pooled = PooledLatents(latents, latents / 2)
    concepts = list_concepts(factors, ["colour", "order"], 5, min_pictures=5, seed=0)
    assert concepts[["about", "concept"]].values.tolist() == [
        ["colour", "blue"], ["colour", "red"], ["order", "beetle"], ["order", "fern"]]  # fmt: skip
    best = candidate_latents(pooled, factors, concepts)
    top = best[best["rank"] == 0].set_index("concept")
    assert (top.loc["red", "latent"], top.loc["fern", "latent"]) == (4, 7)
    assert (top.loc["red", "f1"], top.loc["red", "maximum"]) == (1.0, 2.0)
    assert 8 not in set(best["latent"]) and len(best) == 12


def test_concepts_are_drawn_with_the_seed_and_rare_ones_left_out():
    factors = pd.DataFrame({"species": [f"s{i % 20:02d}" for i in range(100)] + ["rare"]})
    first, again, other = (list_concepts(factors, ["species"], 6, min_pictures=2, seed=s) for s in (0, 0, 1))
    assert first.equals(again) and not first.equals(other)
    assert len(first) == 6 and "rare" not in set(first["concept"])


def test_a_concept_to_take_out_is_shown_by_a_test_picture_too():
    factors = pd.DataFrame({"group": ["bird"] * 6 + ["fish"] * 7 + [np.nan] * 9})
    scored = pd.DataFrame({"group": ["fish", np.nan]})
    both, one = (list_concepts(factors, ["group"], 5, min_pictures=6, seed=0, scored=s) for s in (None, scored))
    assert both["concept"].tolist() == ["bird", "fish"] and one["concept"].tolist() == ["fish"]
    with pytest.raises(UserError, match="No group is shown by 7 of the 22 choosing pictures and one of those"):
        list_concepts(factors, ["group"], 5, min_pictures=7, seed=0, scored=scored.head(0))


def test_where_there_is_no_concept_or_no_latent_it_is_told_in_a_sentence():
    names = [f"class {i:03d}" for i in range(300)]
    factors = pd.DataFrame({"class": names * 3})  # a random draw of a thousand classes
    with pytest.raises(UserError, match="No class is shown by 6 of the 900 choosing pictures.*steering.min_pictures"):
        list_concepts(factors, ["class"], 4, min_pictures=6, seed=0)
    concepts = list_concepts(factors, ["class"], 4, min_pictures=3, seed=0)
    pooled = PooledLatents(np.ones((900, 5)), np.ones((900, 5)))
    with pytest.raises(UserError, match="There are 0 concepts"):
        candidate_latents(pooled, factors, concepts.head(0))
    with pytest.raises(UserError, match="0 latents that fire on 10 of the 900"):
        candidate_latents(PooledLatents(np.zeros((900, 5)), np.zeros((900, 5))), factors, concepts)


@pytest.mark.parametrize(
    "kind, said, successes",
    [
        ("insertion", ["bird", "stork", "black"], [0.5, 1, 0]),  # on the finch "bird" is no sign of a stork
        ("suppression", ["bird", "stork", "black", "animal", "finch"], [0, 0, 1, 1, 1]),
    ],
)
def test_a_class_counts_as_named_by_its_kinds(monkeypatch, kind, said, successes):
    classes = ["goldfinch", "black stork", "guitar", "black stork"]
    factors = pd.DataFrame({"class": classes, "backdrop": ["Green", "It's blue", "red", "light blue"]})
    study = SteeringStudy(kind=kind, n_test=4, rest=("backdrop",), ranks=("class",), reading="class", max_new_tokens=5)
    settings = [
        experiment.Setting("steered", "class", "black stork", 0, experiment.Intervention(i, 1.0), 1.0)
        for i in range(len(said))
    ]

    def answers(bench, needs, questions, study):
        n = len(bench.images)
        return {s.intervention: pd.DataFrame({"class": [word] * n, "backdrop": ["Blue"] * n})
                for s, word in zip(settings, said, strict=True)}  # fmt: skip

    class Bench:
        def __init__(self, vlm, sae, images, **options):
            self.images = images

    monkeypatch.setattr(experiment, "SteeringBench", Bench)
    monkeypatch.setattr(experiment, "_answers", answers)
    scores = score_settings(None, None, settings, Gallery(tiny_pictures(4), factors), {}, study)
    assert scores["success"].tolist() == successes
    assert set(scores["rest"]) == ({0.0} if kind == "insertion" else {1.0})  # blue is behind the storks alone


def test_every_control_gets_as_many_tries_of_its_own(study_of):
    pooled, concepts, candidates = study_of
    tries = make_tries(candidates, pooled.maximum, pooled.live(3), STUDY)
    count = pd.DataFrame([vars(t) for t in tries]).groupby(["method", "about", "concept", "repetition"]).size()
    assert set(count[experiment.STEERED]) == set(count[experiment.RANDOM_LATENT]) == {4}
    assert set(count[experiment.RANDOM_DIRECTION]) == {4} and set(count[experiment.BARE_SAE]) == {1}
    directions = [t.intervention.direction_seed for t in tries if t.method == experiment.RANDOM_DIRECTION]
    assert len(set(directions)) == len(concepts) * STUDY.repetitions * 2  # candidates; one direction, all strengths
    for t in tries:
        own = set(candidates.loc[candidates["concept"] == t.concept, "latent"])
        if t.method == experiment.RANDOM_LATENT:
            assert t.intervention.latent not in own
        elif t.intervention.latent is not None:
            assert t.intervention.latent in own
            assert t.intervention.strength == pytest.approx(t.multiple * pooled.maximum[t.intervention.latent])
    assert tries == make_tries(candidates, pooled.maximum, pooled.live(3), STUDY)


@pytest.mark.parametrize(("kind", "goal"), [("insertion", "success"), ("suppression", "both")])
def test_settings_and_rates_are_those_of_asking_one_by_one(galleries, study_of, kind, goal):
    choosing, test = galleries
    pooled, _, candidates = study_of
    study = SteeringStudy(**{**vars(STUDY), "kind": kind, "goal": goal})
    vlm, sae = shared_vlm(), TinySae()
    tries = make_tries(candidates, pooled.maximum, pooled.live(3), study)
    settings, scores = run_study(vlm, sae, tries, choosing, test, QUESTIONS, study)
    keys = ["method", "about", "concept", "repetition"]
    assert len(settings) == len(scores) == len(pd.DataFrame([vars(t) for t in tries])[keys].drop_duplicates())

    def slow(setting, gallery, n):
        """Ask the steered model picture by picture, as the definitions say."""
        wanted = np.flatnonzero(gallery.factors[setting.about] == setting.concept)
        lacking = [p for p in range(len(gallery.images)) if p not in set(wanted)]
        pictures = lacking[:n] if kind == "insertion" else wanted[:n].tolist()
        others = [r for r in study.rest if r != setting.about and not {r, setting.about} <= set(study.ranks)]
        others = [r for r in others if gallery.factors.iloc[wanted][r].nunique() != 1]
        bench = SteeringBench(vlm, sae, gallery.images)
        success, rest, both = [], [], []
        for p in pictures:
            said = {a: bench.answers([setting.intervention], [q], [p])[0, 0, 0] for a, q in QUESTIONS.items()}
            success.append((said[setting.about] == setting.concept) == (kind == "insertion"))
            right = [said[r] == gallery.factors[r].iloc[p] for r in others]
            rest.append(np.mean(right) if right else np.nan)
            both.append(success[-1] and all(right) if right else np.nan)
        return [np.mean(rates) if rates else np.nan for rates in (success, rest, both)]

    for setting, row in list(zip(settings, scores.to_dict("records"), strict=True))[::3]:
        np.testing.assert_allclose([row["success"], row["rest"], row["both"]], slow(setting, test, study.n_test))
    steered_tries = [t for t in tries if t.method == experiment.STEERED and t.concept == tries[0].concept]
    best = max(np.nan_to_num(slow(t, choosing, study.n_choosing)[0 if goal == "success" else 2]) for t in steered_tries)
    assert np.nan_to_num(settings[0].choosing_rate) == pytest.approx(best)
    assert settings[0].choosing_success == pytest.approx(slow(settings[0], choosing, study.n_choosing)[0])


def test_a_blank_picture_can_be_scored(galleries, study_of):
    pooled, _, candidates = study_of
    blank = Gallery(tiny_pictures(1), pd.DataFrame([dict.fromkeys(QUESTIONS, "nothing")]))
    settings = make_tries(candidates, pooled.maximum, pooled.live(3), STUDY)[:5]
    scores = score_settings(shared_vlm(), TinySae(), settings, blank, QUESTIONS, STUDY)
    assert scores["n"].tolist() == [1] * 5 and set(scores["success"]) <= {0.0, 1.0}
    with pytest.raises(ValueError, match="rows of factors"):
        Gallery(tiny_pictures(2), blank.factors)


def test_a_concept_that_no_test_picture_qualifies_for_is_nan(galleries, study_of):
    pooled, _, candidates = study_of
    never = SteeringStudy(**{**vars(STUDY), "kind": "suppression"})
    settings = make_tries(candidates, pooled.maximum, pooled.live(3), never)[:2]
    test = Gallery(galleries[1].images, galleries[1].factors.assign(colour="?", order="?"))
    scores = score_settings(shared_vlm(), TinySae(), settings, test, QUESTIONS, never)
    assert scores["n"].tolist() == [0, 0] and scores[["success", "rest", "both"]].isna().all().all()


def table(steered, random, unsteered):
    rows = []
    for i, triple in enumerate(zip(steered, random, unsteered, strict=True)):
        for method, rate in zip(("steered", "random latent", "unsteered"), triple, strict=True):
            rows.append({"method": method, "about": "colour" if i < 2 else "order", "concept": f"c{i}",
                         "repetition": 0, "n": 20, "success": rate, "rest": 0.5, "both": np.nan})  # fmt: skip
    return pd.DataFrame(rows)


def test_rates_are_means_over_concepts_with_intervals_around_them():
    scores = table([0.9, 0.7, 0.5, 0.9], [0.1, 0.3, 0.2, 0.0], [0, 0, 0, 0])
    concepts = rates.by_concept(pd.concat([scores, scores.assign(repetition=1, success=scores["success"] / 2)]))
    assert concepts["repetitions"].eq(2).all()
    assert concepts.set_index(["method", "concept"]).loc[("steered", "c0"), "success"] == pytest.approx(0.675)
    abouts = rates.by_about(rates.by_concept(scores)).set_index(["method", "about", "outcome"])
    row = abouts.loc[("steered", "all", "success")]
    assert row["rate"] == pytest.approx(0.75) and row["low"] < 0.75 < row["high"] and row["concepts"] == 4
    assert abouts.loc[("steered", "colour", "success"), "rate"] == pytest.approx(0.8)
    assert np.isnan(abouts.loc[("steered", "all", "both"), "rate"])
    times = rates.times_best_control(rates.by_concept(scores))
    assert times["value"] == pytest.approx(5) and times["best_control"] == "random latent"
    assert times["low"] < 5 < times["high"]


def test_no_control_ever_succeeding_is_infinite_and_nothing_succeeding_is_nan():
    assert rates.times_best_control(rates.by_concept(table([1, 1], [0, 0], [0, 0])))["value"] == np.inf
    assert np.isnan(rates.times_best_control(rates.by_concept(table([0, 0], [0, 0], [0, 0])))["value"])


def test_wilson_covers_and_is_known_at_the_edges():
    low, high = rates.wilson(np.array([0.0, 1.0, 0.5]), np.array([10, 10, 100]))
    np.testing.assert_allclose(low, [0, 0.7225, 0.4038], atol=1e-3)
    np.testing.assert_allclose(high, [0.2775, 1, 0.5962], atol=1e-3)
    assert np.isnan(rates.wilson(np.array([0.5]), np.array([0]))[0]).all()


def test_where_nothing_has_a_rate_there_is_no_ratio():
    red = {"about": "colour", "concept": "red", "success": 1.0, "both": np.nan}
    found = rates.times_best_control(pd.DataFrame([{"method": m} | red for m in experiment.METHODS]), "both")
    assert np.isnan([found["value"], found["low"], found["high"]]).all()
    assert found["concepts"] == 0 and found["best_control"] == "none"


def test_intervals_over_few_concepts_are_widened_for_their_number():
    """Fault 7 of issue 14: draws of six vary less than samples of six do."""
    values = [0.1, 0.9, 0.4, 0.6, 0.2, 0.8]
    scores = pd.DataFrame([{"method": "steered", "about": "colour", "concept": f"c{i}", "repetition": 0, "n": 20,
                            "success": rate, "rest": 0.5, "both": rate} for i, rate in enumerate(values)])  # fmt: skip
    row = rates.by_about(rates.by_concept(scores)).set_index(["about", "outcome"]).loc[("all", "success")]
    draws = np.random.default_rng(1).choice(values, (4000, len(values))).mean(1)
    low, high = np.percentile(draws, [2.5, 97.5])
    assert row["low"] < low - 0.03 and row["high"] > high + 0.03
