"""EleutherAI sparsify's folder: ``cfg.json`` and ``sae.safetensors`` of a TopK SAE."""

from pathlib import Path
from typing import Any

from torch import Tensor

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.foreign.refusals import refuse_settings, refuse_tensors
from vlm_sae_lib.sae.foreign.torch_files import need

WEIGHTS = "sae.safetensors"
NAMES = ("encoder.weight", "encoder.bias", "W_dec", "b_dec")


def read(path: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> SparseAutoencoder:
    """Read the folder ``path`` from its contents; the k largest after ReLU, input centred, as sparsify encodes.

    Raises ``UserError`` for a transcoder, a skip connection, a table of n-grams, and another activation than topk.
    """
    refuse_settings(path, config)
    activation = "signed topk" if config.get("signed", False) else config.get("activation", "topk")
    if activation != "topk":
        raise UserError(f"{path} has the activation {activation!r}: of sparsify's SAEs only topk ones are read.")
    need(tensors, NAMES, path, "sparsify")
    refuse_tensors(path, tensors, NAMES, bias="encoder.bias")
    return SparseAutoencoder(
        kind="top_k",
        w_enc=tensors["encoder.weight"].T,
        b_enc=tensors["encoder.bias"],
        w_dec=tensors["W_dec"],
        b_dec=tensors["b_dec"],
        k=int(config.get("k") or 0),
        metadata={"imported": {"format": "sparsify", "cfg": config}},
    )
