"""ViT-Prisma's SAEs: ``config.json`` beside a ``.pt``, or settings and state dict in one torch file."""

from pathlib import Path
from typing import Any

from vlm_sae_lib import files
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.foreign.refusals import refuse_settings, refuse_tensors
from vlm_sae_lib.sae.foreign.torch_files import SETTINGS, need

NAMES = ("W_enc", "b_enc", "W_dec", "b_dec")
TOLD_BY = "activation_fn_str"
"""A field of its settings that no other library's ``config.json`` has."""


def settings(path: Path, state: dict[str, Any]) -> dict[str, Any] | None:
    """ViT-Prisma's settings: of the ``config.json`` beside the file, else of the file; None where it is not its own.

    A null is a setting left out.
    """
    try:
        config = files.read_json(path.parent / "config.json")
    except (OSError, ValueError):
        config = None
    inner = state.get("cfg")
    for found in (config, vars(inner) if isinstance(inner, SETTINGS) else inner):
        if isinstance(found, dict) and TOLD_BY in found:
            return {name: value for name, value in found.items() if value is not None}
    return None


def read(path: Path, state: dict[str, Any], config: dict[str, Any]) -> SparseAutoencoder:
    """Read the state dict of ``path`` under ViT-Prisma's settings; it centres its input by b_dec, as we do.

    Raises ``UserError`` for a transcoder, a gated SAE, another activation than relu and topk, and inputs normalised at
    run time.
    """
    tensors = state.get("state_dict", state)
    refuse_settings(path, config)
    if config.get("architecture", "standard") not in ("standard", "vanilla"):
        raise UserError(f"{path} is a {config['architecture']!r} SAE of ViT-Prisma: only standard ones are read.")
    if config.get("normalize_activations") not in (None, "none", False):
        raise UserError(
            f"{path} normalises each input at run time ({config['normalize_activations']}), which no weights can "
            'express: use an SAE trained with normalize_activations "none".'
        )
    activation = config.get(TOLD_BY, "relu")
    if activation not in ("relu", "topk"):
        raise UserError(f"{path} has the activation function {activation!r}: only relu and topk are read.")
    need(tensors, NAMES, path, "ViT-Prisma")
    refuse_tensors(path, tensors, NAMES, bias="b_enc")
    plain = {name: value for name, value in config.items() if isinstance(value, str | int | float | bool)}
    return SparseAutoencoder(
        kind="top_k" if activation == "topk" else "relu",
        w_enc=tensors["W_enc"],
        b_enc=tensors["b_enc"],
        w_dec=tensors["W_dec"],
        b_dec=tensors["b_dec"],
        k=int((config.get("activation_fn_kwargs") or {}).get("k") or 0) if activation == "topk" else None,
        metadata={"imported": {"format": "vit_prisma", "file": path.name, "cfg": plain}},
    )
