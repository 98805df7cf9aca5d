"""Steering among bad numbers: latents, strengths and directions that are none, and states in half precision."""

import math

import numpy as np
import pytest
import torch
from bad_numbers import AROUND, NOT_FINITE, assert_same, refused
from oracles import steered_states
from random_saes import make_sae
from tiny_vlm import DIM, PROMPTS, TinySae, shared_vlm, tiny_pictures

from vlm_sae_lib.steering import pushed, random_directions, steered
from vlm_sae_lib.steering.intervention import check_latents, decoder_vectors, overwrite, push, sae_width

WHAT = "bad numbers and shapes"
SAE = TinySae()
STATES = torch.randn(2, 5, DIM, generator=torch.Generator().manual_seed(0))
BIG = float(torch.finfo(torch.float32).max)

LATENTS = {
    "below": -1, "beyond": 40, "half": 1.5, "NaN": math.nan, "infinity": math.inf, "a word": "one", "None": None,
    "True": True, "huge": 2**70, "complex": 1j, "a pair": (1, 2),
}  # fmt: skip
STRENGTHS = {
    "NaN": math.nan, "infinity": math.inf, "minus infinity": -math.inf, "beyond float32": 2 * BIG, "a word": "4",
    "None": None, "complex": 1 + 1j, "a list": [4.0], "two": torch.ones(2), "no number": torch.tensor(4.0).to("meta"),
}  # fmt: skip


@pytest.mark.parametrize("name", LATENTS)
def test_a_latent_that_is_none_is_refused(name, tried):
    vlm = shared_vlm()
    assert "latent" in refused(lambda: steered(vlm, SAE, {LATENTS[name]: 4.0}))
    assert "latent" in refused(lambda: pushed(vlm, SAE, torch.ones(DIM), LATENTS[name], 4.0))
    tried(WHAT, 2)


@pytest.mark.parametrize("name", STRENGTHS)
def test_a_strength_that_is_no_number_is_refused(name, tried):
    vlm = shared_vlm()
    assert "strength" in refused(lambda: steered(vlm, SAE, {3: STRENGTHS[name]}))
    assert "strength" in refused(lambda: pushed(vlm, SAE, torch.ones(DIM), 3, STRENGTHS[name]))
    tried(WHAT, 2)


@pytest.mark.parametrize("number", [4, 4.0, np.int64(4), np.float32(4), torch.tensor(4), torch.tensor(4.0)])
def test_a_number_of_any_make_is_one(number, tried):
    checked = check_latents(shared_vlm(), SAE, {number: number})
    assert checked == {4: 4.0} and [*map(type, *checked.items())] == [int, float]
    tried(WHAT)


DIRECTIONS = {
    "zeros": torch.zeros(DIM), "NaN": torch.full((DIM,), math.nan), "infinity": torch.full((DIM,), math.inf),
    "short": torch.ones(DIM - 1), "a row": torch.ones(1, DIM), "words": ["a"] * DIM, "complex": torch.ones(DIM) * 1j,
    "None": None, "no numbers": torch.ones(DIM).to("meta"), "of infinite length": torch.full((DIM,), BIG),
}  # fmt: skip


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_direction_that_points_nowhere_is_refused(name, tried):
    assert "direction" in refused(lambda: pushed(shared_vlm(), SAE, DIRECTIONS[name], 3, 4.0))
    tried(WHAT)


def test_a_direction_of_any_make_points_the_same_way(tried):
    vlm, picture, direction = shared_vlm(), tiny_pictures(1)[0], torch.arange(DIM).float()

    def states(direction):
        with pushed(vlm, SAE, direction, 3, 4.0):
            return vlm.states([picture])

    expected = states(direction)
    for form in (direction.numpy(), direction.double(), direction.numpy().tolist(), direction.clone().requires_grad_(),
                 direction.to(torch.bfloat16), direction.int()):  # fmt: skip
        assert_same(states(form), expected, 1e-4, 1e-4)
        tried(WHAT)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("keep_error", [False, True])
def test_what_is_switched_around_an_edit_changes_nothing(around, keep_error, tried):
    sae, latents = make_sae("relu", dim=DIM, width=40), {1: 2.5, 7: -1.0}
    expected = steered_states(STATES, sae.encode, sae.decode, latents, keep_error)
    along = torch.arange(DIM).float()
    moved = push(sae, STATES, along, 1, 2.5, keep_error=keep_error)
    with AROUND[around]():
        found = overwrite(sae, STATES, latents, keep_error=keep_error)
        assert_same(push(sae, STATES, along, 1, 2.5, keep_error=keep_error), moved, 1e-4, 1e-4)
        vectors, width, drawn = decoder_vectors(sae, [1, 7]), sae_width(sae), random_directions(3, DIM, 0)
    assert_same(found, expected, 1e-4, 1e-4)
    assert_same(vectors, sae.w_dec[[1, 7]], 1e-4, 1e-4)
    assert width == DIM
    assert_same(drawn, random_directions(3, DIM, 0), 0, 0)
    tried(WHAT)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_states_come_back_in_their_own_type(dtype, tried):
    sae = make_sae("relu", dim=DIM, width=40)
    states = STATES.to(dtype)
    found = overwrite(sae, states, {1: 2.5})
    assert found.dtype == dtype
    assert_same(found.float(), overwrite(sae, states.float(), {1: 2.5}), 1e-2, 2e-2)
    tried(WHAT)


NO_STATES = {
    "whole": STATES.int(), "truths": STATES > 0, "complex": STATES * 1j, "no numbers": STATES.to("meta"),
    "narrow": STATES[..., :-1], "an array": STATES.numpy(), "None": None,
}  # fmt: skip


@pytest.mark.parametrize("name", NO_STATES)
def test_states_that_cannot_be_edited_are_refused(name, tried):
    states = NO_STATES[name]
    sae = make_sae("relu", dim=DIM, width=40)
    assert refused(lambda: overwrite(sae, states, {1: 2.5}))
    assert refused(lambda: push(sae, states, torch.ones(DIM), 1, 2.5))
    tried(WHAT, 2)


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("keep_error", [False, True])
def test_a_token_that_is_not_finite_changes_no_other(value, keep_error, tried):
    sae = make_sae("batch_top_k", dim=DIM, width=40)
    wrong = STATES.clone()
    wrong[1, 2, 3] = value
    for edit in (lambda x: overwrite(sae, x, {1: 2.5}, keep_error=keep_error),
                 lambda x: push(sae, x, torch.ones(DIM), 1, 2.5, keep_error=keep_error)):  # fmt: skip
        found, right = edit(wrong), edit(STATES)
        assert not torch.isfinite(found[1, 2]).all()
        found[1, 2] = right[1, 2] = 0
        assert_same(found, right)
        tried(WHAT)


@pytest.mark.parametrize("given", [(-1, 3, 0), (1.5, 3, 0), (2, 0, 0), (2, 3, -1), (2, 3, 2**64), (2, math.nan, 0),
                                   ("2", 3, 0)])  # fmt: skip
def test_random_directions_are_as_many_as_a_whole_number(given, tried):
    assert refused(lambda: random_directions(*given))
    tried(WHAT)


def test_leaving_by_an_error_leaves_the_model_as_it_was(tried):
    vlm, picture = shared_vlm(), tiny_pictures(1)[0]
    before = vlm.answer(picture, PROMPTS[0])
    with pytest.raises(ZeroDivisionError), steered(vlm, SAE, {3: BIG}):
        vlm.answer(picture, PROMPTS[0])
        raise ZeroDivisionError
    assert vlm.answer(picture, PROMPTS[0]) == before
    tried(WHAT)
