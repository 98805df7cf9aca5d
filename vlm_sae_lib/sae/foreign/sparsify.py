"""EleutherAI sparsify's folder: ``cfg.json`` and ``sae.safetensors`` of a TopK SAE."""

from pathlib import Path
from typing import Any

from torch import Tensor

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.foreign.torch_files import need

WEIGHTS = "sae.safetensors"


def read(path: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> SparseAutoencoder:
    """Read the folder ``path`` from its contents; the k largest after ReLU, input centred, as sparsify encodes.

    Raises ``UserError`` for a transcoder, a skip connection, and another activation than topk.
    """
    for setting, means in (("transcode", "is a transcoder"), ("skip_connection", "has a skip connection")):
        if config.get(setting, False):
            raise UserError(f"{path} {means}, not an autoencoder: name an SAE trained without {setting}.")
    activation = "signed topk" if config.get("signed", False) else config.get("activation", "topk")
    if activation != "topk":
        raise UserError(f"{path} has the activation {activation!r}: of sparsify's SAEs only topk ones are read.")
    need(tensors, ("encoder.weight", "encoder.bias", "W_dec", "b_dec"), path, "sparsify")
    return SparseAutoencoder(
        kind="top_k",
        w_enc=tensors["encoder.weight"].T,
        b_enc=tensors["encoder.bias"],
        w_dec=tensors["W_dec"],
        b_dec=tensors["b_dec"],
        k=int(config.get("k") or 0),
        metadata={"imported": {"format": "sparsify", "cfg": config}},
    )
