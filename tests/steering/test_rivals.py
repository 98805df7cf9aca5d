"""Latents, the difference of means and random directions: equal tries, equal lengths, equal points on the curve."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from tiny_vlm import TinySae, shared_vlm, tiny_pictures

from vlm_sae_lib.steering.diff_mean import Contrast, Erasure
from vlm_sae_lib.steering.rivals import (
    CHOOSING,
    METHODS,
    RANDOM,
    RANDOM_KEPT,
    SAE,
    SAE_KEPT,
    make_tries,
    on_curve,
    with_contrast,
)
from vlm_sae_lib.steering.sweep import UNSTEERED, SteeringBench

TASKS = ("insertion", "suppression")
CONCEPTS = (("colour", "red"), ("order", "oak"))


@pytest.fixture
def toy():
    rows = [(*c, k, 10 * i + k, 2.0 - i) for i, c in enumerate(CONCEPTS) for k in range(3)]
    candidates = pd.DataFrame(rows, columns=["about", "concept", "rank", "latent", "maximum"])
    draw = torch.Generator().manual_seed(0)
    return candidates, {c: Contrast(*torch.randn(2, shared_vlm().dim, generator=draw)) for c in CONCEPTS}


@pytest.mark.parametrize("task", TASKS)
def test_every_method_that_chooses_has_as_many_tries_and_as_many_points_on_the_curve(toy, task):
    tries = make_tries(task, *toy, seed=0)
    count = pd.Series([(t.method, t.concept) for t in tries]).value_counts()
    assert {count[m, c] for m in CHOOSING for c in ("red", "oak")} == {15}
    settings = [next(t for t in tries if (t.method, t.concept) == (m, c)) for m in METHODS for c in ("red", "oak")]
    points = pd.Series([(t.method, t.concept) for t in on_curve(tries, settings)]).value_counts()
    assert set(points) == {5} and len(points) == 2 * len(CHOOSING)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("latent", "random", "kept"), [(SAE, RANDOM, False), (SAE_KEPT, RANDOM_KEPT, True)])
def test_random_directions_are_as_many_as_candidates_and_push_as_far_as_the_latent_they_stand_in_for(
    toy, task, latent, random, kept
):
    tries = [t for t in make_tries(task, *toy, seed=0) if t.concept == "red"]
    own, others = ([t for t in tries if t.method == m] for m in (latent, random))
    assert len({t.intervention.direction_seed for t in others} - {None}) == len({t.intervention.latent for t in own})
    bench = SteeringBench(shared_vlm(), TinySae(), tiny_pictures(2), keep_error=kept)
    start = bench.states(UNSTEERED)
    for true, control in zip(own, others, strict=True):
        moves = [bench.states(t.intervention) - start for t in (true, control)]
        lengths = [move.norm(dim=-1) for move in moves]
        assert torch.allclose(*lengths, rtol=1e-3, atol=1e-4)
        pushed = lengths[0] > 1e-2
        aligned = torch.cosine_similarity(*moves, dim=-1)[pushed].abs()
        assert not len(aligned) or float(aligned.max()) < 0.99


def test_the_directions_are_those_of_the_seed_and_another_for_every_concept(toy):
    tries, again, other = (make_tries("insertion", *toy, seed=seed) for seed in (0, 0, 1))
    seeds = [[t.intervention.direction_seed for t in part if t.method == RANDOM] for part in (tries, again, other)]
    assert seeds[0] == seeds[1] != seeds[2] and len(set(seeds[0])) == 6


def test_another_sample_takes_the_place_of_the_contrast_only(toy):
    _, pairs = toy
    move, other = Erasure(pairs["colour", "red"], 2.0), pairs["order", "oak"]
    assert with_contrast(move, other).contrast is other and with_contrast(move, other).strength == 2.0


def test_settings_are_chosen_anew_for_each_kind_of_error(toy):
    tries = make_tries("insertion", *toy, seed=0)
    for dropping, keeping in ((SAE, SAE_KEPT), (RANDOM, RANDOM_KEPT)):
        kept = [replace(t, method=dropping) for t in tries if t.method == keeping]
        dropped = [t for t in tries if t.method == dropping]
        assert sorted(kept, key=repr) == sorted(dropped, key=repr)
