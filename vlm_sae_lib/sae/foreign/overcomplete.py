"""overcomplete's SAEs: it has no format of its own, so a state dict and what that leaves out (``RECIPE``)."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.foreign.refusals import refuse_tensors
from vlm_sae_lib.sae.foreign.torch_files import just_below, need

RECIPE = (
    'sae.train().eval(); torch.save({"class": type(sae).__name__, "state_dict": sae.state_dict(), '
    '"dictionary": sae.get_dictionary().detach(), "top_k": getattr(sae, "top_k", None), '
    '"running_threshold": getattr(sae, "running_threshold", None)}, path)'
)
"""A state dict knows neither k nor BatchTopK's threshold nor how the dictionary is normalised."""
LAST = "encoder.final_block."
KINDS = {
    "SAE": "relu",
    "TopKSAE": "top_k",
    "RATopKSAE": "top_k",
    "BatchTopKSAE": "batch_top_k",
    "JumpSAE": "jump_relu",
    "RAJumpSAE": "jump_relu",
}


def is_overcomplete(state: dict[str, Any]) -> bool:
    """Whether a torch file holds what ``RECIPE`` writes, or a bare state dict of this library."""
    inner = state.get("state_dict", state)
    return isinstance(inner, dict) and any(name.startswith((LAST, "dictionary.")) for name in inner)


def read(path: Path, state: dict[str, Any]) -> SparseAutoencoder:
    """Read what ``RECIPE`` wrote to ``path``: an SAE with a linear encoder, with or without batch norm after it.

    There is no b_dec. overcomplete keeps what is at least a threshold, we what is above one: ours lies one float below.

    Raises ``UserError`` for a bare state dict, saying how to write the rest, and for other classes and encoders.
    """
    if not {"class", "state_dict", "dictionary"} <= set(state):
        raise UserError(f"{path} is a bare state dict of overcomplete and lacks k or threshold: write it by {RECIPE}.")
    name, inner = str(state["class"]), state["state_dict"]
    if name not in KINDS:
        raise UserError(f"{path} is overcomplete's {name}: only {', '.join(KINDS)} are read.")
    others = [key for key in inner if key.startswith("encoder.") and not key.startswith((f"{LAST}0.", f"{LAST}1."))]
    if others:
        raise UserError(f'{path} has an encoder of several layers ({others[0]}): only "linear" encoders are read.')
    need(inner, (f"{LAST}0.weight", f"{LAST}0.bias"), path, "overcomplete")
    need(state, ("dictionary",), path, "overcomplete")
    beside = {key: value for key, value in inner.items() if not key.startswith("dictionary.")}
    used = tuple(key for key in beside if key.startswith("encoder."))
    refuse_tensors(path, beside | {"dictionary": state["dictionary"]}, (*used, "dictionary"), bias=f"{LAST}0.bias")
    w_enc, b_enc = _encoder(path, inner)
    dictionary, kind = state["dictionary"], KINDS[name]
    parts: dict[str, Any] = {}
    if kind in ("top_k", "batch_top_k"):
        parts["k"] = int(state.get("top_k") or 0)
    if kind == "batch_top_k":
        if state.get("running_threshold") is None:
            raise UserError(f"{path} is a BatchTopKSAE without its running_threshold: write it by {RECIPE}.")
        parts["threshold"] = just_below(torch.as_tensor(state["running_threshold"]).reshape(()))
    if kind == "jump_relu":
        need(inner, ("thresholds",), path, "overcomplete")
        parts["threshold"] = just_below(inner["thresholds"].float().exp())
    return SparseAutoencoder(
        kind=kind,
        w_enc=w_enc,
        b_enc=b_enc,
        w_dec=dictionary,
        b_dec=torch.zeros(dictionary.shape[1]),
        **parts,
        metadata={"imported": {"format": "overcomplete", "file": path.name, "class": name}},
    )


def _encoder(path: Path, state: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """W_enc (d, latents) and b_enc; batch norm in eval mode is one more affine map."""
    w_enc, b_enc = state[f"{LAST}0.weight"].float().T, state[f"{LAST}0.bias"].float()
    if not any(name.startswith(f"{LAST}1.") for name in state):
        return w_enc, b_enc
    names = ("weight", "bias", "running_mean", "running_var")
    if f"{LAST}1.running_mean" not in state:
        raise UserError(f"{path} has an encoder with layer norm, which no weights can express: train a linear one.")
    need(state, tuple(f"{LAST}1.{name}" for name in names), path, "overcomplete")
    scale, shift, mean, variance = (state[f"{LAST}1.{name}"].float() for name in names)
    scale = scale / (variance + torch.nn.BatchNorm1d(1).eps).sqrt()
    return w_enc * scale, (b_enc - mean) * scale + shift
