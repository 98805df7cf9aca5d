"""saev's ``sae.pt``: a line of JSON, then a torch file with the state dict."""

import json
from pathlib import Path
from typing import Any

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.foreign.refusals import refuse_tensors
from vlm_sae_lib.sae.foreign.torch_files import need, tensors_only, uncentred

SCHEMAS = (2, 3, 4, 5)
NAMES, THRESHOLD = ("W_enc", "b_enc", "W_dec", "b_dec"), "activation.threshold"


def is_saev(path: Path) -> bool:
    """Whether the file starts with a JSON object; no torch file does."""
    with open(path, "rb") as file:
        return file.read(1) == b"{"


def read(path: Path) -> SparseAutoencoder:
    """Read the file ``path``; its latents are those of saev in eval mode.

    saev encodes without subtracting b_dec; its first files (without a schema number) did subtract it. Its TopK keeps
    the k largest pre-activations whatever their sign, so where fewer than k are positive it has negative latents that
    are zero here. Matryoshka prefixes are drawn anew in each of its training steps, so there are no groups to read.

    Raises ``UserError`` for a header that is damaged or of schema 1, of which there are two, for an unknown
    activation, and for a BatchTopK SAE without a learned threshold.
    """
    line, _, rest = path.read_bytes().partition(b"\n")
    try:
        header = json.loads(line)
    except ValueError as error:
        raise UserError(f"{path} starts like a saev checkpoint with no readable header: fetch it again.") from error
    schema = header.get("schema")
    if schema is not None and schema not in SCHEMAS:
        raise UserError(
            f"{path} is a saev checkpoint of schema {schema}, which is not known for certain: load it with saev and "
            "save it anew."
        )
    state = tensors_only(path, rest)
    need(state, NAMES, path, "saev")
    refuse_tensors(path, state, (*NAMES, THRESHOLD), bias="b_enc")
    w_enc, b_enc, b_dec = state["W_enc"], state["b_enc"], state["b_dec"]
    kind = _activation(path, header, state)
    return SparseAutoencoder(
        w_enc=w_enc,
        b_enc=b_enc if schema is None else uncentred(w_enc, b_enc, b_dec),
        w_dec=state["W_dec"],
        b_dec=b_dec,
        **kind,
        metadata={"imported": {"format": "saev", "file": path.name, "header": header}},
    )


def _activation(path: Path, header: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """kind, k and threshold."""
    if "schema" not in header:
        return {"kind": "relu"}
    activation = (header.get("cfg") or {}).get("activation") or {}
    name, settings = activation.get("cls"), activation.get("params") or {}
    if name == "Relu":
        return {"kind": "relu"}
    if name == "TopK":
        return {"kind": "top_k", "k": min(int(settings["top_k"]), state["b_enc"].numel())}
    if name != "BatchTopK":
        raise UserError(f"{path} has saev's activation {name!r}: only Relu, TopK and BatchTopK are read.")
    threshold = state.get(THRESHOLD)
    if threshold is None or float(threshold) <= 0:
        raise UserError(
            f"{path} is a BatchTopK SAE of saev without a learned threshold (older ones took the k largest of every "
            "sample): train it with a newer saev."
        )
    return {"kind": "batch_top_k", "k": int(settings["top_k"]), "threshold": threshold.reshape(())}
