"""SAELens's folder: ``cfg.json`` and ``sae_weights.safetensors`` of a standard, topk or jumprelu SAE."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlm_sae_lib import files
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.foreign.refusals import refuse_settings, refuse_tensors
from vlm_sae_lib.sae.foreign.torch_files import uncentred

KINDS = {"standard": "relu", "topk": "top_k", "jumprelu": "jump_relu"}
SCALER = "activation_scaler.json"
NAMES = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")


def read(path: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> SparseAutoencoder:
    """Read the folder ``path`` from its contents; what SAELens applies at run time is folded into the weights.

    BatchTopK and Matryoshka SAEs of SAELens are jumprelu ones on disk, and come back as such.

    Raises ``UserError`` for what our formula cannot express: other architectures and activation functions, transcoders
    under whatever name, inputs that are normalised one by one, whitened or reshaped, and an average norm whose factor
    the folder does not hold.
    """
    architecture, k = _architecture(path, config)
    refuse_settings(path, config)
    refuse_tensors(path, tensors, NAMES, bias="b_enc")
    w_enc, b_enc, w_dec, b_dec = (tensors[name].float() for name in ("W_enc", "b_enc", "W_dec", "b_dec"))
    if (tensors.get("scaling_factor", torch.ones(1)) != 1).any():
        raise UserError(f"{path} has finetuned scaling factors: fold them into its decoder and export it anew.")
    if architecture == "topk" and config.get("rescale_acts_by_decoder_norm", False):
        norms = w_dec.norm(dim=1)
        w_enc, b_enc, w_dec = w_enc * norms, b_enc * norms, w_dec / norms[:, None]
    factor = _input_factor(path, config)
    w_enc, w_dec, b_dec = w_enc * factor, w_dec / factor, b_dec / factor
    if not config.get("apply_b_dec_to_input", True):
        b_enc = uncentred(w_enc, b_enc, b_dec)
    facts: dict[str, Any] = {"format": "sae_lens", "cfg": config}
    if factor != 1:
        facts["input_factor"] = factor
    return SparseAutoencoder(
        kind=KINDS[architecture],
        w_enc=w_enc,
        b_enc=b_enc,
        w_dec=w_dec,
        b_dec=b_dec,
        k=k,
        threshold=tensors.get("threshold") if architecture == "jumprelu" else None,
        metadata={"imported": facts},
    )


def _architecture(path: Path, config: dict[str, Any]) -> tuple[str, int | None]:
    """(architecture, k); before 6.0 TopK was a standard SAE with that activation function."""
    architecture = config.get("architecture", "standard")
    activation = config.get("activation_fn", config.get("activation_fn_str", "relu"))
    if architecture == "standard" and activation == "topk":
        architecture = "topk"
    if architecture not in KINDS:
        raise UserError(f"{path} is a SAELens SAE of architecture {architecture!r}: only {', '.join(KINDS)} are read.")
    if activation not in ("relu", "topk"):
        raise UserError(f"{path} has the activation function {activation!r}: only relu and topk are read.")
    if config.get("reshape_activations", "none") != "none":
        raise UserError(
            f"{path} reshapes its inputs ({config['reshape_activations']}): flatten them and export it anew."
        )
    if architecture != "topk":
        return architecture, None
    return architecture, int(config.get("k") or config.get("activation_fn_kwargs", {}).get("k") or 0)


def _input_factor(path: Path, config: dict[str, Any]) -> float:
    """What SAELens multiplies inputs by before encoding, and divides reconstructions by."""
    normalised = config.get("normalize_activations", "none")
    if normalised in ("none", False, None):
        return 1.0
    if normalised not in ("expected_average_only_in", True):
        raise UserError(
            f"{path} normalises its inputs at run time ({normalised}), which no weights can express: use an SAE "
            'trained with normalize_activations "none" or "expected_average_only_in".'
        )
    try:
        factor = float(files.read_json(path / SCALER)["scaling_factor"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} expects inputs scaled by a factor that it does not hold: put its {SCALER} beside cfg.json, or "
            "call fold_activation_norm_scaling_factor in SAELens and save it anew."
        ) from error
    return factor
