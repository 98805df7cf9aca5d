"""Training for monosemanticity: the loss against its pairs, the kernel against autograd, and whole runs."""

import dataclasses

import numpy as np
import oracles
import pytest
import torch

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import KINDS, SaeConfig, SparseAutoencoder
from vlm_sae_lib.sae.kernels import products
from vlm_sae_lib.sae.kernels.active import batch_top_k_active, per_sample_top_k_active
from vlm_sae_lib.sae.training import train_sae, train_saes
from vlm_sae_lib.sae.training.initialise import initial_weights
from vlm_sae_lib.sae.training.learner import Learner
from vlm_sae_lib.sae.training.losses import monosemanticity_loss, training_latents, training_loss
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score

DIM, WIDTH, BATCH = 10, 12, 16


def batch(seed: int = 1, rows: int = BATCH) -> torch.Tensor:
    return torch.randn(rows, DIM, generator=torch.Generator().manual_seed(seed)) + 0.5


def some_latents(seed: int = 2, rows: int = BATCH) -> torch.Tensor:
    """Sparse columns; one dead, one on one sample, one on two, one on all of them, one constant."""
    latents = torch.relu(torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(seed)))
    latents[:, 0] = 0
    latents[:, 1] = torch.eye(rows)[0]
    latents[:, 2] = torch.eye(rows)[0] + 0.3 * torch.eye(rows)[1]
    latents[:, 3] = 0.2 + latents[:, 3]
    latents[:, 4] = 0.7
    return latents


def oracle(latents: torch.Tensor, x: torch.Tensor) -> tuple[float, torch.Tensor]:
    latents = latents.double().requires_grad_(True)
    loss = oracles.monosemanticity_loss(latents, x.double())
    loss.backward()
    return float(loss.detach()), latents.grad


def test_the_loss_and_its_gradient_are_those_of_the_pairs():
    x, latents = batch(), some_latents().requires_grad_(True)
    loss = monosemanticity_loss(latents, x)
    loss.backward()
    expected, gradient = oracle(latents.detach(), x)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(latents.grad.double(), gradient, rtol=1e-3, atol=1e-5)
    assert not latents.grad[:, [0, 1, 4]].any() and latents.grad[:, 3].abs().max() > 0


def test_the_loss_is_one_less_the_mean_score_of_its_own_inputs():
    x, latents = batch(), some_latents()
    score = monosemanticity_score(latents.numpy(), x.numpy())
    assert float(monosemanticity_loss(latents, x)) == pytest.approx(1 - np.nanmean(score), rel=1e-5)
    assert np.isnan(score[[0, 1, 4]]).all()


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_latents_that_cannot_be_scored_give_no_loss_and_no_gradient(rows):
    latents = some_latents(rows=max(rows, 2))[:rows, :2].clone().requires_grad_(True)
    if rows == 0:
        latents = torch.zeros(5, 2, requires_grad=True)
    x = batch(rows=len(latents))
    (monosemanticity_loss(latents, x) + 0 * latents.sum()).backward()
    assert torch.isfinite(latents.grad).all() and not latents.grad.any()


def test_an_overwhelming_sample_and_an_empty_input_do_no_harm():
    x, latents = batch(), some_latents()
    latents[5] *= 1e9
    x[3] = 0
    latents.requires_grad_(True)
    monosemanticity_loss(latents, x).backward()
    assert torch.isfinite(latents.grad).all()


@pytest.mark.parametrize("kind", ["matryoshka_batch_top_k", "batch_top_k", "top_k"])
@pytest.mark.parametrize("rows", [1, 2, BATCH])
@pytest.mark.parametrize("case", ["plain", "dead", "always on", "nothing fires"])
def test_the_kernel_agrees_with_autograd(kind, rows, case):
    config = SaeConfig(kind=kind, k=3, mono_coefficient=0.8)
    groups = (2, 3, 0, 7) if kind == "matryoshka_batch_top_k" else (WIDTH,)
    weights, x = initial_weights(batch(5), WIDTH, 0), batch(rows=rows)
    weights.encoder_bias[:2] += 50.0 * (case == "always on")
    weights.encoder_bias -= 100.0 * (case == "nothing fires")
    for parameter in weights.named().values():
        parameter.requires_grad_(True)
    dead = torch.arange(WIDTH) < (4 if case == "dead" else 0)
    pre = weights.pre_activations(x)
    loss = training_loss(x, pre, training_latents(pre, config), weights, config, groups, dead, 5)
    loss.total.backward()
    expected = {name: parameter.grad.clone() for name, parameter in weights.named().items()}
    choose = per_sample_top_k_active if kind == "top_k" else batch_top_k_active
    active = choose(pre.detach(), config.k)
    found = products.write_gradients(weights, x, pre.detach(), active, groups, dead, 5, config.aux_coefficient, 0.8)
    assert found.monosemanticity == pytest.approx(float(loss.monosemanticity.detach()), rel=1e-4, abs=1e-6)
    assert (found.monosemanticity != 0) == (rows > 2 and case != "nothing fires")  # of two, one is the minimum
    for name, gradient in expected.items():
        torch.testing.assert_close(weights.named()[name].grad, gradient, rtol=1e-3, atol=2e-4, msg=name)


def test_a_coefficient_of_zero_is_the_training_of_before(monkeypatch):
    rows, config = batch(rows=600), SaeConfig(expansion=2, k=3, steps=25, batch_size=64, lr=3e-3)
    monkeypatch.setattr(products, "_monosemanticity", lambda *_: pytest.fail("not asked for"))
    monkeypatch.setattr("vlm_sae_lib.sae.training.losses.monosemanticity_loss", lambda *_: pytest.fail("not asked for"))
    saes = [train_sae(rows, dataclasses.replace(config, kind=kind)) for kind in KINDS]
    assert all(sae.metadata["config"]["mono_coefficient"] == 0 for sae in saes)


def themes(n: int = 2000, seed: int = 0) -> np.ndarray:
    """Points about one of eight centres."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).standard_normal((8, DIM)) * 2
    return (centres[rng.integers(8, size=n)] + rng.standard_normal((n, DIM))).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_training_for_monosemanticity_raises_it(kind):
    config = SaeConfig(kind=kind, expansion=2, k=3, steps=150, batch_size=128, lr=5e-3, dead_window=1000)
    configs = [dataclasses.replace(config, mono_coefficient=value) for value in (0.0, 0.3)]
    plain, mono = train_saes(themes(), configs)
    unseen = themes(500, seed=1)
    scores = [np.nanmean(monosemanticity_score(sae.encode(unseen).numpy(), unseen)) for sae in (plain, mono)]
    assert scores[1] > scores[0] + 0.03


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_continues_to_the_same_bytes(kind, tmp_path, monkeypatch):
    rows = themes(300)
    config = SaeConfig(kind=kind, expansion=2, k=3, steps=20, batch_size=32, lr=3e-3, mono_coefficient=0.1)
    straight = train_sae(rows, config)
    step = Learner.step

    def die(learner, drawn):
        if learner.step_number == 13:
            raise KeyboardInterrupt
        step(learner, drawn)

    monkeypatch.setattr(Learner, "step", die)
    with pytest.raises(KeyboardInterrupt):
        train_sae(rows, config, checkpoint_dir=tmp_path, checkpoint_every=5)
    monkeypatch.setattr(Learner, "step", step)
    assert train_sae(rows, config, checkpoint_dir=tmp_path, checkpoint_every=5).hash == straight.hash
    with pytest.raises(UserError, match="mono_coefficient was 0.1, is 0.2"):
        train_sae(rows, dataclasses.replace(config, mono_coefficient=0.2), checkpoint_dir=tmp_path)


def test_the_artefact_remembers_its_coefficient(tmp_path):
    sae = train_sae(themes(300), SaeConfig(expansion=1, k=2, steps=5, batch_size=32, mono_coefficient=0.05))
    assert SparseAutoencoder.load(sae.save(tmp_path / "sae")).metadata["config"]["mono_coefficient"] == 0.05
