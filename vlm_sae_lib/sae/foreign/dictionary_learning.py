"""dictionary_learning's ``ae.pt``, and the ``ae_*.pt`` of the authors' fork of it (the paper's checkpoints)."""

from pathlib import Path
from typing import Any

from torch import Tensor

from vlm_sae_lib import files
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.foreign.refusals import refuse_tensors
from vlm_sae_lib.sae.foreign.torch_files import uncentred

MATRICES = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold", "k", "group_sizes")
LINEAR = ("encoder.weight", "encoder.bias", "decoder.weight", "b_dec", "bias", "decoder.bias", "threshold", "k")


def read(path: Path, state: dict[str, Any]) -> SparseAutoencoder:
    """Read the state dict of ``path``.

    Which class wrote it is told by its keys; BatchTopK and TopK share theirs, and a ``config.json`` beside the file
    decides, BatchTopK being assumed without one. It also has the k of the first TopK files, which hold none. Biases and
    thresholds are already in raw units, except in a backup (key "ae"), whose factor is still to be folded in. The
    decoder is taken as it is stored, not scaled to unit length.

    Raises ``UserError`` for other keys, a Gated SAE, a crosscoder, and what was trained from a module's input to its
    output; for a k or a threshold that is nowhere told.
    """
    factor = 1.0
    if "ae" in state:
        factor = float(state.get("norm_factor") or 1.0)
        state = state["ae"]
    state = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    config = _config(path)
    trainer = {name: value for name, value in config["trainer"].items() if isinstance(value, str | int | float | bool)}
    if isinstance(buffer := config.get("buffer"), dict) and buffer.get("io") == "in_and_out":
        raise UserError(f"{path} is a transcoder, from a module's input to its output: name an SAE of one of them.")
    facts: dict[str, Any] = {"format": "dictionary_learning", "file": path.name, "trainer": trainer}
    if factor != 1.0:
        facts["norm_factor"] = factor
    parts = _parts(state, trainer, path)
    for name in ("b_enc", "b_dec", "threshold"):
        if parts.get(name) is not None:
            # A threshold never learned is -1 in any unit.
            unlearned = name == "threshold" and bool((parts[name] == -1).all())
            parts[name] = parts[name].float() * (1.0 if unlearned else factor)
    return SparseAutoencoder(**parts, metadata={"imported": facts})


def _config(path: Path) -> dict[str, Any]:
    """The config.json with a "trainer", beside the checkpoint or beside its ``checkpoints`` folder.

    Raises ``UserError`` for one that cannot be read: without it a TopK SAE would pass for a BatchTopK one.
    """
    for place in (path.parent, path.parent.parent):
        try:
            config = files.read_json(place / "config.json")
        except OSError:
            continue
        except ValueError as error:
            raise UserError(f"{place / 'config.json'} says how {path.name} was trained and is damaged ({error}): fetch "
                            "it again, or take it away.") from error  # fmt: skip
        if isinstance(config, dict) and isinstance(config.get("trainer"), dict):
            return config
    return {"trainer": {}}


def _parts(state: dict[str, Tensor], trainer: dict[str, Any], path: Path) -> dict[str, Any]:
    """The arguments of a ``SparseAutoencoder``, in our orientation."""
    names = set(state)
    shown = ", ".join(sorted(names)[:6]) or "no tensors"
    by_matrices = "W_enc" in names
    refuse_tensors(path, state, MATRICES if by_matrices else LINEAR, bias="b_enc" if by_matrices else "encoder.bias")
    if {"W_enc", "b_enc", "W_dec", "b_dec", "threshold"} <= names:
        parts: dict[str, Any] = {
            "w_enc": state["W_enc"], "b_enc": state["b_enc"], "w_dec": state["W_dec"], "b_dec": state["b_dec"],
        }  # fmt: skip
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
        if bias != "b_dec":
            return parts | {"kind": "relu"}
        k, dict_class = state.get("k", trainer.get("k")), str(trainer.get("dict_class", ""))
        if k is None:
            raise UserError(f"{path} is a TopK SAE and holds no k: put the config.json of its training beside it.")
        parts["k"] = int(k)
        if dict_class != "AutoEncoderTopK" and "threshold" in names:
            return parts | {"kind": "batch_top_k", "threshold": state["threshold"].reshape(())}
        if dict_class.startswith("BatchTopK"):
            raise UserError(f"{path} is a BatchTopK SAE without a learned threshold: train it with a newer library.")
        return parts | {"kind": "top_k"}
    raise UserError(f"{path} holds no SAE that is known here (its keys: {shown}): see SparseAutoencoder.load.")
