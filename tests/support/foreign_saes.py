"""SAEs as other libraries write them, one writer for each layout, and what it takes to agree with such a library."""

import json
from pathlib import Path

import safetensors.torch
import torch
from random_saes import DIM, WIDTH, inputs

from vlm_sae_lib.sae import SparseAutoencoder

K = torch.tensor(3, dtype=torch.int32)
X = inputs(40, DIM)


def agrees(loaded: SparseAutoencoder, latents: torch.Tensor, reconstruction: torch.Tensor) -> None:
    assert 0 < (latents != 0).float().mean() < 1
    torch.testing.assert_close(loaded.encode(X), latents, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loaded.decode(latents), reconstruction, rtol=1e-5, atol=1e-5)


def top(values: torch.Tensor, k: int) -> torch.Tensor:
    kept = values.topk(k, dim=-1)
    return torch.zeros_like(values).scatter(-1, kept.indices, kept.values)


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


def sparsify(path, sae, **config):
    path.mkdir(parents=True)
    base = {"activation": "topk", "expansion_factor": 32, "normalize_decoder": True, "num_latents": WIDTH, "k": 3,
            "multi_topk": False, "skip_connection": False, "transcode": False, "d_in": DIM}  # fmt: skip
    (path / "cfg.json").write_text(json.dumps(base | config))
    tensors = {"encoder.weight": sae.w_enc.T.contiguous(), "encoder.bias": sae.b_enc, "W_dec": sae.w_dec}
    safetensors.torch.save_file(tensors | {"b_dec": sae.b_dec}, path / "sae.safetensors")
    return path


def saev(path, state, header):
    path.mkdir(parents=True, exist_ok=True)
    with open(path / "sae.pt", "wb") as file:
        file.write((json.dumps(header) + "\n").encode())
        torch.save(state, file)
    return path / "sae.pt"


def saev_header(name: str, **params) -> dict:
    activation = {"cls": name, "params": {"sparsity": {"cls": "NoSparsity", "params": {}}, **params}}
    return {"schema": 5, "cfg": {"d_model": DIM, "d_sae": WIDTH, "activation": activation}, "commit": "0", "lib": "1"}


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


PRISMA = {"architecture": "standard", "activation_fn_str": "relu", "activation_fn_kwargs": {}, "d_in": DIM,
          "normalize_activations": "none", "device": {"__type__": "torch.device", "value": "cuda"}}  # fmt: skip


def prisma(path, sae, name="weights.pt", **config):
    path.mkdir(parents=True, exist_ok=True)
    torch.save(matrix_state(sae), path / name)
    (path / "config.json").write_text(json.dumps(PRISMA | config))
    return path
