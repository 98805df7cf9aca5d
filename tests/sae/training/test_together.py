"""Several processes that learn one SAE make what one makes, but for the order of sums."""

import numpy as np
import pytest
import torch
from learning_together import SILENT, learned

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import SaeConfig, SparseAutoencoder
from vlm_sae_lib.sae.training import train_sae
from vlm_sae_lib.sae.training.learner import Learner
from vlm_sae_lib.sae.training.together import Ranks, SharedLearner

COMMON = {"expansion": 6, "k": 2, "steps": 12, "batch_size": 101, "dead_window": 150, "lr": 1e-3}
CONFIGS = [
    SaeConfig(kind="matryoshka_batch_top_k", **COMMON),
    SaeConfig(kind="top_k", frozen="soft_decoder", **COMMON),
    SaeConfig(kind="relu", **COMMON),
    SaeConfig(kind="jump_relu", **COMMON),
]


@pytest.fixture(scope="module")
def rows():
    draw = np.random.default_rng(0)
    features = draw.standard_normal((60, 16))
    return (draw.random((700, 60)) * (draw.random((700, 60)) < 0.06) @ features).astype(np.float32)


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.long)])
def several(request, rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    return folder, learned(request.param, rows, CONFIGS, folder)


def test_all_hold_the_same_parameters_to_the_last_bit(several):
    _, made = several
    for others in made[1:]:
        for (*_, ours), (*_, theirs) in zip(made[0], others, strict=True):
            assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("which", range(len(CONFIGS)), ids=[config.kind for config in CONFIGS])
def test_losses_and_gradients_are_those_of_one_but_for_the_order_of_sums(several, rows, which):
    batch = torch.from_numpy(rows[: CONFIGS[which].batch_size])
    learner = Learner(CONFIGS[which], batch, 1.0)
    learner.silence.samples[::SILENT] = CONFIGS[which].dead_window
    expected = learner._dense_gradients(batch)
    for _, losses, slopes, _ in (rank[which] for rank in several[1]):
        assert losses == pytest.approx(expected, rel=1e-5)
        assert losses["auxiliary"] > 0 or CONFIGS[which].kind in ("relu", "jump_relu")
        for name, parameter in learner.weights.named().items():
            if parameter.grad is not None:
                size = float(parameter.grad.abs().max())
                np.testing.assert_allclose(slopes[name], parameter.grad, rtol=0, atol=1e-5 * size, err_msg=name)


@pytest.mark.parametrize("which", range(len(CONFIGS)), ids=[config.kind for config in CONFIGS])
def test_a_training_goes_as_that_of_one(several, rows, which):
    folder, made = several
    assert [rank[which][0] for rank in made] == [True] + [False] * (len(made) - 1)
    together = SparseAutoencoder.load(folder / f"sae-{which}").metadata["log"]
    one = train_sae(rows, CONFIGS[which], device="cpu").metadata["log"]
    assert one["dead"] == together["dead"] and one["step"] == together["step"]
    for name in ("loss", "auxiliary", "r2", "threshold"):
        for ours, theirs in zip(one[name], together[name], strict=True):
            assert (ours is None) == (theirs is None) and (ours is None or theirs == pytest.approx(ours, rel=5e-3))


def test_what_cannot_be_shared_is_told(rows):
    with pytest.raises(UserError, match="MonoLoss"):
        SharedLearner(SaeConfig(mono_coefficient=0.1, **COMMON), torch.from_numpy(rows[:50]), 1.0, Ranks(0, 2))
