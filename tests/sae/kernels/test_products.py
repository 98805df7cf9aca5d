"""The sparse kernels against the losses written out and differentiated by autograd."""

import numpy as np
import pytest
import torch
from active_pairs import flat

from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.sae.kernels import products
from vlm_sae_lib.sae.kernels.active import above_active, batch_top_k_active, per_sample_top_k_active
from vlm_sae_lib.sae.selection import batch_top_k, batch_top_k_cut, per_sample_top_k
from vlm_sae_lib.sae.training.initialise import Weights, geometric_median, initial_weights
from vlm_sae_lib.sae.training.losses import (
    auxiliary_loss,
    matryoshka_loss,
    prefix_reconstructions,
    training_latents,
    training_loss,
)

DIM, WIDTH, BATCH = 12, 40, 30


def random_weights(seed: int = 0, width: int = WIDTH) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(BATCH, DIM, generator=generator)
    weights = initial_weights(x, width, seed)
    weights.encoder += 0.1 * torch.randn(width, DIM, generator=generator)
    weights.encoder_bias += 0.1 * torch.randn(width, generator=generator)
    for parameter in weights.named().values():
        parameter.requires_grad_(True)
    return weights


def batch(seed: int = 1, rows: int = BATCH) -> torch.Tensor:
    return torch.randn(rows, DIM, generator=torch.Generator().manual_seed(seed))


def oracle_gradients(weights, x, config, groups, dead, k_aux):
    pre = weights.pre_activations(x)
    loss = training_loss(x, pre, training_latents(pre, config), weights, config, groups, dead, k_aux)
    for parameter in weights.named().values():
        parameter.grad = None
    loss.total.backward()
    return loss, {name: parameter.grad.clone() for name, parameter in weights.named().items()}


def kernel_gradients(weights, x, config, groups, dead, k_aux):
    with torch.no_grad():
        pre = weights.pre_activations(x)
    choose = per_sample_top_k_active if config.kind == "top_k" else batch_top_k_active
    active = choose(pre, config.k)
    loss = products.write_gradients(weights, x, pre, active, groups, dead, k_aux, config.aux_coefficient)
    return loss, {name: parameter.grad.clone() for name, parameter in weights.named().items()}


@pytest.mark.parametrize("kind", ["matryoshka_batch_top_k", "batch_top_k", "top_k"])
@pytest.mark.parametrize("dead_share", [0.0, 0.2, 0.6])
@pytest.mark.parametrize("few", [products.FEW_DEAD, 0])
def test_gradients_agree_with_autograd(kind, dead_share, few, monkeypatch):
    monkeypatch.setattr(products, "FEW_DEAD", few)  # both ways to revive the dead
    weights, x = random_weights(), batch()
    config = SaeConfig(kind=kind, k=4, aux_coefficient=0.5)
    groups = (2, 5, 0, 33) if kind == "matryoshka_batch_top_k" else (WIDTH,)
    dead = torch.arange(WIDTH) < dead_share * WIDTH
    expected_loss, expected = oracle_gradients(weights, x, config, groups, dead, 6)
    loss, found = kernel_gradients(weights, x, config, groups, dead, 6)
    assert loss.reconstruction == pytest.approx(expected_loss.reconstruction.item(), rel=1e-5)
    assert loss.auxiliary == pytest.approx(expected_loss.auxiliary.item(), rel=1e-5)
    assert (loss.auxiliary > 0) == (dead_share > 0)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-5, msg=name)
        assert gradient.abs().max() > 1e-3, name


@pytest.mark.parametrize("rows", [1, 2])
def test_gradients_agree_on_very_few_rows(rows):
    weights, x, config = random_weights(), batch(rows=rows), SaeConfig(k=3)
    dead = torch.arange(WIDTH) < 10
    _, expected = oracle_gradients(weights, x, config, (10, 30), dead, 6)
    _, found = kernel_gradients(weights, x, config, (10, 30), dead, 6)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-5, msg=name)


def test_gradients_without_any_active_pair():
    weights, x, config = random_weights(), batch(), SaeConfig(k=3, kind="batch_top_k")
    with torch.no_grad():
        weights.encoder_bias -= 100
    dead = torch.zeros(WIDTH, dtype=torch.bool)
    _, expected = oracle_gradients(weights, x, config, (WIDTH,), dead, 6)
    _, found = kernel_gradients(weights, x, config, (WIDTH,), dead, 6)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-5, msg=name)
    assert found["decoder_bias"].abs().max() > 0


@pytest.mark.parametrize("guess", [0.0, 0.05, 0.5, 1e9])
def test_the_guess_never_changes_the_selection(guess):
    pre = batch(2) @ torch.randn(DIM, WIDTH, generator=torch.Generator().manual_seed(3))
    active = batch_top_k_active(pre, 4, guess)
    kept = batch_top_k(torch.relu(pre), 4)
    assert (flat(active) == kept.flatten().nonzero().flatten().numpy()).all()
    torch.testing.assert_close(active.values, kept[kept > 0])
    assert (active.fired() == (kept > 0).any(dim=0)).all()


@pytest.mark.parametrize("cut", [-5.0, 0.0, 0.7, 5.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (30, 1), (30, 41)])
def test_what_exceeds_a_cut_by_sample_and_by_latent(cut, shape):
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    latents[::3] = cut  # equal is not above, and such samples have no pair
    found, exceeds = above_active(latents, cut), latents > np.float32(cut)
    assert flat(found).tolist() == exceeds.flatten().nonzero().flatten().tolist()
    assert torch.equal(found.values, latents[exceeds])
    assert found.bounds.tolist() == [0, *exceeds.sum(dim=1).cumsum(dim=0).tolist()]
    turned = found.by_latent()
    assert turned.order.tolist() == np.argsort(found.latents, kind="stable").tolist()
    assert turned.samples.tolist() == exceeds.T.nonzero()[:, 1].tolist()
    assert turned.starts.tolist() == [0, *exceeds.sum(dim=0).cumsum(dim=0).tolist()]


def test_gradients_are_written_over_those_of_the_step_before():
    weights, config, dead = random_weights(), SaeConfig(k=3), torch.arange(WIDTH) < 10
    kernel_gradients(weights, batch(8), config, (10, 30), dead, 6)
    held = {name: parameter.grad for name, parameter in weights.named().items()}
    _, found = kernel_gradients(weights, batch(), config, (10, 30), dead, 6)
    assert all(parameter.grad is held[name] for name, parameter in weights.named().items())
    _, expected = oracle_gradients(weights, batch(), config, (10, 30), dead, 6)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-5, msg=name)


def test_batch_top_k_is_the_sorted_definition():
    latents = torch.relu(batch(4))
    kept = batch_top_k(latents, 3)
    largest = latents.flatten().sort(descending=True).values[: 3 * BATCH]
    assert torch.equal(kept[kept > 0].sort(descending=True).values, largest)
    assert batch_top_k_cut(latents, 3) == float(largest[-1])


def test_ties_at_the_cut_keep_exactly_k_per_sample_on_average():
    latents = torch.ones(4, 10)
    assert int((batch_top_k(latents, 3) > 0).sum()) == 12
    active = batch_top_k_active(latents, 3)
    assert flat(active).tolist() == list(range(12))


def test_k_equal_to_the_width_is_relu():
    positive = torch.relu(batch())
    assert torch.equal(batch_top_k(positive, DIM), positive)
    assert torch.equal(per_sample_top_k(positive, DIM), positive)
    assert flat(batch_top_k_active(batch(), DIM)).tolist() == positive.flatten().nonzero().flatten().tolist()


def test_per_sample_top_k_keeps_k_of_each_sample():
    latents = batch().abs()
    kept = per_sample_top_k(latents.reshape(5, 6, DIM), 4)
    assert ((kept > 0).sum(dim=-1) == 4).all()
    assert kept.sum() == pytest.approx(float(latents.sort(dim=1).values[:, -4:].sum()), rel=1e-5)


def test_matryoshka_loss_weights_each_prefix_by_one_over_g_and_averages():
    weights, x, groups = random_weights(), batch(), (2, 5, 10, 23)
    latents = batch_top_k(torch.relu(weights.pre_activations(x)), 4)
    prefixes = prefix_reconstructions(latents, weights, groups)
    by_hand, edges = 0.0, np.cumsum(groups)
    for prefix, edge in zip(prefixes, edges, strict=True):
        direct = latents[:, :edge] @ weights.decoder[:edge] + weights.decoder_bias
        torch.testing.assert_close(prefix, direct, rtol=1e-5, atol=1e-5)
        by_hand += (x - direct).pow(2).sum(dim=1).mean().item() / 4
    assert float(matryoshka_loss(prefixes, x)) == pytest.approx(by_hand / 4, rel=1e-5)


def test_one_matryoshka_level_is_batch_top_k():
    weights, x = random_weights(), batch()
    none_dead = torch.zeros(WIDTH, dtype=torch.bool)
    one = SaeConfig(kind="matryoshka_batch_top_k", group_fractions=(1.0,), k=4)
    assert one.group_sizes(10) == (40,)
    plain = SaeConfig(kind="batch_top_k", k=4)
    for gradients in (oracle_gradients, kernel_gradients):
        loss, found = gradients(weights, x, one, (WIDTH,), none_dead, 6)
        expected_loss, expected = gradients(weights, x, plain, (WIDTH,), none_dead, 6)
        assert float(loss.reconstruction) == float(expected_loss.reconstruction)
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_auxiliary_loss_by_hand():
    weights, x = random_weights(), batch()
    pre, residual = weights.pre_activations(x).detach(), batch(7)
    dead = torch.arange(WIDTH) % 3 == 0
    found = auxiliary_loss(pre, residual, weights, dead, 2)
    numbers = dead.nonzero().flatten().tolist()
    estimate = torch.zeros_like(x)
    for row in range(BATCH):
        for latent in sorted(numbers, key=lambda i: -float(pre[row, i]))[:2]:
            estimate[row] += max(float(pre[row, latent]), 0.0) * weights.decoder[latent].detach()
    expected = (residual - estimate).pow(2).mean() / (residual - residual.mean(dim=0)).pow(2).mean()
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_auxiliary_loss_is_zero_without_dead_latents_or_variance():
    weights, x = random_weights(), batch()
    pre, dead = weights.pre_activations(x), torch.arange(WIDTH) < 5
    assert float(auxiliary_loss(pre, x, weights, torch.zeros_like(dead), 2)) == 0
    assert float(auxiliary_loss(pre, torch.ones_like(x), weights, dead, 2)) == 0


def test_jump_relu_threshold_gradient_is_the_rectangle():
    config = SaeConfig(kind="jump_relu", bandwidth=0.5, k=2)
    pre = torch.tensor([[0.9, 1.1, 1.4, 3.0]], requires_grad=True)
    threshold = torch.full((4,), 1.0, requires_grad=True)
    latents = training_latents(pre, config, threshold)
    assert latents.tolist() == [[0, pytest.approx(1.1), pytest.approx(1.4), 3.0]]
    latents.sum().backward()
    assert pre.grad.tolist() == [[0, 1, 1, 1]]
    assert threshold.grad.tolist() == [-2, -2, 0, 0]  # −θ/ε inside |h − θ| < ε/2, 0 outside


def test_geometric_median_beats_its_neighbours_and_stands_duplicates():
    points = torch.cat([batch(), 50 + batch(5, 3)])

    def spread(centre):
        return float((points - centre).norm(dim=1).mean())

    median = geometric_median(points, iterations=1000, tolerance=1e-9)
    for seed in range(20):
        assert spread(median) <= spread(median + 0.1 * batch(seed, 1)) + 1e-6
    assert spread(median) < spread(points.mean(dim=0))
    assert torch.equal(geometric_median(torch.ones(5, 3)), torch.ones(3))
    assert torch.isfinite(geometric_median(torch.tensor([[0.0], [0.0], [0.0], [1.0]]))).all()


def test_initial_weights_are_unit_and_tied():
    weights = initial_weights(batch(), WIDTH, seed=3)
    torch.testing.assert_close(weights.decoder.norm(dim=1), torch.ones(WIDTH))
    assert torch.equal(weights.encoder, weights.decoder) and weights.encoder is not weights.decoder
    assert not weights.encoder_bias.any()
    assert not torch.equal(weights.decoder, initial_weights(batch(), WIDTH, seed=4).decoder)


SIZES = [(1, 1), (7, 3), (8, 8), (9, 1), (64, 7), (65, 8), (200, 24), (200, 25), (200, 300)]


@pytest.mark.parametrize("width, k", SIZES)
@pytest.mark.parametrize("values", ["normal", "ties", "few positive", "none positive", "one huge group"])
def test_the_largest_of_each_sample_are_those_of_a_plain_sort(width, k, values):
    rng = np.random.default_rng(width * 1000 + k)
    pre = rng.normal(size=(17, width)).astype(np.float32)
    if values == "ties":
        pre = np.round(pre).astype(np.float32)
    elif values == "few positive":
        pre[rng.random(pre.shape) < 0.95] = -1
        pre[3] = -1
    elif values == "none positive":
        pre = -np.abs(pre)
    elif values == "one huge group":
        pre[:, : max(1, width // 8)] += 100
    active = per_sample_top_k_active(torch.from_numpy(pre), k)
    expected = []
    for sample, row in enumerate(pre):
        largest = sorted(range(width), key=lambda latent: (-row[latent], latent))[:k]
        expected += [sample * width + latent for latent in sorted(largest) if row[latent] > 0]
    assert flat(active).tolist() == expected
    assert active.values.tolist() == pre.ravel()[expected].tolist()
