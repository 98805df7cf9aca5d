"""What a training run leaves behind now and then, so that a killed one continues: one file, whole or absent."""

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor

from vlm_sae_lib import files
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.quoting import quoted

NAME = "checkpoint.safetensors"
TEXT = ("run", "facts")


def write(folder: Path, run: dict[str, Any], tensors: dict[str, Tensor], facts: list[dict[str, Any]]) -> None:
    """Write the state of all SAEs of a run; ``run`` names the run it belongs to. Raises ``UserError`` if unwritable."""
    text = {"run": files.canonical_json(run), "facts": json.dumps(facts)}
    text["sha256"] = _digest(tensors, text)
    try:
        files.write_bytes(folder / NAME, safetensors.torch.save(tensors, metadata=text))
    except OSError as error:
        reason = f"no checkpoint can be written to {folder} ({error.strerror})"
        raise UserError(f"{reason}: choose a path you may write.") from error


def read(folder: Path, run: dict[str, Any]) -> tuple[dict[str, Tensor], list[dict[str, Any]]] | None:
    """The state written last, ``None`` where there is none. Raises ``UserError`` where it is another run's."""
    path = folder / NAME
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            text = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        theirs, facts = (json.loads(text[name]) for name in TEXT)
        if _digest(tensors, text) != text["sha256"]:
            raise ValueError("other bytes than were written")
    except Exception as error:  # a damaged header holds anything
        raise unreadable(folder) from error
    differing = _differences(theirs, json.loads(files.canonical_json(run)))
    if differing:
        raise UserError(f"{path} belongs to another run ({quoted(differing[0])}): delete it or give another folder.")
    return tensors, facts


def _digest(tensors: dict[str, Tensor], text: dict[str, str]) -> str:
    """SHA-256 over everything that is written: the format has none, and one bit makes another SAE."""
    digest = hashlib.sha256("\n".join(text[name] for name in TEXT).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def unreadable(folder: Path) -> UserError:
    """What is said of a checkpoint that holds something else than was written."""
    return UserError(f"{folder / NAME} is no readable checkpoint: delete it to start anew.")


def _differences(theirs: Any, ours: Any, where: str = "") -> list[str]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        names = sorted(set(theirs) | set(ours))
        return [d for n in names for d in _differences(theirs.get(n), ours.get(n), f"{where}.{n}" if where else n)]
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        pairs = zip(theirs, ours, strict=True)
        return [d for i, (a, b) in enumerate(pairs) for d in _differences(a, b, f"{where}[{i}]")]
    return [] if theirs == ours else [f"{where} was {theirs!r}, is {ours!r}"]
