"""SAEs of other libraries: the paper's checkpoints, dictionary_learning, SAELens."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from test_sae_artefact import DIM, WIDTH, inputs, make_sae

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import SparseAutoencoder

REFERENCE = Path(__file__).parent / "data" / "reference"
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


def linear_state(sae, **more) -> dict:
    """dictionary_learning's keys for an encoder and a decoder that are torch Linears."""
    state = {
        "encoder.weight": sae.w_enc.T.contiguous(),
        "encoder.bias": sae.b_enc,
        "decoder.weight": sae.w_dec.T.contiguous(),
        "b_dec": sae.b_dec,
    }
    return state | more


def matrix_state(sae, **more) -> dict:
    return {"W_enc": sae.w_enc, "b_enc": sae.b_enc, "W_dec": sae.w_dec, "b_dec": sae.b_dec} | more


def write(path: Path, state, config=None) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    torch.save(state, path / "ae.pt")
    if config is not None:
        (path / "config.json").write_text(json.dumps({"trainer": config, "buffer": {"d_submodule": 6}}))
    return path / "ae.pt"


K = torch.tensor(3, dtype=torch.int32)


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

    monkeypatch.setattr("vlm_sae_lib.sae.formats._file", run_out)
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


def sae_lens(path: Path, tensors: dict, **config) -> Path:
    """A folder as SAELens writes it, without any of our facts."""
    path.mkdir(parents=True)
    base = {"architecture": "standard", "d_in": DIM, "d_sae": WIDTH, "dtype": "float32", "apply_b_dec_to_input": True,
            "normalize_activations": "none", "metadata": {"sae_lens_version": "6.18.0"}}  # fmt: skip
    (path / "cfg.json").write_text(json.dumps(base | config))
    safetensors.torch.save_file(
        {name: value.contiguous() for name, value in tensors.items()}, path / "sae_weights.safetensors"
    )
    return path


def test_sae_lens_folders(tmp_path):
    relu, top, jump = make_sae("relu", k=None), make_sae("top_k"), make_sae("jump_relu", k=None)
    assert SparseAutoencoder.load(sae_lens(tmp_path / "a", matrix_state(relu))).hash == relu.hash
    assert (
        SparseAutoencoder.load(sae_lens(tmp_path / "b", matrix_state(top), architecture="topk", k=3)).hash == top.hash
    )
    state = matrix_state(jump, threshold=jump.threshold)
    assert SparseAutoencoder.load(sae_lens(tmp_path / "c", state, architecture="jumprelu")).hash == jump.hash


def test_sae_lens_before_six_hid_top_k_in_a_standard_sae(tmp_path):
    top = make_sae("top_k")
    old = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 3}, "metadata": {}}
    assert SparseAutoencoder.load(sae_lens(tmp_path / "a", matrix_state(top), **old)).hash == top.hash


def test_sae_lens_without_centring_is_folded(tmp_path):
    sae, x = make_sae("relu"), inputs(20, DIM)
    loaded = SparseAutoencoder.load(sae_lens(tmp_path / "a", matrix_state(sae), apply_b_dec_to_input=False))
    torch.testing.assert_close(loaded.encode(x), torch.relu(x @ sae.w_enc + sae.b_enc), rtol=1e-5, atol=1e-5)


def test_sae_lens_rescaling_by_decoder_norm_is_folded(tmp_path):
    sae, x = make_sae("top_k"), inputs(20, DIM)
    w_dec = sae.w_dec * torch.linspace(0.5, 3, WIDTH)[:, None]
    path = sae_lens(
        tmp_path / "a",
        matrix_state(sae) | {"W_dec": w_dec},
        architecture="topk",
        k=3,
        rescale_acts_by_decoder_norm=True,
    )
    loaded = SparseAutoencoder.load(path)
    norms = w_dec.norm(dim=1)
    hidden = ((x - sae.b_dec) @ sae.w_enc + sae.b_enc) * norms
    top = hidden.topk(3, dim=-1)
    latents = torch.zeros_like(hidden).scatter(-1, top.indices, torch.relu(top.values))
    torch.testing.assert_close(loaded.encode(x), latents, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loaded.decode(latents), (latents / norms) @ w_dec + sae.b_dec, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "gated"}, "'gated': only standard, topk, jumprelu"),
        ({"architecture": "matryoshka_batchtopk"}, "only standard"),
        ({"normalize_activations": "layer_norm"}, "at run time"),
        ({"reshape_activations": "hook_z"}, "hook_z"),
    ],
)
def test_sae_lens_folders_that_cannot_be_read_faithfully_are_refused(tmp_path, config, message):
    with pytest.raises(UserError, match=message):
        SparseAutoencoder.load(sae_lens(tmp_path / "a", matrix_state(make_sae("relu")), **config))


def test_a_damaged_sae_folder_is_named(tmp_path):
    state = matrix_state(make_sae("relu"))
    with pytest.raises(UserError, match="never learned"):
        threshold = torch.full((WIDTH,), -1.0)
        SparseAutoencoder.load(sae_lens(tmp_path / "a", state | {"threshold": threshold}, architecture="jumprelu"))
    with pytest.raises(UserError, match="lacks b_enc"):
        SparseAutoencoder.load(sae_lens(tmp_path / "b", {k: v for k, v in state.items() if k != "b_enc"}))
    with pytest.raises(UserError, match="finetuned scaling"):
        SparseAutoencoder.load(sae_lens(tmp_path / "c", state | {"scaling_factor": torch.full((WIDTH,), 2.0)}))
    path = sae_lens(tmp_path / "d", state)
    (path / "sae_weights.safetensors").write_bytes(b"short")
    with pytest.raises(UserError, match="no readable SAE folder"):
        SparseAutoencoder.load(path)
    (path / "cfg.json").write_text("{")
    with pytest.raises(UserError, match="no readable SAE folder"):
        SparseAutoencoder.load(path)
    (path / "cfg.json").write_text("[]")
    with pytest.raises(UserError, match="no readable SAE folder|JSON object"):
        SparseAutoencoder.load(path)
