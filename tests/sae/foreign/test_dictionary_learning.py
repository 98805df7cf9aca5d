"""dictionary_learning's SAEs, the paper's own checkpoints among them."""

import numpy as np
import pytest
import torch
from data_files import REFERENCE
from foreign_saes import K, X, agrees, linear_state, matrix_state, write
from random_saes import DIM, inputs, make_sae

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import SparseAutoencoder

AUTHORS = {"authors_batch_top_k": "batch_top_k", "authors_matroyshka_batch_top_k": "matryoshka_batch_top_k"}


@pytest.mark.parametrize("name", AUTHORS)
def test_the_papers_checkpoints_give_the_papers_latents(tmp_path, name):
    sae = SparseAutoencoder.load(REFERENCE / name / "ae_100000.pt")
    probe = np.load(REFERENCE / name / "probe.npz")
    assert sae.kind == AUTHORS[name] and (sae.dim, sae.n_latents, sae.k) == (24, 96, 5)
    assert sae.group_sizes == ((96,) if name == "authors_batch_top_k" else (6, 12, 24, 54))
    latents = sae.encode(probe["inputs"])
    np.testing.assert_allclose(latents, probe["latents"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(sae.decode(latents), probe["reconstruction"], rtol=0, atol=1e-5)
    assert (probe["latents"] > 0).any()
    back = SparseAutoencoder.load(sae.save(tmp_path / "sae"))
    np.testing.assert_allclose(back.encode(probe["inputs"]), probe["latents"], rtol=0, atol=1e-5)
    assert SparseAutoencoder.load(REFERENCE / name).hash == sae.hash == back.hash


def test_dictionary_learning_batch_top_k(tmp_path):
    sae = make_sae("batch_top_k")
    loaded = SparseAutoencoder.load(write(tmp_path, linear_state(sae, k=K, threshold=sae.threshold)))
    assert loaded.kind == "batch_top_k" and torch.equal(loaded.encode(inputs(9, DIM)), sae.encode(inputs(9, DIM)))


@pytest.mark.parametrize("spelling", ["MatroyshkaBatchTopKSAE", "MatryoshkaBatchTopKSAE"])
def test_dictionary_learning_matryoshka_in_both_spellings(tmp_path, spelling):
    sae = make_sae("matryoshka_batch_top_k")
    state = matrix_state(sae, k=K, threshold=sae.threshold, group_sizes=torch.tensor(sae.group_sizes))
    loaded = SparseAutoencoder.load(write(tmp_path, state, {"dict_class": spelling, "lr": 1e-3}).parent)
    assert loaded.hash == sae.hash
    assert loaded.metadata["imported"]["trainer"] == {"dict_class": spelling, "lr": 1e-3}


def test_dictionary_learning_top_k_is_told_by_its_config_or_its_keys(tmp_path):
    sae = make_sae("top_k")
    unused = torch.tensor(-1.0)
    by_config = write(tmp_path / "a", linear_state(sae, k=K, threshold=unused), {"dict_class": "AutoEncoderTopK"})
    by_keys = write(tmp_path / "b", linear_state(sae, k=K))
    assert SparseAutoencoder.load(by_config).hash == SparseAutoencoder.load(by_keys).hash == sae.hash


def test_dictionary_learning_standard(tmp_path):
    sae = make_sae("relu", k=None)
    state = linear_state(sae)
    state["bias"] = state.pop("b_dec")
    assert SparseAutoencoder.load(write(tmp_path, state)).hash == sae.hash


def test_dictionary_learning_jump_relu_does_not_centre_its_input(tmp_path):
    sae, x = make_sae("jump_relu"), inputs(20, DIM)
    loaded = SparseAutoencoder.load(write(tmp_path, matrix_state(sae, threshold=sae.threshold)))
    hidden = x @ sae.w_enc + sae.b_enc
    expected = torch.relu(hidden * (hidden > sae.threshold))
    torch.testing.assert_close(loaded.encode(x), expected, rtol=1e-5, atol=1e-5)


def test_dictionary_learning_april_update_does_not_centre_its_input(tmp_path):
    sae = make_sae("relu")
    state = {
        "encoder.weight": sae.w_enc.T,
        "encoder.bias": sae.b_enc,
        "decoder.weight": sae.w_dec.T,
        "decoder.bias": sae.b_dec,
    }
    latents = torch.relu(X @ sae.w_enc + sae.b_enc)
    agrees(SparseAutoencoder.load(write(tmp_path, state)), latents, latents @ sae.w_dec + sae.b_dec)


def test_dictionary_learning_gated_is_refused(tmp_path):
    names = ("decoder_bias", "encoder.weight", "r_mag", "gate_bias", "mag_bias", "decoder.weight")
    with pytest.raises(UserError, match="gated SAE .*gate_bias, mag_bias, r_mag"):
        SparseAutoencoder.load(write(tmp_path, dict.fromkeys(names, torch.zeros(2, 2))))


def test_a_checkpoint_folder_finds_the_config_above_it(tmp_path):
    sae = make_sae("top_k")
    write(tmp_path, linear_state(sae), {"dict_class": "AutoEncoderTopK"})
    file = write(tmp_path / "checkpoints", linear_state(sae, k=K, threshold=torch.tensor(0.1)))
    assert SparseAutoencoder.load(file).kind == "top_k"


def test_a_backup_is_folded_with_its_factor(tmp_path):
    sae, x = make_sae("batch_top_k"), inputs(20, DIM)
    state = linear_state(sae, k=K, threshold=sae.threshold)
    backup = {"step": 7, "ae": state, "optimizer": {"state": {}}, "config": {"k": 3}, "norm_factor": 8.0}
    loaded = SparseAutoencoder.load(write(tmp_path, backup))
    torch.testing.assert_close(loaded.encode(8 * x), 8 * sae.encode(x), rtol=1e-5, atol=1e-5)
    assert loaded.metadata["imported"]["norm_factor"] == 8.0
    backup["norm_factor"] = None
    assert SparseAutoencoder.load(write(tmp_path, backup)).hash == sae.hash


@pytest.mark.parametrize("backup", [False, True])
def test_a_threshold_never_learned_is_refused(tmp_path, backup):
    state = linear_state(make_sae("batch_top_k"), k=K, threshold=torch.tensor(-1.0))
    path = write(tmp_path, {"ae": state, "norm_factor": 3.0} if backup else state)
    with pytest.raises(UserError, match="is -1, never learned"):
        SparseAutoencoder.load(path)
