"""SAELens folders against that library's own formula."""

import json

import pytest
import torch
from foreign_saes import (
    X,
    agrees,
    matrix_state,
    sae_lens,
    top,
)
from random_saes import DIM, WIDTH, inputs, make_sae

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import SparseAutoencoder


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


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("kind", ["standard", "topk", "jumprelu"])
def test_sae_lens_average_norm_is_folded_with_the_factor_beside_it(tmp_path, kind, centred):
    sae, factor = make_sae("jump_relu", k=None), 0.37
    path = sae_lens(
        tmp_path / "sae",
        matrix_state(sae, **({"threshold": sae.threshold} if kind == "jumprelu" else {})),
        architecture=kind,
        apply_b_dec_to_input=centred,
        normalize_activations="expected_average_only_in",
        **({"k": 3, "rescale_acts_by_decoder_norm": True} if kind == "topk" else {}),
    )
    with pytest.raises(UserError, match="activation_scaler.json"):
        SparseAutoencoder.load(path)
    (path / "activation_scaler.json").write_text(json.dumps({"scaling_factor": factor, "has_whitening": False}))
    norms = sae.w_dec.norm(dim=1)
    hidden = (factor * X - centred * sae.b_dec) @ sae.w_enc + sae.b_enc
    hidden = hidden * norms if kind == "topk" else hidden
    latents = {
        "standard": torch.relu(hidden),
        "topk": torch.relu(top(hidden, 3)),
        "jumprelu": torch.relu(hidden) * (hidden > sae.threshold),
    }[kind]
    scaled = (latents / norms if kind == "topk" else latents) @ sae.w_dec + sae.b_dec
    agrees(SparseAutoencoder.load(path), latents, scaled / factor)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"normalize_activations": "constant_norm_rescale"}, "at run time"),
        ({"normalize_activations": "covariance_whitening"}, "at run time"),
        ({"activation_fn_str": "tanh-relu"}, "'tanh-relu'"),
        ({"architecture": "transcoder"}, "'transcoder'"),
    ],
)
def test_sae_lens_beyond_our_formula_is_refused(tmp_path, config, message):
    with pytest.raises(UserError, match=message):
        SparseAutoencoder.load(sae_lens(tmp_path / "a", matrix_state(make_sae("relu")), **config))
