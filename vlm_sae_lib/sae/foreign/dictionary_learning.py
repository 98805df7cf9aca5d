"""dictionary_learning's ``ae.pt``, and the ``ae_*.pt`` of the authors' fork of it (the paper's checkpoints)."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from vlm_sae_lib import files
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.foreign.torch_files import uncentred

GATED = {"r_mag", "gate_bias", "mag_bias"}


def read(path: Path, state: dict[str, Any]) -> SparseAutoencoder:
    """Read the state dict of ``path``.

    Which class wrote it is told by its keys; BatchTopK and TopK share theirs, and a ``config.json`` beside the file
    decides, BatchTopK being assumed without one. Biases and thresholds are already in raw units, except in a backup
    (key "ae"), whose factor is still to be folded in. The decoder is taken as it is stored, not scaled to unit length.

    Raises ``UserError`` for other keys and for a Gated SAE.
    """
    factor = 1.0
    if "ae" in state:
        factor = float(state.get("norm_factor") or 1.0)
        state = state["ae"]
    state = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    trainer = trainer_config(path)
    facts: dict[str, Any] = {"format": "dictionary_learning", "file": path.name, "trainer": trainer}
    if factor != 1.0:
        facts["norm_factor"] = factor
    parts = _parts(state, str(trainer.get("dict_class", "")), path)
    for name in ("b_enc", "b_dec", "threshold"):
        if parts.get(name) is not None:
            # A threshold never learned is -1 in any unit.
            unlearned = name == "threshold" and bool((parts[name] == -1).all())
            parts[name] = parts[name].float() * (1.0 if unlearned else factor)
    return SparseAutoencoder(**parts, metadata={"imported": facts})


def trainer_config(path: Path) -> dict[str, Any]:
    """The plain values of config.json's "trainer", beside the checkpoint or beside its ``checkpoints`` folder."""
    for place in (path.parent, path.parent.parent):
        try:
            config = files.read_json(place / "config.json")
            trainer = config.get("trainer") if isinstance(config, dict) else None
        except (OSError, json.JSONDecodeError, UnicodeDecodeError):
            continue
        if isinstance(trainer, dict):
            return {name: value for name, value in trainer.items() if isinstance(value, str | int | float | bool)}
    return {}


def _parts(state: dict[str, Tensor], dict_class: str, path: Path) -> dict[str, Any]:
    """The arguments of a ``SparseAutoencoder``, in our orientation."""
    names = set(state)
    shown = ", ".join(sorted(names)[:6]) or "no tensors"
    if names & GATED:
        raise UserError(f"{path} is a GatedAutoEncoder (its keys: {shown}), which is not read: train another kind.")
    if {"W_enc", "b_enc", "W_dec", "b_dec", "threshold"} <= names:
        parts = {"w_enc": state["W_enc"], "b_enc": state["b_enc"], "w_dec": state["W_dec"], "b_dec": state["b_dec"]}
        if "group_sizes" in names:
            return parts | {
                "kind": "matryoshka_batch_top_k",
                "k": int(state["k"]),
                "threshold": state["threshold"].reshape(()),
                "group_sizes": tuple(state["group_sizes"].tolist()),
            }
        # Its JumpReLU does not subtract b_dec before encoding.
        parts["b_enc"] = uncentred(parts["w_enc"], parts["b_enc"], parts["b_dec"])
        return parts | {"kind": "jump_relu", "threshold": state["threshold"]}
    if {"encoder.weight", "encoder.bias", "decoder.weight"} <= names and names & {"b_dec", "bias", "decoder.bias"}:
        bias = next(name for name in ("b_dec", "bias", "decoder.bias") if name in names)
        parts = {
            "w_enc": state["encoder.weight"].T,
            "b_enc": state["encoder.bias"],
            "w_dec": state["decoder.weight"].T,
            "b_dec": state[bias],
        }
        if bias == "decoder.bias":  # AutoEncoderNew does not subtract it either
            parts["b_enc"] = uncentred(parts["w_enc"], parts["b_enc"], parts["b_dec"])
        if "k" not in names:
            return parts | {"kind": "relu"}
        parts["k"] = int(state["k"])
        if dict_class == "AutoEncoderTopK" or "threshold" not in names:
            return parts | {"kind": "top_k"}
        return parts | {"kind": "batch_top_k", "threshold": state["threshold"].reshape(())}
    raise UserError(f"{path} holds no SAE that is known here (its keys: {shown}): see SparseAutoencoder.load.")
