"""What a GPU computes from active pairs, on tensors of the CPU: against the losses as autograd differentiates them."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.sae.kernels import on_device
from vlm_sae_lib.sae.kernels.active import above_active, positive_on_device
from vlm_sae_lib.sae.training import learner, train_sae
from vlm_sae_lib.sae.training.initialise import initial_weights
from vlm_sae_lib.sae.training.learner import Learner
from vlm_sae_lib.sae.training.losses import training_latents, training_loss
from vlm_sae_lib.sae.training.silence import Silence
from vlm_sae_lib.sae.training.unread import Unread

DIM, WIDTH, BATCH, K = 48, 192, 40, 4
GROUPS = {"matryoshka_batch_top_k": (16, 32, 48, 96), "batch_top_k": (WIDTH,), "top_k": (WIDTH,)}


def rows(n: int = BATCH, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, DIM, generator=torch.Generator().manual_seed(seed)) / DIM**0.5


def start(seed: int = 0):
    weights = initial_weights(rows(300), WIDTH, seed)
    with torch.no_grad():
        weights.encoder_bias += 0.05 * torch.randn(WIDTH, generator=torch.Generator().manual_seed(1))
    for parameter in weights.named().values():
        parameter.requires_grad_()
    return weights


def by_autograd(weights, x, config, dead):
    pre = weights.pre_activations(x)
    latents = training_latents(pre, config)
    loss = training_loss(x, pre, latents, weights, config, GROUPS[config.kind], dead, 10)
    loss.total.backward()
    found = {name: parameter.grad.clone() for name, parameter in weights.named().items()}
    for parameter in weights.named().values():
        parameter.grad = None
    return loss, latents.detach(), found


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("dead_share", [0.0, 0.3])
@pytest.mark.parametrize("kind", GROUPS)
def test_gradients_are_those_of_the_losses(kind, dead_share, half):
    config = SaeConfig(kind=kind, k=K, aux_coefficient=0.5)
    weights, x = start(), rows(seed=3)
    dead = torch.arange(WIDTH) < dead_share * WIDTH
    loss, latents, expected = by_autograd(weights, x, config, dead)
    active = on_device.active_pairs(weights, x, K, per_sample=kind == "top_k", half=half)
    dense = torch.zeros_like(latents).index_put_((active.samples, active.latents), active.values)
    torch.testing.assert_close(dense, latents, atol=1e-6, rtol=1e-5)
    assert torch.equal(active.fired(WIDTH), (latents > 0).any(dim=0))
    assert float(active.smallest) == pytest.approx(float(latents[latents > 0].min()), rel=1e-5)
    found = on_device.write_gradients(
        weights, x, active, GROUPS[kind], dead if dead_share else None, 10, config.aux_coefficient
    )
    assert float(found.reconstruction) == pytest.approx(float(loss.reconstruction.detach()), rel=1e-5)
    assert float(found.auxiliary) == pytest.approx(float(loss.auxiliary.detach()), rel=1e-5)
    for name, gradient in expected.items():
        torch.testing.assert_close(weights.named()[name].grad, gradient, atol=1e-6, rtol=1e-4, msg=name)


def test_the_dead_are_revived_in_half_precision_nearly_alike():
    weights, x, dead = start(), rows(seed=3), torch.arange(WIDTH) < 60
    config = SaeConfig(kind="batch_top_k", k=K, aux_coefficient=0.5)
    _, _, expected = by_autograd(weights, x, config, dead)
    active = on_device.active_pairs(weights, x, K, per_sample=False, half=True)
    on_device.write_gradients(weights, x, active, (WIDTH,), dead, 10, 0.5, half=True)
    for name, gradient in expected.items():
        error = (weights.named()[name].grad - gradient).norm() / gradient.norm()
        assert error < 0.01, name


def test_frozen_parameters_get_no_gradient():
    weights, x = start(), rows()
    active = on_device.active_pairs(weights, x, K, per_sample=False, half=False)
    on_device.write_gradients(weights, x, active, (WIDTH,), None, 10, 0.0, frozen=("decoder",))
    assert weights.decoder.grad is None and weights.encoder.grad is not None


@pytest.mark.parametrize("half", [False, True])
def test_fewer_positive_ones_than_asked_leave_pairs_of_nothing(half):
    weights, x = start(), rows()
    with torch.no_grad():
        weights.encoder_bias -= 0.3
    active = on_device.active_pairs(weights, x, 30, per_sample=False, half=half)
    pre = torch.relu(weights.pre_activations(x)).detach()
    dense = torch.zeros_like(pre).index_put_((active.samples, active.latents), active.values)
    assert 0 < int((pre > 0).sum()) < 30 * BATCH
    torch.testing.assert_close(dense, pre, atol=1e-6, rtol=1e-5)
    on_device.write_gradients(weights, x, active, (WIDTH,), None, 10, 0.0)
    silent = ~active.fired(WIDTH)
    assert silent.any() and not weights.encoder.grad[silent].any() and not weights.decoder.grad[silent].any()


def test_nothing_positive_has_no_smallest():
    weights, x = start(), rows()
    with torch.no_grad():
        weights.encoder_bias -= 100
    active = on_device.active_pairs(weights, x, K, per_sample=False, half=False)
    assert float(active.smallest) == 0 and not active.fired(WIDTH).any()


def test_rounding_that_might_hide_a_pair_is_told(monkeypatch):
    weights, x = start(), rows()
    monkeypatch.setattr(on_device, "MORE", 1.0)
    assert bool(on_device.active_pairs(weights, x, K, per_sample=False, half=True).doubtful)
    monkeypatch.setattr(on_device, "MORE", float(WIDTH))
    assert not bool(on_device.active_pairs(weights, x, K, per_sample=False, half=True).doubtful)


class Asked(TorchDispatchMode):
    """What is read back from a device, or brought there, which both wait for all that was begun on it."""

    WAITS = ("_local_scalar_dense", "nonzero", "lift_fresh", "is_nonzero", "masked_select", "unique")

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, arguments=(), settings=None):
        self.found += [name for name in self.WAITS if name in str(function)]
        return function(*arguments, **(settings or {}))


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("kind", GROUPS)
def test_a_step_waits_for_nothing(kind, half):
    weights, x, silence = start(), rows(), Silence(WIDTH, 10 * BATCH, torch.device("cpu"))
    unread = Unread()

    def step(number):
        active = on_device.active_pairs(weights, x, K, per_sample=kind == "top_k", half=half)
        dead = silence.add_unseen(active.fired(WIDTH), BATCH)
        loss = on_device.write_gradients(weights, x, active, GROUPS[kind], dead, 10, 0.1, half=half)
        unread.add(number, loss.reconstruction, active.smallest, active.doubtful)

    step(0)  # brings the groups' ends
    with Asked() as asked:
        for number in range(1, 9):
            step(number)
    assert asked.found == []
    with Asked() as asked:
        step(9)  # a latent may have died by now
        assert len(unread.read()) == 10
    assert "_local_scalar_dense" in asked.found


@pytest.mark.parametrize("cut", [0.0, 0.2, 100.0])
def test_the_positive_latents_that_leave_it_are_those_that_a_processor_finds(cut):
    latents = torch.relu(rows(30) @ rows(70, seed=2).T - cut)
    found, expected = positive_on_device(latents), above_active(latents, 0.0)
    assert found.bounds.tolist() == expected.bounds.tolist() and found.width == expected.width
    assert found.latents.tolist() == expected.latents.tolist() and torch.equal(found.values, expected.values)


@pytest.mark.parametrize("kind", GROUPS)
def test_training_with_it_comes_out_as_with_the_processors_own_kernels(kind, monkeypatch):
    data = rows(900, seed=5) + rows(900, seed=6).relu()
    config = SaeConfig(kind=kind, expansion=4, k=K, steps=60, batch_size=100, dead_window=100, lr=1e-3)
    plain = train_sae(data, config, device="cpu")
    monkeypatch.setattr(learner, "ON_DEVICE", ("cpu",))
    found = train_sae(data, config, device="cpu")
    ours, theirs = (sae.metadata["log"] for sae in (found, plain))
    assert theirs["dead"][-1] > 0 and ours["dead"] == pytest.approx(theirs["dead"], abs=2)
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
    assert ours["r2"][-1] == pytest.approx(theirs["r2"][-1], abs=1e-3)
    if kind != "top_k":
        assert float(found.threshold) == pytest.approx(float(plain.threshold), rel=1e-3)


def test_in_half_precision_it_learns_the_same_and_gives_it_up_once_it_is_in_doubt(monkeypatch):
    data = rows(900, seed=5)
    config = SaeConfig(kind="batch_top_k", expansion=4, k=K, steps=30, batch_size=100)
    monkeypatch.setattr(learner, "ON_DEVICE", ("cpu",))
    plain, asked, active_pairs = train_sae(data, config, device="cpu"), [], on_device.active_pairs
    monkeypatch.setattr(learner, "finds_in_half", lambda device: True)

    def counted(*arguments, half, **settings):
        asked.append(half)
        return active_pairs(*arguments, half=half, **settings)

    monkeypatch.setattr(on_device, "active_pairs", counted)
    found = train_sae(data, config, device="cpu")
    assert asked == [True] * 30
    assert found.metadata["log"]["loss"] == pytest.approx(plain.metadata["log"]["loss"], rel=1e-4)
    monkeypatch.setattr(on_device, "MORE", 1.0)  # so many candidates as are active: another may always be hidden
    asked.clear()
    train_sae(data, config, device="cpu")
    assert asked[0] and not asked[-1] and asked == sorted(asked, reverse=True)


def test_a_run_on_it_is_resumed_to_the_same_bytes_and_a_divergence_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(learner, "ON_DEVICE", ("cpu",))
    config = SaeConfig(kind="batch_top_k", expansion=2, k=K, steps=30, batch_size=64, dead_window=500)
    whole = train_sae(rows(400), config, device="cpu")
    step = Learner.step

    def stops(self, batch):
        if self.step_number == 17:
            raise KeyboardInterrupt
        step(self, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Learner, "step", stops)
        train_sae(rows(400), config, device="cpu", checkpoint_dir=tmp_path, checkpoint_every=5)
    again = train_sae(rows(400), config, device="cpu", checkpoint_dir=tmp_path, checkpoint_every=5)
    assert torch.equal(again.w_dec, whole.w_dec) and torch.equal(again.threshold, whole.threshold)
    assert again.metadata["log"] == whole.metadata["log"]
    with pytest.raises(UserError, match="diverged at step"):
        train_sae(rows(400), SaeConfig(kind="batch_top_k", k=K, steps=60, batch_size=64, lr=1e30), device="cpu")
