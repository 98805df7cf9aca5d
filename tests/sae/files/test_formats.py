"""What an SAE's file may hold: nothing of it is run, and what is no SAE is named."""

import pickle
from pathlib import Path

import pytest
import torch
from foreign_saes import linear_state, write
from random_saes import make_sae

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import SparseAutoencoder


class Evil:
    """Would write a file if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (Path(self.path), "ran"))


@pytest.mark.parametrize("wrapped", [True, False])
def test_nothing_is_unpickled(tmp_path, wrapped):
    evil = Evil(str(tmp_path / "trace"))
    path = tmp_path / "ae.pt"
    if wrapped:
        torch.save({"encoder.weight": torch.zeros(2, 2), "config": evil}, path)
    else:
        path.write_bytes(pickle.dumps(evil))
    with pytest.raises(UserError, match="needs unpickling"):
        SparseAutoencoder.load(path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you")])
def test_an_sae_too_large_for_the_memory_is_not_called_damaged(tmp_path, monkeypatch, error):
    def run_out(*_, **__):
        raise error

    monkeypatch.setattr("vlm_sae_lib.sae.files.formats._file", run_out)
    with pytest.raises(UserError, match="^There is too little memory for the SAE .*: close what else runs"):
        SparseAutoencoder.load(write(tmp_path, {}))


def test_what_is_no_sae_is_named(tmp_path):
    with pytest.raises(UserError, match="there is no SAE at"):
        SparseAutoencoder.load(tmp_path / "missing")
    with pytest.raises(UserError, match="neither cfg.json nor an ae.pt"):
        SparseAutoencoder.load(tmp_path)
    with pytest.raises(UserError, match="its keys: other"):
        SparseAutoencoder.load(write(tmp_path / "other", {"other": torch.zeros(2)}))
    with pytest.raises(UserError, match="not a state dict"):
        SparseAutoencoder.load(write(tmp_path / "list", [torch.zeros(2)]))
    for step in (1, 2):
        torch.save({}, tmp_path / f"ae_{step}.pt")
    with pytest.raises(UserError, match="2 ae_.*name one checkpoint"):
        SparseAutoencoder.load(tmp_path)
    whole = write(tmp_path / "whole", linear_state(make_sae("relu")))
    whole.write_bytes(whole.read_bytes()[:1000])
    with pytest.raises(UserError, match="ae.pt"):
        SparseAutoencoder.load(whole)
    empty = tmp_path / "empty.pt"
    empty.write_bytes(b"")
    with pytest.raises(UserError, match="empty.pt"):
        SparseAutoencoder.load(empty)


def test_the_folder_above_a_checkpoint_of_dictionary_learning_names_the_folder_within(tmp_path):
    """Its trainings write to ``save_dir/trainer_0``, and ``save_dir`` is what one has typed."""
    (tmp_path / "trainer_0").mkdir()
    (tmp_path / "trainer_0" / "ae.pt").write_bytes(b"x")
    with pytest.raises(UserError, match="name one of trainer_0"):
        SparseAutoencoder.load(tmp_path)


def test_a_narrow_matryoshka_may_have_an_empty_group(tmp_path):
    """A sixteenth of twelve latents is none; no group has fewer than none."""
    sae = make_sae("matryoshka_batch_top_k", width=12, group_sizes=(0, 4, 8))
    assert SparseAutoencoder.load(sae.save(tmp_path / "sae")).group_sizes == (0, 4, 8)
    settings = tmp_path / "sae" / "cfg.json"
    settings.write_text(settings.read_text().replace("[\n      0,\n      4,\n      8\n    ]", "[-4, 8, 8]"))
    with pytest.raises(UserError, match="group of -4 latents|groups"):
        SparseAutoencoder.load(tmp_path / "sae")
