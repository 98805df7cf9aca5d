"""Insertion and suppression: equal tries, verdicts that follow the numbers, and published rates made again slowly."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from vlm_sae_lib import Workbench, load_profile
from vlm_sae_lib.claims.diff_mean import conclude
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.experiments import running
from vlm_sae_lib.experiments.diff_mean import (
    DIFF_MEAN,
    METHODS,
    RANDOM,
    SAE,
    SAE_KEPT,
    make_tries,
    on_curve,
    train_contrasts,
    with_contrast,
)
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.pocket.language import QUESTIONS
from vlm_sae_lib.show.experiments.diff_mean import FIGURES
from vlm_sae_lib.steering import steered
from vlm_sae_lib.steering.diff_mean import Contrast, Erasure

TASKS = ("insertion", "suppression")


@pytest.fixture(scope="module")
def found():
    return Findings.read(running.published("diff_mean"))


@pytest.fixture
def toy():
    candidates = pd.DataFrame(
        [("colour", "red", k, 10 + k, 2.0) for k in range(3)] + [("order", "oak", k, 20 + k, 1.0) for k in range(3)],
        columns=["about", "concept", "rank", "latent", "maximum"],
    )
    draw = torch.Generator().manual_seed(0)
    pairs = {c: Contrast(*torch.randn(2, 8, generator=draw)) for c in (("colour", "red"), ("order", "oak"))}
    return candidates, pairs


@pytest.mark.parametrize("task", TASKS)
def test_every_method_that_chooses_has_as_many_tries_and_as_many_points_on_the_curve(toy, task):
    tries = make_tries(task, *toy, seed=0)
    count = pd.Series([(t.method, t.concept) for t in tries]).value_counts()
    assert {count[m, c] for m in (SAE, SAE_KEPT, DIFF_MEAN, RANDOM) for c in ("red", "oak")} == {15}
    settings = [next(t for t in tries if (t.method, t.concept) == (m, c)) for m in METHODS for c in ("red", "oak")]
    points = pd.Series([(t.method, t.concept) for t in on_curve(tries, settings)]).value_counts()
    assert set(points) == {5} and len(points) == 8


def test_a_random_direction_is_as_long_as_the_difference_of_means(toy):
    for task in TASKS:
        tries = [t for t in make_tries(task, *toy, seed=0) if t.concept == "red"]
        first = {m: next(t.intervention for t in tries if t.method == m) for m in (DIFF_MEAN, RANDOM)}
        ways = [(w.contrast if isinstance(w, Erasure) else w).direction for w in first.values()]
        assert float(ways[0].norm()) == pytest.approx(float(ways[1].norm()), rel=1e-4)
        assert abs(float(ways[0] @ ways[1])) < 0.99 * float(ways[0].norm()) ** 2


def test_another_sample_takes_the_place_of_the_contrast_only(toy):
    _, pairs = toy
    move, other = Erasure(pairs["colour", "red"], 2.0), pairs["order", "oak"]
    assert with_contrast(move, other).contrast is other and with_contrast(move, other).strength == 2.0


@pytest.mark.parametrize("task", TASKS)
def test_published_means_are_those_of_the_published_concepts(found, task):
    rates = found.frame(f"{task} by concept")
    for method in METHODS:
        own = rates[rates["method"] == method]
        assert found.value(f"{task}/success/{method}") == pytest.approx(own["success"].mean(), abs=1e-4)
    gap = found.value(f"{task}/both/{SAE} minus {DIFF_MEAN}")
    both = rates.pivot(index=["about", "concept"], columns="method", values="both").dropna(subset=[SAE, DIFF_MEAN])
    assert gap == pytest.approx((both[SAE] - both[DIFF_MEAN]).mean(), abs=1e-4)


def test_a_published_rate_by_the_slow_path(found):
    bench = Workbench(load_profile("pocket"))
    vlm, sae, chosen = bench.vlm(), bench.shown("steering"), found.frame("chosen")
    row = chosen[(chosen["task"] == "suppression") & (chosen["method"] == SAE)].iloc[2]
    rates = found.frame("suppression by concept")
    rates = rates[(rates["method"] == SAE) & (rates["concept"] == row["concept"])].iloc[0]
    test = bench.pictures("test").subset(range(1200))
    shown = test.factors.index[test.factors[row["about"]] == row["concept"]][: int(rates["n"])]
    with steered(vlm, sae, {int(row["latent"]): float(row["strength"])}):
        said = [vlm.answer(test.picture(int(i)), QUESTIONS[row["about"]], max_new_tokens=1) for i in shown]
    assert len(shown) == rates["n"]
    assert sum(word != row["concept"] for word in said) / len(said) == pytest.approx(rates["success"], abs=1e-4)


def test_a_changed_number_changes_the_verdict(found):
    other = copy.deepcopy(found)
    names = [f"insertion/both/{m} minus {DIFF_MEAN}" for m in (SAE, SAE_KEPT)]
    for lows, verdict in (((0.1, 0.1), Verdict.HOLDS), ((0.1, -0.1), Verdict.IN_PART), ((-0.1, -0.1), Verdict.FAILS)):
        for name, low in zip(names, lows, strict=True):
            other.results[name] |= {"value": 0.2, "ci_low": low, "ci_high": 0.3}
        assert conclude(other)[1].verdict is verdict
    assert all(line.rests_on and set(line.rests_on) <= set(found.results) for line in conclude(found))


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


def test_settings_are_chosen_anew_for_each_kind_of_error(toy):
    tries = make_tries("insertion", *toy, seed=0)
    kept = [replace(t, method=SAE) for t in tries if t.method == SAE_KEPT]
    dropped = [t for t in tries if t.method == SAE]
    assert sorted(kept, key=repr) == sorted(dropped, key=repr)
