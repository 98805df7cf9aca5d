"""Steering changes the logits, by exactly as much as it says, and leaves no trace."""

import oracles
import pytest
import torch
from tiny_vlm import DIM, PROMPTS, TinySae, shared_vlm, tiny_pictures, tiny_vlm

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.steering.intervention import decoder_vectors, overwrite, push, pushed, random_directions, steered


@pytest.fixture
def image():
    return tiny_pictures(1)[0]


def logits(vlm, image):
    return vlm.logits(image, PROMPTS[0])


@pytest.mark.parametrize("forward_first", [False, True])
def test_logits_change_and_come_back_bit_for_bit(image, forward_first):
    """A hook that comes after transformers' own changes nothing: here it must."""
    vlm, sae = tiny_vlm(), TinySae()
    weights = vlm.weights_hash
    bare = logits(vlm, image) if forward_first else logits(tiny_vlm(), image)
    with steered(vlm, sae, {3: 6.0}):
        assert (logits(vlm, image) - bare).abs().max() > 0.1
        words = vlm.answer(image, PROMPTS[0], max_new_tokens=6)
    assert torch.equal(logits(vlm, image), bare)
    assert vlm.weights_hash == weights
    assert words != vlm.answer(image, PROMPTS[0], max_new_tokens=6)


def test_the_trap_is_real(image):
    """Why no hook is used: a plain one after the first forward does nothing. Red here: the trap is gone."""
    vlm = tiny_vlm()
    bare = logits(vlm, image)
    handle = vlm.block.register_forward_hook(lambda module, arguments, output: output + 5)
    assert torch.equal(logits(vlm, image), bare)
    handle.remove()
    with vlm.edited(lambda x: x + 5):
        assert not torch.allclose(logits(vlm, image), bare)


def test_nothing_of_ours_stays(image):
    vlm = tiny_vlm()
    logits(vlm, image)
    before = dict(vlm.block._forward_hooks)
    with steered(vlm, TinySae(), {0: 1.0}), steered(vlm, TinySae(), {1: 1.0}):
        assert "forward" in vars(vlm.block)
    assert dict(vlm.block._forward_hooks) == before and "forward" not in vars(vlm.block)


def test_an_exception_inside_leaves_the_model_as_it_was(image):
    vlm = shared_vlm()
    bare = logits(vlm, image)
    with pytest.raises(KeyError), steered(vlm, TinySae(), {3: 6.0}):
        raise KeyError("inside")
    assert torch.equal(logits(vlm, image), bare)


def test_an_identity_edit_leaves_the_output_bit_for_bit(image):
    vlm = shared_vlm()
    bare = logits(vlm, image)
    with vlm.edited(lambda x: x):
        assert torch.equal(logits(vlm, image), bare)


def test_nothing_steered_with_the_error_kept_is_the_bare_model(image):
    vlm, sae = shared_vlm(), TinySae()
    bare = logits(vlm, image)
    with steered(vlm, sae, {}, keep_error=True):
        assert (logits(vlm, image) - bare).abs().max() < 1e-4
    with steered(vlm, sae, {}):
        assert (logits(vlm, image) - bare).abs().max() > 1e-2  # the SAE in place does cost something


def test_the_hook_fires_once_per_answer():
    vlm, calls = shared_vlm(), []
    with vlm.edited(lambda x: calls.append(tuple(x.shape)) or x):
        assert vlm.answer(tiny_pictures(1)[0], PROMPTS[0], max_new_tokens=6).count(" ") > 0  # several steps
    assert calls == [(1, vlm.tower_tokens, vlm.dim)]  # at prefill only, CLS with the rest


@pytest.mark.parametrize("keep_error", [False, True])
def test_overwriting_is_equation_10_on_every_token(keep_error):
    vlm, sae = shared_vlm(), TinySae()
    x = vlm.states(tiny_pictures(2))
    for latents in ({}, {3: 2.5}, {3: -4.0, 7: 0.0}):
        slow = oracles.steered_states(x, sae.encode, sae.decode, latents, keep_error)
        torch.testing.assert_close(overwrite(sae, x, latents, keep_error=keep_error), slow, rtol=0, atol=1e-5)
    z = sae.encode(overwrite(sae, x, {3: 2.5}, zero_others=True))
    torch.testing.assert_close(
        overwrite(sae, x, {3: 2.5}, zero_others=True), (sae.decode(torch.eye(40)[3] * 2.5)).expand_as(x)
    )
    assert z.shape == (2, 17, 40)


def test_nested_edits_follow_each_other(image):
    vlm, sae = shared_vlm(), TinySae()
    x = vlm.states([image])
    expected = overwrite(sae, overwrite(sae, x, {3: 5.0}), {4: 2.0})
    seen = []
    with steered(vlm, sae, {3: 5.0}), steered(vlm, sae, {4: 2.0}), vlm.edited(lambda y: seen.append(y) or y):
        logits(vlm, image)
        assert torch.equal(vlm.states([image]), x)  # states are the model's own, edits or not
    assert torch.equal(seen[0], expected)


@pytest.mark.parametrize("keep_error", [False, True])
def test_a_push_moves_each_token_as_far_as_steering_would(keep_error):
    vlm, sae = shared_vlm(), TinySae()
    x = vlm.states(tiny_pictures(3))
    direction = random_directions(1, DIM, seed=5)[0] * 7  # its length must not matter
    start = overwrite(sae, x, {}, keep_error=keep_error)
    steer = overwrite(sae, x, {3: -2.5}, keep_error=keep_error) - start
    moved = push(sae, x, direction, 3, -2.5, keep_error=keep_error) - start
    torch.testing.assert_close(moved.norm(dim=-1), steer.norm(dim=-1), rtol=1e-4, atol=1e-5)
    cosine = torch.nn.functional.cosine_similarity(moved, direction.expand_as(moved), dim=-1)
    torch.testing.assert_close(cosine, torch.ones_like(cosine))
    bare = logits(vlm, tiny_pictures(1)[0])
    with pushed(vlm, sae, direction, 3, -2.5, keep_error=keep_error):
        assert not torch.allclose(logits(vlm, tiny_pictures(1)[0]), bare)


def test_decoder_vectors_are_what_one_unit_adds():
    sae = TinySae()
    torch.testing.assert_close(decoder_vectors(sae, [2, 5]), sae.W_dec[[2, 5]] / 10, rtol=0, atol=1e-6)


def test_random_directions_are_unit_uniform_and_seeded():
    many = random_directions(4000, 8, seed=1)
    torch.testing.assert_close(many.norm(dim=1), torch.ones(4000))
    assert torch.equal(many, random_directions(4000, 8, seed=1))
    assert not torch.equal(many, random_directions(4000, 8, seed=2))
    assert many.mean(0).abs().max() < 0.03
    torch.testing.assert_close(many.T @ many / 4000, torch.eye(8) / 8, rtol=0, atol=0.01)


def test_half_precision_states_come_back_in_half_precision():
    x = shared_vlm().states(tiny_pictures(1)).bfloat16()
    assert overwrite(TinySae(), x, {3: 1.0}).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("latents", "hint"), [({40: 1.0}, "latents 0 to 39"), ({-1: 1.0}, "no latent -1"), ({1.5: 1.0}, "no latent"),
                          ({True: 1.0}, "no latent"), ({3: float("nan")}, "finite"), ({3: float("inf")}, "finite")],
)  # fmt: skip
def test_impossible_latents_are_refused_before_anything_happens(latents, hint):
    with pytest.raises(UserError, match=hint):
        steered(shared_vlm(), TinySae(), latents)


def test_an_sae_of_another_width_and_a_bad_direction_are_refused():
    vlm = shared_vlm()
    with pytest.raises(UserError, match="width 48.*block_2.*width 32"):
        steered(vlm, TinySae(dim=48), {})
    for direction in (torch.zeros(DIM), torch.ones(DIM + 1)):
        with pytest.raises(UserError, match="direction"):
            pushed(vlm, TinySae(), direction, 3, 1.0)
