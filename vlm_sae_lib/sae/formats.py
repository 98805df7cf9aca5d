"""Sparse autoencoders of other libraries: the paper's ``ae_*.pt`` and dictionary_learning's ``ae.pt``."""

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlm_sae_lib import files
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import folder
from vlm_sae_lib.sae.artefact import SparseAutoencoder


def load(path: str | Path) -> SparseAutoencoder:
    """Read an SAE in any known format; see ``SparseAutoencoder.load``."""
    path = Path(path)
    if path.is_dir():
        if (path / folder.CONFIG).exists():
            return folder.read(path)
        checkpoints = [path / "ae.pt"] if (path / "ae.pt").exists() else sorted(path.glob("ae_*.pt"))
        if len(checkpoints) != 1:
            found = f"{len(checkpoints)} ae_*.pt files" if checkpoints else "neither cfg.json nor an ae.pt"
            raise UserError(f"{path} holds {found}: give an SAE folder or name one checkpoint file.")
        path = checkpoints[0]
    if not path.exists():
        raise UserError(f"there is no SAE at {path}: check the path.")
    return from_dictionary_learning(path)


def from_dictionary_learning(path: Path) -> SparseAutoencoder:
    """Read a state dict of dictionary_learning, or of the paper's fork of it.

    Which class wrote it is told by its keys; BatchTopK and TopK share theirs, and a ``config.json`` beside the file
    decides, BatchTopK being assumed without one. Biases and thresholds are already in raw units, except in a backup
    (key "ae"), whose factor is still to be folded in.
    """
    state = _tensors_only(path)
    factor = 1.0
    if "ae" in state:
        factor = float(state.get("norm_factor") or 1.0)
        state = state["ae"]
    state = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    trainer = _trainer_config(path)
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


def _parts(state: dict[str, Tensor], dict_class: str, path: Path) -> dict[str, Any]:
    """The arguments of a ``SparseAutoencoder``, in our orientation."""
    names = set(state)
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
        parts["b_enc"] = parts["b_enc"] + parts["b_dec"] @ parts["w_enc"]
        return parts | {"kind": "jump_relu", "threshold": state["threshold"]}
    if {"encoder.weight", "encoder.bias", "decoder.weight"} <= names and names & {"b_dec", "bias"}:
        parts = {
            "w_enc": state["encoder.weight"].T,
            "b_enc": state["encoder.bias"],
            "w_dec": state["decoder.weight"].T,
            "b_dec": state["b_dec"] if "b_dec" in names else state["bias"],
        }
        if "k" not in names:
            return parts | {"kind": "relu"}
        parts["k"] = int(state["k"])
        if dict_class == "AutoEncoderTopK" or "threshold" not in names:
            return parts | {"kind": "top_k"}
        return parts | {"kind": "batch_top_k", "threshold": state["threshold"].reshape(())}
    shown = ", ".join(sorted(names)[:6]) or "no tensors"
    raise UserError(f"{path} holds no SAE that is known here (its keys: {shown}): see SparseAutoencoder.load.")


def _tensors_only(path: Path) -> dict[str, Any]:
    """``torch.load`` that builds nothing but tensors and plain containers."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} needs unpickling, which can run any code, or is no torch file: save its state_dict alone."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} is no readable torch file ({reason}): fetch it again.") from error
    if not isinstance(state, dict):
        raise UserError(f"{path} holds a {type(state).__name__}, not a state dict: save the SAE's state_dict.")
    return state


def _trainer_config(path: Path) -> dict[str, Any]:
    """dictionary_learning's config.json, beside the checkpoint or beside its ``checkpoints`` folder."""
    for place in (path.parent, path.parent.parent):
        try:
            config = files.read_json(place / "config.json")
            trainer = config.get("trainer") if isinstance(config, dict) else None
        except (OSError, json.JSONDecodeError, UnicodeDecodeError):
            continue
        if isinstance(trainer, dict):
            return {name: value for name, value in trainer.items() if isinstance(value, str | int | float | bool)}
    return {}
