"""Insertion and suppression: equal tries, verdicts that follow the numbers, and published rates made again slowly."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from vlm_sae_lib import Workbench, load_profile
from vlm_sae_lib.claims.diff_mean import observe
from vlm_sae_lib.experiments import diff_mean, running
from vlm_sae_lib.experiments.diff_mean import DIFFERENCES, Size, train_contrasts
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.pocket.language import QUESTIONS
from vlm_sae_lib.show.experiments.diff_mean import FIGURES
from vlm_sae_lib.statistics.intervals import student
from vlm_sae_lib.steering import steered
from vlm_sae_lib.steering.rivals import CHOOSING, DIFF_MEAN, METHODS, SAE

TASKS = ("insertion", "suppression")


@pytest.fixture(scope="module")
def found():
    return Findings.read(running.published("diff_mean"))


@pytest.fixture(scope="module")
def toy():
    """Rates of every method at its chosen setting, on the choosing and on the test pictures, of five concepts."""
    rng = np.random.default_rng(0)
    rows = [
        {"method": method, "about": "colour", "concept": f"c{c}", "repetition": 0, "n": 20}
        | dict(zip(("success", "rest", "both", "choosing_success", "choosing_rate"), rng.random(5), strict=True))
        for method in METHODS for c in range(5)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def recorded(toy):
    found = Findings("diff_mean", "toy")
    for task in TASKS:
        diff_mean._record_differences(found, task, toy)
    return found


@pytest.mark.parametrize("task", TASKS)
def test_effects_are_differences_concept_by_concept(toy, recorded, task):
    rates = {(row.method, row.concept): row.both for row in toy.itertuples()}
    for name, (a, b) in DIFFERENCES.items():
        by_hand = [rates[a, f"c{c}"] - rates[b, f"c{c}"] for c in range(5)]
        effect = recorded.effects[f"{task}: {name}"]
        assert effect.unit == "concept" and effect.n == 5 * 20
        assert effect.by_unit() == pytest.approx(by_hand)
    assert recorded.value(f"effect/{task}: latent minus difference of means") == pytest.approx(
        np.mean([rates[SAE, f"c{c}"] - rates[DIFF_MEAN, f"c{c}"] for c in range(5)])
    )


@pytest.mark.parametrize("task", TASKS)
def test_optimism_is_choosing_minus_test_of_both_and_of_success(toy, recorded, task):
    for method in CHOOSING:
        own = toy[toy["method"] == method]
        for outcome, before in (("both", "choosing_rate"), ("success", "choosing_success")):
            row = recorded.results[f"{task}/optimism of {outcome}/{method}"]
            expected = student(own[before] - own[outcome])
            assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx((expected.value, *expected.interval))
    name = "latent minus difference of means"
    seen = recorded.value(f"{task}/on choosing pictures: {name}")
    assert recorded.value(f"{task}/optimism: {name}") == pytest.approx(seen - recorded.value(f"effect/{task}: {name}"))


def test_settings_are_chosen_on_forty_pictures_at_least():
    """The plan's least number; its concepts are those that so many choosing pictures show."""
    assert Size().n_choosing >= 40


def test_concepts_of_too_few_choosing_pictures_are_left_out_and_counted():
    """Nothing is chosen on fewer pictures than asked for, and the page can say of how many concepts that is so."""
    choosing = pd.DataFrame({"colour": ["red"] * 8 + ["blue"] * 7 + ["grey"] * 5})
    found = Findings("diff_mean", "toy")
    size = Size(kinds=("colour",), n_choosing=7, per_kind=1)
    listed = diff_mean.list_concepts(found, choosing, choosing, size, seed=0)
    assert len(listed) == found.value("concepts") == 1 and set(listed["concept"]) <= {"red", "blue"}
    assert found.value("concepts of enough choosing pictures") == 2
    assert found.value("concepts of too few choosing pictures") == 1


@pytest.mark.parametrize("task", TASKS)
def test_published_means_are_those_of_the_published_concepts(found, task):
    rates = found.frame(f"{task} by concept")
    for method in METHODS:
        own = rates[rates["method"] == method]
        assert found.value(f"{task}/success/{method}") == pytest.approx(own["success"].mean(), abs=1e-4)
    gap = found.value(f"effect/{task}: latent minus difference of means")
    both = rates.pivot(index=["about", "concept"], columns="method", values="both").dropna(subset=[SAE, DIFF_MEAN])
    assert gap == pytest.approx((both[SAE] - both[DIFF_MEAN]).mean(), abs=1e-4)


def test_a_published_rate_by_the_slow_path(found):
    bench = Workbench(load_profile("pocket"))
    vlm, sae, chosen = bench.vlm(), bench.shown("steering"), found.frame("chosen")
    row = chosen[(chosen["task"] == "suppression") & (chosen["method"] == SAE)].iloc[2]
    rates = found.frame("suppression by concept")
    rates = rates[(rates["method"] == SAE) & (rates["concept"] == row["concept"])].iloc[0]
    test = bench.pictures("test").subset(range(Size().pictures))
    shown = test.factors.index[test.factors[row["about"]] == row["concept"]][: int(rates["n"])]
    with steered(vlm, sae, {int(row["latent"]): float(row["strength"])}):
        said = [vlm.answer(test.picture(int(i)), QUESTIONS[row["about"]], max_new_tokens=1) for i in shown]
    assert len(shown) == rates["n"]
    assert sum(word != row["concept"] for word in said) / len(said) == pytest.approx(rates["success"], abs=1e-4)


def test_observations_rest_on_what_is_published(found):
    lines = observe(found)
    assert len({line.question for line in lines}) == len(lines)
    assert all(line.rests_on and set(line.rests_on) <= set(found.results) for line in lines)


def test_figures_draw(found):
    for figure in FIGURES.values():
        assert figure(found).axes


class Rows:
    """A store of one token a picture."""

    def __init__(self, rows):
        self.rows, self.image_ids = rows, np.arange(len(rows))

    def __getitem__(self, key):
        return self.rows[key]


def test_means_are_of_the_tower_that_the_model_looks_through():
    """Also where that is none of the profile's blocks, but the model's own tower."""
    asked = []
    rows = np.arange(8, dtype=np.float32).reshape(4, 2)
    factors = pd.DataFrame({"order": ["bird", "bird", "fish", "fish"]})
    bench = SimpleNamespace(
        profile=SimpleNamespace(steering_hook_point=None, steering_tokens="random:2"),
        steering_tower=("its tower", "block_4"),
        activations=lambda split, point, tokens, *, tower: asked.append((point, tower)) or Rows(rows),
        pictures=lambda split: SimpleNamespace(factors=factors),
    )
    found = train_contrasts(bench, pd.DataFrame({"about": ["order"], "concept": ["bird"]}))
    assert asked == [("block_4", "its tower")] and found["order", "bird"].direction.tolist() == [-4.0, -4.0]
