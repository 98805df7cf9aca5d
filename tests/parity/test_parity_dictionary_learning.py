"""dictionary_learning's SAEs give the same latents here, and its trainers the same losses from the same start."""

import json

import pytest
import torch
from dictionary_learning import AutoEncoder, JumpReluAutoEncoder
from dictionary_learning.dictionary import AutoEncoderNew
from dictionary_learning.trainers.batch_top_k import BatchTopKSAE, BatchTopKTrainer
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE, MatryoshkaBatchTopKTrainer
from dictionary_learning.trainers.top_k import AutoEncoderTopK

from vlm_sae_lib.sae import SaeConfig, SparseAutoencoder
from vlm_sae_lib.sae.rows import Batches
from vlm_sae_lib.sae.training import train_sae
from vlm_sae_lib.sae.training.initialise import initial_weights

from .conftest import DIM, WIDTH, K

MADE = {
    "AutoEncoder": lambda: AutoEncoder(DIM, WIDTH),
    "AutoEncoderNew": lambda: AutoEncoderNew(DIM, WIDTH),
    "JumpReluAutoEncoder": lambda: JumpReluAutoEncoder(DIM, WIDTH),
    "AutoEncoderTopK": lambda: AutoEncoderTopK(DIM, WIDTH, K),
    "BatchTopKSAE": lambda: BatchTopKSAE(DIM, WIDTH, K),
    "MatryoshkaBatchTopKSAE": lambda: MatryoshkaBatchTopKSAE(DIM, WIDTH, K, [6, 12, 24, 54]),
}


@pytest.mark.parametrize("name", MADE)
def test_we_open_theirs(tmp_path, randomised, agree, name):
    theirs = randomised(MADE[name]())
    if name in ("BatchTopKSAE", "MatryoshkaBatchTopKSAE"):
        theirs.threshold.fill_(0.7)
    torch.save(theirs.state_dict(), tmp_path / "ae.pt")
    (tmp_path / "config.json").write_text(json.dumps({"trainer": {"dict_class": name}}))
    agree(SparseAutoencoder.load(tmp_path), theirs)


STEPS, BATCH, DEAD = 100, 64, 64
FRACTIONS = (0.0625, 0.125, 0.25, 0.5625)


@pytest.fixture(scope="module")
def activations() -> torch.Tensor:
    """Sparse mixtures of directions, off centre."""
    generator = torch.Generator().manual_seed(3)
    directions = torch.randn(60, DIM, generator=generator)
    present = torch.rand(3000, 60, generator=generator) < 0.06
    strengths = present * torch.rand(3000, 60, generator=generator)
    noise = 0.05 * torch.randn(3000, DIM, generator=generator)
    return 3 * strengths @ directions + noise + torch.randn(DIM, generator=generator)


def their_trainer(name: str, **settings):
    common = dict(steps=STEPS, activation_dim=DIM, dict_size=WIDTH, k=K, layer=0, lm_name="", device="cpu",
                  warmup_steps=0, auxk_alpha=0.03, threshold_beta=0.9, threshold_start_step=20)  # fmt: skip
    if name == "batch_top_k":
        trainer = BatchTopKTrainer(**common, **settings)
    else:
        trainer = MatryoshkaBatchTopKTrainer(**common, group_fractions=list(FRACTIONS), **settings)
    trainer.dead_feature_threshold = DEAD  # of ten million samples, which no test can wait for
    return trainer


def start_from(trainer, weights) -> None:
    """The trainer's parameters are replaced by ours; the median that it takes at step 0 is ours too."""
    ae = trainer.ae
    if hasattr(ae, "W_enc"):
        pairs = [(ae.W_enc, weights.encoder.T), (ae.W_dec, weights.decoder), (ae.b_enc, weights.encoder_bias)]
    else:
        pairs = [(ae.encoder.weight, weights.encoder), (ae.decoder.weight, weights.decoder.T),
                 (ae.encoder.bias, weights.encoder_bias)]  # fmt: skip
    for theirs, ours in pairs:
        theirs.data = ours.clone().contiguous()
    trainer.geometric_median = lambda points: weights.decoder_bias.clone()


@pytest.mark.parametrize("kind", ["batch_top_k", "matryoshka_batch_top_k"])
@pytest.mark.parametrize("lr", [1e-3, None])
def test_their_trainers_have_our_losses(tmp_path, activations, kind, lr, agree):
    """Without warm-up: theirs starts at a rate of 0 and lags ours, which starts at 1/warmup, by one step."""
    config = SaeConfig(
        kind=kind, expansion=WIDTH / DIM, k=K, steps=STEPS, batch_size=BATCH, lr=lr, warmup=1, dead_window=DEAD,
        threshold_start=21, threshold_momentum=0.9, aux_coefficient=0.03, group_fractions=FRACTIONS, seed=4,
    )  # fmt: skip
    ours = train_sae(activations, config, device="cpu")
    log, scale = ours.metadata["log"], ours.metadata["norm_factor"]
    assert log["step"] == list(range(STEPS))
    assert any(value > 0 for value in log["auxiliary"]), "the comparison is to reach the aux-k loss"

    batches = Batches(len(activations), BATCH, config.seed)
    first = activations[torch.from_numpy(batches[0])] / scale
    trainer = their_trainer(kind, lr=lr)
    start = initial_weights(first, WIDTH, config.seed)
    theirs_median = trainer.geometric_median(first)
    torch.testing.assert_close(start.decoder_bias, theirs_median, rtol=0, atol=1e-3)
    start_from(trainer, start)
    losses = [trainer.update(step, activations[torch.from_numpy(batches[step])] / scale) for step in range(STEPS)]

    torch.testing.assert_close(torch.tensor(log["loss"]), torch.tensor(losses), rtol=1e-4, atol=0)
    trainer.ae.scale_biases(scale)
    torch.testing.assert_close(ours.threshold, trainer.ae.threshold, rtol=1e-3, atol=0)
    torch.save(trainer.ae.state_dict(), tmp_path / "ae.pt")
    agree(SparseAutoencoder.load(tmp_path), trainer.ae)
