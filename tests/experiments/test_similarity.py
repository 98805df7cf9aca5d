"""The similarity experiment: its arithmetic, its effects, and published words said again by the slow path."""

from types import SimpleNamespace

import numpy as np
import pytest

from vlm_sae_lib import Workbench, load_profile
from vlm_sae_lib.claims.similarity import observe
from vlm_sae_lib.claims.verdict import said
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments import running
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.similarity import DECIDING, REST, REST_BEYOND, REST_RIGHT, Size, run
from vlm_sae_lib.pocket.language import ONE_WORD, QUESTIONS
from vlm_sae_lib.pocket.world import blank
from vlm_sae_lib.show.experiments.similarity import FIGURES
from vlm_sae_lib.statistics.intervals import student
from vlm_sae_lib.steering import concepts, steered
from vlm_sae_lib.steering.sweep import UNSTEERED, Intervention, SteeringBench
from vlm_sae_lib.steering.word_similarity import TOP_K, Latents, mean_pictures, top_pictures

SMALL = Size(train=100, alphas=(16.0, 64.0), latents=3, choosing=3, test=2, dose_latents=2, dose=1, references=20)
LIVE = 6


@pytest.fixture(scope="module")
def found():
    return Findings.read(running.published("similarity"))


@pytest.fixture(scope="module")
def bench():
    return Workbench(load_profile("pocket"))


@pytest.fixture(scope="module")
def small(bench):
    """The experiment on few pictures and six live latents, with its pooled latents."""
    kept = []

    def few(*args):
        pooled = concepts.pool_latents(*args)
        only = np.zeros(pooled.largest.shape[1])
        only[pooled.live(TOP_K)[::20][:LIVE]] = 1
        kept.append(concepts.PooledLatents(pooled.largest * only, pooled.mean * only))
        return kept[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vlm_sae_lib.experiments.similarity.find", SimpleNamespace(pool_latents=few))
        run(bench, found := Findings("similarity", "pocket"), SMALL)
    return found, kept[0]


class ToyJudge:
    def words(self, words):
        return np.stack([np.eye(3)[["a", "b", "c"].index(word)] for word in words])


def test_own_pictures_and_those_of_all_the_others():
    latents = Latents(np.arange(3), np.array([[1.0, 0, 0], [0, 1, 0], [0.6, 0.8, 0]]), ToyJudge())
    own, others = latents.similarity(np.array([["a", "c"], ["a", "b"]], dtype=object), np.array([0, 2]))
    np.testing.assert_allclose(own, [[1, 0], [0.6, 0.8]])
    np.testing.assert_allclose(others, [[0.3, 0], [0.5, 0.5]])  # of all others, not of those that were asked about


def test_top_pictures_and_their_mean():
    values = np.array([[0.0, 3], [2, 3], [1, 0]])
    assert top_pictures(values, 2).tolist() == [[1, 2], [0, 1]]
    mean = mean_pictures(np.array([[2.0, 0], [0, 2], [0, 0]]), np.array([[0, 1]]))
    np.testing.assert_allclose(mean, [[0.5**0.5] * 2])


def test_every_live_latent_is_scored_in_both_setups(small):
    found, _ = small
    assert found.value("latents") == LIVE > SMALL.latents
    for setup in ("white", "pictures"):
        assert found.results[f"{setup}/similarity/steered"]["n"] == LIVE
        for control in ("a random direction", "another latent's pictures"):
            effect = found.effects[f"gain over {control}, {setup}"]
            assert effect.values.shape == (LIVE, 1) and (effect.unit, effect.of, effect.n) == ("latent", "cosine", LIVE)
    assert found.effects[REST_RIGHT].values.shape == (LIVE, 1)


def test_the_strength_is_chosen_on_at_least_a_hundred_latents_and_forty_pictures(small):
    assert Size().latents >= 100 and Size().choosing >= 40
    found, _ = small
    assert found.results["alpha"]["n"] == SMALL.latents and found.value("choosing pictures") == SMALL.choosing


def test_effects_are_what_one_latent_after_the_other_gives(small, bench):
    found, pooled = small
    vlm, sae, judge, alpha = bench.vlm(), bench.shown("steering"), bench.judge(), found.value("alpha")
    live, train = pooled.live(TOP_K), bench.pictures("train").subset(range(SMALL.train))
    top = top_pictures(pooled.mean[:, live])
    means = [judge.pictures([train.picture(int(i)) for i in row]).mean(0) for row in top]
    means = np.stack([mean / np.linalg.norm(mean) for mean in means])
    test = bench.pictures("test").subset(range(SMALL.test))
    for setup, images in (("white", [blank()]), ("pictures", test.images)):
        asked = SteeringBench(vlm, sae, images)
        for place, latent in enumerate(map(int, live)):
            words, pushed = (
                asked.answers([Intervention(latent, alpha, seed)], [ONE_WORD])[0, :, 0]
                for seed in (None, 1000 + latent)
            )
            near = judge.words(words) @ means.T
            others = np.delete(near, place, axis=1).mean()
            by_chance = (judge.words(pushed) @ means[place]).mean()
            for control, its in (("a random direction", by_chance), ("another latent's pictures", others)):
                value = found.effects[f"gain over {control}, {setup}"].values[place, 0]
                assert value == pytest.approx(near[:, place].mean() - its, abs=1e-5)


def test_with_the_error_kept_the_random_push_keeps_it_too(small, bench):
    found, pooled = small
    vlm, sae, judge, alpha = bench.vlm(), bench.shown("steering"), bench.judge(), found.value("alpha")
    latent = int(pooled.live(TOP_K)[0])
    train = bench.pictures("train").subset(range(SMALL.train))
    top = top_pictures(pooled.mean[:, [latent]])[0]
    mean = judge.pictures([train.picture(int(i)) for i in top]).mean(0)
    asked = SteeringBench(vlm, sae, bench.pictures("test").subset(range(SMALL.test)).images, keep_error=True)
    own, blind = (
        (judge.words(asked.answers([Intervention(latent, alpha, seed)], [ONE_WORD])[0, :, 0]) @ mean).mean()
        for seed in (None, 1000 + latent)
    )
    effect = found.effects["gain over a random direction, error kept, pictures"]
    assert effect.values[0, 0] == pytest.approx((own - blind) / np.linalg.norm(mean), abs=1e-5)
    beside = found.results["pictures/similarity/steered, error kept"]["controls"]
    assert set(beside) == {"random direction, error kept", "bare model"}


def test_the_rest_is_held_against_nine_tenths_of_what_is_right_without_steering(small, bench):
    found, pooled = small
    vlm, sae, alpha = bench.vlm(), bench.shown("steering"), found.value("alpha")
    test = bench.pictures("test").subset(range(SMALL.test))
    truth = test.factors[list(REST)].to_numpy()
    questions = [QUESTIONS[about] for about in REST]
    bare = SteeringBench(vlm, sae, test.images, keep_error=True).answers([UNSTEERED], questions)[0]
    interventions = [Intervention(int(latent), alpha) for latent in pooled.live(TOP_K)]
    asked = SteeringBench(vlm, sae, test.images)
    told = asked.answers(interventions, questions)
    blind = asked.answers([Intervention(one.latent, alpha, 1000 + one.latent) for one in interventions], questions)
    beyond = [(own == truth).mean() - (other == truth).mean() for own, other in zip(told, blind, strict=True)]
    np.testing.assert_allclose(found.effects[REST_BEYOND].values[:, 0], beyond, atol=1e-12)
    expected = [(own == truth).mean() - 0.9 * (bare == truth).mean() for own in told]
    np.testing.assert_allclose(found.effects[REST_RIGHT].values[:, 0], expected)
    assert found.effects[REST_RIGHT].of == "share of answers"


def test_optimism_is_the_gain_on_choosing_pictures_less_that_on_test_pictures(small):
    found, _ = small
    table = found.frame("choice of alpha").set_index("alpha")["similarity"]
    assert len(table) == len(SMALL.alphas) and table.idxmax() == found.value("alpha")
    who = np.sort(np.random.default_rng(0).permutation(LIVE)[: SMALL.latents])
    for control, name in DECIDING.items():
        chosen = found.value(f"gain where chosen/steered over {control}")
        optimism = found.results[f"optimism/steered over {control}"]
        tested = found.effects[f"gain over {name}, pictures"].values[who, 0].mean()
        assert optimism["value"] == pytest.approx(chosen - tested, abs=1e-6) and optimism["n"] == SMALL.latents
    assert "optimism/steered over bare model" in found.results


def test_the_dose_curve_says_how_many_latents_it_has(small):
    found, _ = small
    assert found.value("dose latents") == SMALL.dose_latents and len(found.frame("random latents")) == 2
    dose = found.frame("dose")
    assert set(dose["setup"]) == {"white", "pictures"} and set(dose["alpha"]) == set(SMALL.alphas)


def test_observations_rest_on_results_and_say_their_numbers(small):
    found, _ = small
    lines = observe(found)
    assert all(line.rests_on and set(line.rests_on) <= set(found.results) for line in lines)
    assert not {name for line in lines for name in line.rests_on} & {f"effect/{name}" for name in found.effects}
    changed = "optimism/steered over random direction"
    row = found.results[changed]
    assert any(said(found, changed, 3) in line.answer for line in lines)
    found.results[changed] = row | {"value": 0.123, "ci_low": 0.1, "ci_high": 0.2}
    try:
        assert any("0.123 [0.100, 0.200]" in line.answer for line in observe(found))
    finally:
        found.results[changed] = row


def test_published_words_and_similarities_by_the_slow_path(found, bench):
    vlm, sae, judge, alpha = bench.vlm(), bench.shown("steering"), bench.judge(), found.value("alpha")
    assert sae.hash.startswith(found.value("SAE"))
    train = bench.pictures("train")
    for row in found.frame("random latents").iloc[[0, 7, 20]].to_dict("records"):
        with steered(vlm, sae, {row["latent"]: alpha}):
            word = vlm.answer(blank(), ONE_WORD, max_new_tokens=1)
        mean = judge.pictures([train.picture(int(i)) for i in row["top pictures"].split()]).mean(0)
        near = float(judge.words([word])[0] @ mean / np.linalg.norm(mean))
        assert word == row["word"] and near == pytest.approx(row["similarity"], abs=2e-4)


def test_published_effects_are_the_differences_of_published_means(found):
    for setup in ("white", "pictures"):
        for control, name in DECIDING.items():
            gain = found.value(f"{setup}/similarity/steered") - found.value(f"{setup}/similarity/{control}")
            effect = found.effects[f"gain over {name}, {setup}"]
            assert student(effect.by_unit()).value == pytest.approx(gain, abs=1e-6)
            assert len(effect.values) == found.value("latents")


def test_figures_draw(small):
    found, _ = small
    for figure in FIGURES.values():
        assert figure(found).axes


def test_without_a_judge_of_words_there_is_one_sentence():
    bench = Workbench(load_profile("pocket", scoring_towers=(("self-supervised", "pocket:self_supervised"),)))
    with pytest.raises(UserError, match="no scoring tower is one"):
        run(bench, Findings("similarity", "pocket"))


def test_another_model_is_refused():
    with pytest.raises(UserError, match="pocket world only"):
        run(Workbench(load_profile("paper")), Findings("similarity", "paper"))
