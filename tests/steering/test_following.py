"""Scores that gradients can follow, attributions, swaps and learned edits, on a tiny model."""

import pytest
import torch
from tiny_vlm import DIM, PROMPTS, TinySae, shared_vlm, tiny_pictures

from vlm_sae_lib.steering.attribution import Attribution, attribute, lead_and_rest
from vlm_sae_lib.steering.following import Following, lessons
from vlm_sae_lib.steering.learned import Direction, LatentChange, Learned, RankOne, learn
from vlm_sae_lib.steering.swaps import Swap, choose_swap
from vlm_sae_lib.steering.sweep import UNSTEERED, SteeringBench

WORD = "fern"


@pytest.fixture(scope="module")
def taught():
    return lessons(shared_vlm(), tiny_pictures(6), PROMPTS, WORD)


def test_scores_are_those_of_the_sweep_and_of_the_model_and_carry_a_gradient(taught):
    vlm, images = shared_vlm(), tiny_pictures(6)
    states = taught.states.clone().requires_grad_()
    scores = Following(vlm, PROMPTS).scores(states)
    bench = SteeringBench(vlm, TinySae(), images, keep_error=True)
    torch.testing.assert_close(scores.detach(), bench.logits(UNSTEERED, PROMPTS), rtol=0, atol=1e-4)
    torch.testing.assert_close(scores[2, 1].detach(), vlm.logits(images[2], PROMPTS[1]), rtol=0, atol=1e-4)
    (gradient,) = torch.autograd.grad(scores.sum(), states)
    assert gradient[:, 0].abs().max() == 0  # the projector drops the class token
    assert (gradient[:, 1:].abs().amax(-1) > 0).all()


def test_lessons_want_the_concept_and_otherwise_what_is_said_now(taught):
    said = [[shared_vlm().answer(i, p, max_new_tokens=1) for p in PROMPTS] for i in tiny_pictures(6)]
    assert [shared_vlm().decode(row[:, None]) for row in taught.now] == said
    assert shared_vlm().decode(taught.wanted[:, :1]) == [WORD] * 6
    assert torch.equal(taught.wanted[:, 1:], taught.now[:, 1:])


@pytest.mark.parametrize("latent", range(0, TinySae().n_latents, 5))
def test_an_attribution_is_the_finite_difference_of_a_small_part_of_the_change(taught, latent):
    """x + ε (aim − z) d changes the lead and the rest by ε times the attribution; switching off, x − ε z d, too."""
    sae, aims = TinySae(), torch.linspace(0.5, 2, TinySae().n_latents)
    found = attribute(taught, sae, aims, batch_size=4)
    z = sae.encode(taught.states)[..., latent, None]
    vector = sae.decode(torch.eye(sae.n_latents)[latent]) - sae.decode(torch.zeros(sae.n_latents))
    for change, lead, rest in (
        ((aims[latent] - z) * vector, found.on_lead, found.on_rest), (-z * vector, found.off_lead, found.off_rest),
    ):  # fmt: skip
        up, down = (lead_and_rest(taught, taught.states + e * change) for e in (1e-2, -1e-2))
        by_hand = [float((u - d).mean()) / 2e-2 for u, d in zip(up, down, strict=True)]
        assert [float(lead[latent]), float(rest[latent])] == pytest.approx(by_hand, rel=0.05, abs=2e-2)


def test_a_swap_changes_the_named_latents_on_the_tokens_where_the_replaced_fire_and_nothing_else():
    sae = TinySae()
    x = torch.randn(3, 5, DIM, generator=torch.Generator().manual_seed(1))
    z = sae.encode(x)
    off = z.amax((0, 1)).topk(2).indices
    on = torch.tensor([k for k in range(sae.n_latents) if k not in off][:2])
    swap = Swap(sae, on, torch.tensor([2.0, 3.0]), off, strength=0.5)
    wanted = z.clone()
    wanted[..., on] = torch.maximum(z[..., on], torch.tensor([1.0, 1.5]))
    wanted[..., off] = 0
    expected = x + sae.decode(wanted) - sae.decode(z)
    torch.testing.assert_close(swap.edit(x), expected)
    where = Swap(sae, on, torch.tensor([2.0, 3.0]), off, strength=0.5, where_replaced=True).edit(x)
    fires = (z[..., off] > 0).any(-1)
    assert 0 < fires.sum() < fires.numel()
    torch.testing.assert_close(where[fires], expected[fires])
    assert torch.equal(where[~fires], x[~fires])


def test_a_swap_of_nothing_leaves_the_states_as_they_are():
    none = torch.empty(0, dtype=torch.long)
    x = torch.randn(2, 5, DIM, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(Swap(TinySae(), none, torch.empty(0), none, 1.0).edit(x), x)
    nowhere = Swap(TinySae(), torch.tensor([1]), torch.ones(1), none, 1.0, where_replaced=True)
    assert torch.equal(nowhere.edit(x), x)


def test_latents_are_switched_on_by_their_attribution_and_off_only_where_it_helps():
    found = Attribution(
        torch.tensor([9.0, 3, 2, 1, 0, 0]), torch.tensor([9.0, 0, 2, 4, -1, 5]), torch.tensor([0.0, 0, 2, 0, 0, 0]),
        torch.tensor([0.0, 0, 0, 0, 0, -9]),
    )  # fmt: skip
    on, off = choose_swap(found, live=torch.tensor([1, 2, 3, 4, 5]), number=2)
    assert on.tolist() == [2, 1]  # 0 is not live; 2 helps the rest as well
    assert off.tolist() == [3]  # 5 would break the rest, 4 helps nobody, 2 is on


@pytest.mark.parametrize("make", [lambda: LatentChange(TinySae()), lambda: Direction(DIM), lambda: RankOne(DIM, 0)])
def test_what_is_learned_lowers_the_loss_is_the_same_again_and_does_nothing_at_strength_zero(taught, make):
    def loss(change):
        scores = taught.follow.scores(Learned(change).edit(taught.states))
        return float(torch.nn.functional.cross_entropy(scores.flatten(0, 1), taught.wanted.flatten()))

    first, second = make(), make()
    before = loss(first)
    learn(first, taught, steps=25, batch=4, seed=0)
    learn(second, taught, steps=25, batch=4, seed=0)
    assert loss(first) < before - 0.1
    edited = Learned(first).edit(taught.states)
    assert torch.equal(edited, Learned(second).edit(taught.states))
    assert torch.equal(Learned(first, 0.0).edit(taught.states), taught.states)
    half = Learned(first, 0.5).edit(taught.states) - taught.states
    torch.testing.assert_close(2 * half, edited - taught.states, rtol=1e-4, atol=1e-4)


def test_learned_latents_change_no_latent_but_those_named():
    sae, among = TinySae(), torch.tensor([1, 4])
    change = LatentChange(sae, among)
    with torch.no_grad():
        change.kept.copy_(torch.tensor([0.0, -1.0]))
        change.raised.copy_(torch.tensor([1.0, -1.0]))
    x = torch.randn(2, 3, DIM, generator=torch.Generator().manual_seed(3))
    z = sae.encode(x)
    new = z.clone()
    new[..., 1], new[..., 4] = change.UNIT, 0  # latent 4 can be neither raised nor kept below zero
    torch.testing.assert_close(x + change(x).detach(), x + sae.decode(new) - sae.decode(z))


def test_a_model_that_is_asked_by_gradients_is_not_changed(taught):
    vlm = shared_vlm()
    before = vlm.weights_hash
    learn(Direction(DIM), taught, steps=2, batch=4, seed=0)
    vlm.__dict__.pop("weights_hash")
    assert vlm.weights_hash == before and all(p.grad is None for p in vlm.model.parameters())
