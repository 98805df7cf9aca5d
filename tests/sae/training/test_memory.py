"""SAEs that are too wide for the machine: one sentence, before anything is made, and where memory runs out later."""

import numpy as np
import pytest
import torch
from stores import make_store

from vlm_sae_lib.__main__ import main
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.sae.training import memory, train_saes
from vlm_sae_lib.sae.training import run as training
from vlm_sae_lib.sae.training.learner import Learner

ROWS = np.random.default_rng(0).standard_normal((60, 10)).astype(np.float32)
CONFIG = SaeConfig(expansion=4, k=3, steps=20, batch_size=32, kind="top_k")
NEEDED = 2 * 4 * 10 * 40 * 4


def with_free(monkeypatch, free):
    monkeypatch.setattr(memory, "free_bytes", lambda device: free)


def test_what_an_sae_holds_is_what_its_tensors_hold():
    learner = Learner(CONFIG, torch.from_numpy(ROWS), 1.0)
    learner.step(torch.from_numpy(ROWS))
    wide = [tensor for tensor in learner.weights.named().values() if tensor.ndim == 2]
    held = [tensor for weight in wide for tensor in (weight, weight.grad, *learner.optimiser.state[weight].values())]
    assert sum(tensor.nbytes for tensor in held if tensor.ndim == 2) == memory.learning_bytes(10, 40) == NEEDED


def test_what_cannot_fit_is_refused_before_it_is_made(monkeypatch):
    made = []
    monkeypatch.setattr(training, "Learner", lambda *given: made.append(1) or Learner(*given))
    with_free(monkeypatch, 2 * NEEDED - 1)
    with pytest.raises(UserError, match=r"^There is too little memory on 'cpu' to train 40 \+ 40 latents on 10-wide .* "
                       "take at least 0.0 GB beside the batches, and 0.0 GB were free; lower expansion or "
                       "batch_size, train fewer SAEs at a time, or close what else runs there.$"):  # fmt: skip
        train_saes(ROWS, [CONFIG, CONFIG], device="cpu")
    assert made == []
    for free in (2 * NEEDED, None):  # just enough; and where nobody knows
        with_free(monkeypatch, free)
        assert len(train_saes(ROWS, [CONFIG, CONFIG], device="cpu")) == 2


@pytest.mark.parametrize("error", [RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: "
                                   "can't allocate memory: you tried to allocate 80000000000 bytes."),
                                   torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])  # fmt: skip
def test_what_does_not_fit_all_the_same_is_one_sentence_too(monkeypatch, error):
    def run_out(*_):
        raise error

    monkeypatch.setattr(Learner, "step", run_out)
    with pytest.raises(UserError, match="too little memory on .cpu. to train 40 latents .*; lower expansion or batch"):
        train_saes(ROWS, [CONFIG], device="cpu")


def test_another_error_stays_what_it_is(monkeypatch):
    monkeypatch.setattr(Learner, "step", lambda *_: (_ for _ in ()).throw(RuntimeError("another")))
    with pytest.raises(RuntimeError, match="^another$"):
        train_saes(ROWS, [CONFIG], device="cpu")


def test_the_command_ends_with_the_sentence(monkeypatch, tmp_path, capsys):
    store = make_store(tmp_path / "store", ROWS, np.arange(60))
    with_free(monkeypatch, 13 * 10**9)
    words = ["--k", "3", "--steps", "30", "--expansion", "1e7", "--device", "cpu"]
    assert main(["train", "--activations", str(store.path), "--out", str(tmp_path / "sae"), *words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: There is too little memory on 'cpu' to train 100,000,000 latents on 10-wide")
    assert "at least 32.0 GB beside the batches, and 13.0 GB were free; lower expansion" in error
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
