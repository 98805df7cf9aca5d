"""SAEs of other libraries: a file of each layout, written here, against that library's own formula."""

import json

import pytest
import safetensors.torch
import torch
from test_sae_artefact import DIM, WIDTH, inputs, make_sae
from test_sae_formats import matrix_state, sae_lens, write

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.sae.foreign import torch_files

X = inputs(40, DIM)


def agrees(loaded: SparseAutoencoder, latents: torch.Tensor, reconstruction: torch.Tensor) -> None:
    assert 0 < (latents != 0).float().mean() < 1
    torch.testing.assert_close(loaded.encode(X), latents, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loaded.decode(latents), reconstruction, rtol=1e-5, atol=1e-5)


def top(values: torch.Tensor, k: int) -> torch.Tensor:
    kept = values.topk(k, dim=-1)
    return torch.zeros_like(values).scatter(-1, kept.indices, kept.values)


# dictionary_learning


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


# SAELens


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


# sparsify


def sparsify(path, sae, **config):
    path.mkdir(parents=True)
    base = {"activation": "topk", "expansion_factor": 32, "normalize_decoder": True, "num_latents": WIDTH, "k": 3,
            "multi_topk": False, "skip_connection": False, "transcode": False, "d_in": DIM}  # fmt: skip
    (path / "cfg.json").write_text(json.dumps(base | config))
    tensors = {"encoder.weight": sae.w_enc.T.contiguous(), "encoder.bias": sae.b_enc, "W_dec": sae.w_dec}
    safetensors.torch.save_file(tensors | {"b_dec": sae.b_dec}, path / "sae.safetensors")
    return path


def test_sparsify(tmp_path):
    sae = make_sae("top_k")
    loaded = SparseAutoencoder.load(sparsify(tmp_path / "run" / "layers.10", sae))
    latents = top(torch.relu((X - sae.b_dec) @ sae.w_enc + sae.b_enc), 3)
    agrees(loaded, latents, latents @ sae.w_dec + sae.b_dec)
    assert loaded.kind == "top_k" and loaded.metadata["imported"]["format"] == "sparsify"
    with pytest.raises(UserError, match="name one of layers.10"):
        SparseAutoencoder.load(tmp_path / "run")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"activation": "groupmax"}, "'groupmax'"),
        ({"transcode": True}, "transcoder"),
        ({"skip_connection": True}, "skip connection"),
        ({"signed": True}, "signed topk"),
    ],
)
def test_sparsify_beyond_our_formula_is_refused(tmp_path, config, message):
    with pytest.raises(UserError, match=message):
        SparseAutoencoder.load(sparsify(tmp_path / "a", make_sae("top_k"), **config))


# saev


def saev(path, state, header):
    path.mkdir(parents=True, exist_ok=True)
    with open(path / "sae.pt", "wb") as file:
        file.write((json.dumps(header) + "\n").encode())
        torch.save(state, file)
    return path / "sae.pt"


def saev_header(name: str, **params) -> dict:
    activation = {"cls": name, "params": {"sparsity": {"cls": "NoSparsity", "params": {}}, **params}}
    return {"schema": 5, "cfg": {"d_model": DIM, "d_sae": WIDTH, "activation": activation}, "commit": "0", "lib": "1"}


@pytest.mark.parametrize("name", ["Relu", "TopK", "BatchTopK"])
def test_saev_does_not_centre_its_input(tmp_path, name):
    sae, threshold = make_sae("relu"), 0.6
    state = matrix_state(sae) | ({"activation.threshold": torch.tensor(threshold)} if name == "BatchTopK" else {})
    loaded = SparseAutoencoder.load(
        saev(tmp_path, state, saev_header(name, **({} if name == "Relu" else {"top_k": 3})))
    )
    hidden = X @ sae.w_enc + sae.b_enc
    latents = {
        "Relu": torch.relu(hidden),
        "TopK": top(hidden, 3),
        "BatchTopK": torch.where(hidden > threshold, hidden, 0.0),
    }[name]
    agrees(loaded, latents, latents @ sae.w_dec + sae.b_dec)
    assert SparseAutoencoder.load(tmp_path).hash == loaded.hash


def test_the_first_saev_files_did_centre_it(tmp_path):
    sae = make_sae("relu")
    loaded = SparseAutoencoder.load(
        saev(tmp_path, matrix_state(sae), {"d_vit": DIM, "exp_factor": 4, "l1_coeff": 1e-4})
    )
    latents = torch.relu((X - sae.b_dec) @ sae.w_enc + sae.b_enc)
    agrees(loaded, latents, latents @ sae.w_dec + sae.b_dec)


def test_saev_files_that_are_not_certain_are_refused(tmp_path):
    state = matrix_state(make_sae("relu"))
    for header, message in (
        (saev_header("BatchTopK", top_k=3), "without a learned threshold"),
        (saev_header("Heaviside"), "'Heaviside'"),
        (saev_header("Relu") | {"schema": 1}, "schema 1"),
        (saev_header("Relu") | {"schema": 6}, "schema 6"),
    ):
        with pytest.raises(UserError, match=message):
            SparseAutoencoder.load(saev(tmp_path, state, header))
    untrained = state | {"activation.threshold": torch.tensor(0.0)}
    with pytest.raises(UserError, match="without a learned threshold"):
        SparseAutoencoder.load(saev(tmp_path, untrained, saev_header("BatchTopK", top_k=3)))
    (tmp_path / "sae.pt").write_bytes(b"{broken\n")
    with pytest.raises(UserError, match="no readable header"):
        SparseAutoencoder.load(tmp_path)


# overcomplete


def overcomplete(path, sae, name, norm=None, **more):
    path.mkdir(parents=True, exist_ok=True)
    state = {
        "encoder.final_block.0.weight": sae.w_enc.T.contiguous(),
        "encoder.final_block.0.bias": sae.b_enc,
        "dictionary._weights": 2 * sae.w_dec,
        "dictionary.multiplier": torch.tensor(0.3),
    }
    if norm is not None:
        state |= {f"encoder.final_block.1.{key}": value for key, value in norm.state_dict().items()}
    if "Jump" in name:
        state["thresholds"] = sae.threshold.log()
    whole = {"class": name, "state_dict": state, "dictionary": sae.w_dec * torch.tensor(0.3).exp(), "top_k": None,
             "running_threshold": None} | more  # fmt: skip
    torch.save(whole, path / "sae.pt")
    return path / "sae.pt"


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("name", ["SAE", "TopKSAE", "BatchTopKSAE", "JumpSAE"])
def test_overcomplete(tmp_path, name, normed):
    sae, norm = make_sae("jump_relu"), None
    if normed:
        norm = torch.nn.BatchNorm1d(WIDTH)
        norm(inputs(100, WIDTH))
        norm.weight.data.mul_(torch.linspace(0.5, 2, WIDTH))
        norm.eval()
    more = {"TopKSAE": {"top_k": 3}, "BatchTopKSAE": {"top_k": 3, "running_threshold": torch.tensor(0.5)}}.get(name, {})
    loaded = SparseAutoencoder.load(overcomplete(tmp_path, sae, name, norm, **more))
    hidden = X @ sae.w_enc + sae.b_enc
    codes = torch.relu(norm(hidden).detach() if normed else hidden)
    latents = {
        "SAE": codes,
        "TopKSAE": top(codes, 3),
        "BatchTopKSAE": codes * (codes >= 0.5),
        "JumpSAE": torch.where(codes < sae.threshold, 0.0, codes),
    }[name]
    agrees(loaded, latents, latents @ (sae.w_dec * torch.tensor(0.3).exp()))


def test_overcomplete_keeps_what_equals_the_threshold():
    threshold = torch.tensor([0.5, 1e-3, 3.0])
    assert (threshold > torch_files.just_below(threshold)).all()
    assert not (torch_files.just_below(threshold) > torch_files.just_below(threshold)).any()


def test_overcomplete_beyond_our_formula_is_refused(tmp_path):
    sae = make_sae("jump_relu")
    torch.save(torch.load(overcomplete(tmp_path, sae, "TopKSAE"))["state_dict"], tmp_path / "sae.pt")
    with pytest.raises(UserError, match="bare state dict.*torch.save"):
        SparseAutoencoder.load(tmp_path)
    with pytest.raises(UserError, match="MpSAE"):
        SparseAutoencoder.load(overcomplete(tmp_path, sae, "MpSAE"))
    with pytest.raises(UserError, match="without its running_threshold"):
        SparseAutoencoder.load(overcomplete(tmp_path, sae, "BatchTopKSAE", top_k=3))
    with pytest.raises(UserError, match="layer norm"):
        SparseAutoencoder.load(overcomplete(tmp_path, sae, "SAE", torch.nn.LayerNorm(WIDTH)))
    deep = torch.load(overcomplete(tmp_path, sae, "SAE"))
    deep["state_dict"]["encoder.mlp_blocks.0.0.weight"] = torch.eye(DIM)
    torch.save(deep, tmp_path / "sae.pt")
    with pytest.raises(UserError, match="several layers"):
        SparseAutoencoder.load(tmp_path)


# ViT-Prisma

PRISMA = {"architecture": "standard", "activation_fn_str": "relu", "activation_fn_kwargs": {}, "d_in": DIM,
          "normalize_activations": "none", "device": {"__type__": "torch.device", "value": "cuda"}}  # fmt: skip


def prisma(path, sae, name="weights.pt", **config):
    path.mkdir(parents=True, exist_ok=True)
    torch.save(matrix_state(sae), path / name)
    (path / "config.json").write_text(json.dumps(PRISMA | config))
    return path


def test_prisma_weights_with_their_config(tmp_path):
    sae = make_sae("top_k")
    hidden = (X - sae.b_dec) @ sae.w_enc + sae.b_enc
    for name, latents, config in (
        ("relu", torch.relu(hidden), {}),
        ("topk", torch.relu(top(hidden, 3)), {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 3}}),
    ):
        loaded = SparseAutoencoder.load(prisma(tmp_path / name, sae, "n_images_2600058.pt", **config))
        agrees(loaded, latents, latents @ sae.w_dec + sae.b_dec)


def test_prisma_settings_in_the_torch_file_are_read_and_none_of_their_code(tmp_path):
    sae = make_sae("relu")
    settings = torch_files.SETTINGS()
    settings.__dict__.update(PRISMA | {"device": torch.device("cpu"), "dtype": torch.float32})
    with as_written(settings):
        torch.save({"cfg": settings, "state_dict": matrix_state(sae)}, tmp_path / "weights.pt")
    loaded = SparseAutoencoder.load(tmp_path)
    latents = torch.relu((X - sae.b_dec) @ sae.w_enc + sae.b_enc)
    agrees(loaded, latents, latents @ sae.w_dec + sae.b_dec)
    assert loaded.metadata["imported"]["cfg"]["activation_fn_str"] == "relu"
    torch.save({"cfg": SparseAutoencoder, "state_dict": matrix_state(sae)}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match="needs unpickling"):
        SparseAutoencoder.load(tmp_path)


def as_written(settings):
    """A module under ViT-Prisma's name, which pickle wants to see while it writes."""
    import sys
    import types
    from unittest.mock import patch

    module = types.ModuleType(type(settings).__module__)
    setattr(module, type(settings).__name__, type(settings))
    parents = {name: types.ModuleType(name) for name in ("vit_prisma", "vit_prisma.sae")}
    return patch.dict(sys.modules, parents | {module.__name__: module})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "gated"}, "'gated'"),
        ({"normalize_activations": "layer_norm"}, "at run time"),
        ({"activation_fn_str": "tanh-relu"}, "'tanh-relu'"),
    ],
)
def test_prisma_beyond_our_formula_is_refused(tmp_path, config, message):
    with pytest.raises(UserError, match=message):
        SparseAutoencoder.load(prisma(tmp_path, make_sae("relu"), **config))
