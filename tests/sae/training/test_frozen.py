"""SAEs of which a part stays at its random start: what is frozen keeps its bytes, what is not learns."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from sparse_sums import DATA, DIM, SHORT

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import KINDS, SaeConfig, SparseAutoencoder
from vlm_sae_lib.sae.training import frozen, memory, train_sae
from vlm_sae_lib.sae.training import learner as training_learner
from vlm_sae_lib.sae.training import run as training
from vlm_sae_lib.sae.training.initialise import initial_weights
from vlm_sae_lib.sae.training.learner import Learner

SPARSE = ("matryoshka_batch_top_k", "batch_top_k", "top_k")
FAST = dataclasses.replace(SHORT, lr=0.03, aux_coefficient=0.2, dead_window=128)
"""So quick that soft-frozen rows reach the edge of where they may go, and some latents die."""


def batch(step: int) -> torch.Tensor:
    return torch.from_numpy(DATA[64 * step : 64 * step + 64])


def learner(config: SaeConfig, steps: int = 0) -> Learner:
    made = Learner(config, batch(0), 10.0)
    for step in range(steps):
        made.step(batch(step))
    return made


def parameters(made: Learner) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in made.weights.named().items()}


def cosines(w_dec: torch.Tensor, seed: int = 0) -> torch.Tensor:
    starts = initial_weights(batch(0), len(w_dec), seed).decoder
    return torch.nn.functional.cosine_similarity(w_dec.double(), starts.double())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("part", "kept"), [("decoder", {"decoder"}), ("encoder", {"encoder", "encoder_bias"})])
def test_what_is_frozen_keeps_its_bytes_and_the_rest_learns(kind, part, kept):
    config = dataclasses.replace(FAST, kind=kind, frozen=part)
    before, made = parameters(learner(config)), learner(config, steps=20)
    unmoved = {name for name, value in parameters(made).items() if torch.equal(value, before[name])}
    assert unmoved == kept
    assert [made.weights.named()[name].grad for name in kept] == [None] * len(kept)
    assert {id(made.weights.named()[name]) for name in kept}.isdisjoint(map(id, made.optimiser.state))


def test_the_finished_sae_has_the_directions_of_its_seed():
    sae = train_sae(DATA, dataclasses.replace(FAST, frozen="decoder", seed=3))
    starts = initial_weights(batch(0), sae.n_latents, 3)
    assert torch.equal(sae.w_dec, starts.decoder) and not torch.equal(sae.w_enc, starts.encoder.T)
    assert sae.metadata["config"]["frozen"] == "decoder"
    sae = train_sae(DATA, dataclasses.replace(FAST, frozen="encoder", seed=3))
    assert torch.equal(sae.w_enc, starts.encoder.T) and not sae.b_enc.any()


@pytest.mark.parametrize("kind", KINDS)
def test_soft_frozen_directions_stay_in_their_cone_and_reach_its_edge(kind):
    config = dataclasses.replace(FAST, kind=kind, frozen="soft_decoder", l1_coefficient=0.01)
    soft, free = train_sae(DATA, config), train_sae(DATA, dataclasses.replace(config, frozen="nothing"))
    near = cosines(soft.w_dec)
    assert near.min() > 0.8 - 1e-6 and (near < 0.8 + 1e-5).any() and (near > 0.8 + 1e-3).any()
    assert cosines(free.w_dec).min() < 0.7
    torch.testing.assert_close(soft.w_dec.norm(dim=1), torch.ones(soft.n_latents), rtol=1e-6, atol=1e-6)


def test_a_row_is_pulled_to_the_nearest_point_that_it_may_have():
    turn = torch.linspace(0, 3.1, 40, dtype=torch.float64)
    starts = torch.zeros(40, 3, dtype=torch.float64)
    starts[:, 1] = 1
    rows = torch.stack([turn.sin() * 0.6, turn.cos(), turn.sin() * 0.8], dim=1)
    found = rows.clone()
    frozen.pull_back(found, starts)
    edge = np.arccos(0.8)
    turned = turn.clamp(max=edge)
    expected = torch.stack([turned.sin() * 0.6, turned.cos(), turned.sin() * 0.8], dim=1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert torch.equal(found[turn < edge], rows[turn < edge])


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_a_row_that_points_straight_away_goes_back_to_its_start(dim):
    starts = torch.nn.functional.normalize(torch.arange(1.0, dim + 1)[None], dim=1)
    rows = -starts
    frozen.pull_back(rows, starts)
    assert torch.equal(rows, starts)


@pytest.mark.parametrize("kind", SPARSE)
@pytest.mark.parametrize("part", ["decoder", "soft_decoder", "encoder"])
@pytest.mark.parametrize("few", [8, 0])
def test_kernels_and_autograd_take_the_same_steps(kind, part, few, monkeypatch):
    monkeypatch.setattr("vlm_sae_lib.sae.kernels.products.FEW_DEAD", few)  # both ways to revive the dead
    config = dataclasses.replace(FAST, kind=kind, frozen=part, lr=3e-3, dead_window=64)
    fast, slow = learner(config), learner(config)
    monkeypatch.setattr(slow, "_sparse_gradients", lambda x: (slow._dense_gradients(x), None))
    for step in range(10):
        fast.step(batch(step))
        slow.step(batch(step))
    assert max(fast.log.columns["auxiliary"]) > 0
    for name, value in parameters(slow).items():
        torch.testing.assert_close(parameters(fast)[name], value, rtol=1e-3, atol=2e-5, msg=name)


def test_gradients_are_clipped_by_the_norm_of_what_learns(monkeypatch):
    seen, clip = [], training_learner.clip

    def watched(given, most):
        seen.append(torch.stack([each.grad.norm() for each in given if each.grad is not None]).norm())
        clip(given, most)

    monkeypatch.setattr(training_learner, "clip", watched)
    for part in ("nothing", "decoder", "encoder"):
        made = learner(dataclasses.replace(SHORT, frozen=part), steps=1)
        known = [value.grad for value in made.weights.named().values() if value.grad is not None]
        assert float(torch.stack([grad.norm() for grad in known]).norm()) == pytest.approx(min(1, float(seen[-1])))
    assert seen[0] > max(seen[1:])


@pytest.mark.parametrize("kind", ["batch_top_k", "jump_relu"])
@pytest.mark.parametrize("part", ["decoder", "soft_decoder", "encoder"])
def test_a_killed_run_continues_to_the_same_bytes(tmp_path, monkeypatch, kind, part):
    config = dataclasses.replace(FAST, kind=kind, frozen=part)
    straight = train_sae(DATA, config)
    write = training._write

    def write_and_stop(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "_write", write_and_stop)
        train_sae(DATA, config, checkpoint_dir=tmp_path, checkpoint_every=25)
    with pytest.raises(UserError, match="another run .*frozen"):
        train_sae(DATA, dataclasses.replace(config, frozen="nothing"), checkpoint_dir=tmp_path)
    resumed = train_sae(DATA, config, checkpoint_dir=tmp_path)
    assert resumed.hash == straight.hash and resumed.metadata == straight.metadata


@pytest.mark.parametrize("part", ["nothing", "decoder", "soft_decoder", "encoder"])
def test_what_an_sae_holds_is_what_its_tensors_hold(part):
    made = learner(dataclasses.replace(SHORT, frozen=part), steps=1)
    wide = [value for value in made.weights.named().values() if value.ndim == 2]
    held = [tensor for value in wide for tensor in (value, value.grad, *made.optimiser.state.get(value, {}).values())]
    held = [tensor for tensor in (*held, made.starts) if tensor is not None and tensor.ndim == 2]
    assert sum(tensor.nbytes for tensor in held) == memory.learning_bytes(DIM, 2 * DIM, part)


def test_settings_of_before_are_what_they_were():
    """An SAE or a checkpoint that was saved before there was this setting names none."""
    before = {name: value for name, value in dataclasses.asdict(SaeConfig()).items() if name != "frozen"}
    assert SaeConfig().as_dict() == json.loads(json.dumps(before))
    assert SaeConfig(**before) == SaeConfig()
    assert SaeConfig(frozen="encoder").as_dict()["frozen"] == "encoder"
    for folder in (paths.pocket() / "sae").iterdir():
        recorded = SparseAutoencoder.load(folder).metadata["config"]
        assert "frozen" not in recorded and SaeConfig(**recorded).frozen == "nothing"


@pytest.mark.parametrize("wrong", ["half", None, True, ["decoder"]])
def test_an_unknown_part_is_one_sentence(wrong):
    with pytest.raises(UserError, match="frozen=.* must be 'nothing', 'decoder', 'soft_decoder' or 'encoder'.$"):
        SaeConfig(frozen=wrong)
