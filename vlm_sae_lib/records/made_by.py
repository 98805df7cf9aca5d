"""What made a run: a file that tells, for each thing in its folder, its hash and the circumstances it was made in."""

import importlib.metadata
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import file_hash, folder_hash, read_json, write_json
from vlm_sae_lib.machine.devices import choose_device
from vlm_sae_lib.profiles import Profile
from vlm_sae_lib.records.provenance import models_hash, settings_hash

SCHEMA = 1
NAME = "record.json"
THINGS = {"activations": "*", "saes": "*", "results": "*.json", "notebooks": "*.ipynb"}
"""What is looked after below ``runs/<profile>``: a folder or a file each, its hidden neighbours not."""
HASHES = ("settings", "models", "library")


def circumstances(profile: Profile) -> dict[str, Any]:
    """What a result may depend on: seed and settings, models, code, packages, device and instruction set."""
    return {
        "seed": profile.seed,
        "settings": settings_hash(profile),
        "models": models_hash(profile),
        "library": folder_hash(paths.PACKAGE, ("*.py",)),
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": _packages(),
        "machine": machine(),
    }


def machine() -> dict[str, Any]:
    """Device, processor, its instruction set as torch uses it, threads, system."""
    device = choose_device()
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def write_record(profile: Profile) -> Path:
    """``runs/<profile>/record.json``: what is as it was keeps its circumstances, the rest gets today's."""
    folder = paths.runs(profile.name)
    before = read_record(profile.name) if (folder / NAME).is_file() else {"circumstances": [], "made": {}}
    today, known = circumstances(profile), list(before["circumstances"])
    made, used = {}, list[dict[str, Any]]()
    for name, hash in things(folder).items():
        old = before["made"].get(name)
        made_in = known[old["in"]] if old is not None and old["sha256"] == hash else today
        if made_in not in used:
            used.append(made_in)
        made[name] = {"sha256": hash, "in": used.index(made_in)}
    write_json(folder / NAME, {"schema": SCHEMA, "profile": profile.name, "circumstances": used, "made": made})
    return folder / NAME


def read_record(profile: str) -> dict[str, Any]:
    """A run's record: ``circumstances``, and for each thing in ``made`` its ``sha256`` and which of them (``in``).

    Raises:
        UserError: there is none, or none that this version reads.
    """
    path = paths.runs(profile) / NAME
    again = f"run it once more (python -m vlm_sae_lib run --profile {profile}), and it will be written"
    if not path.is_file():
        raise UserError(f"There is no record of a run at {path}: {again}.")
    try:
        found = read_json(path)
        known = len(found["circumstances"])
        whole = found["schema"] == SCHEMA and all(
            isinstance(thing["sha256"], str) and 0 <= thing["in"] < known for thing in found["made"].values()
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise UserError(f"{path} is no record of a run that this version reads: delete that file and {again}.")
    return found


def things(folder: Path) -> dict[str, str]:
    """The hash of each thing that lies in a run's folder, by its path there."""
    found = {}
    for kind, pattern in THINGS.items():
        for path in sorted((folder / kind).glob(pattern)):
            if not path.name.startswith("."):
                found[f"{kind}/{path.name}"] = folder_hash(path) if path.is_dir() else file_hash(path)
    return found


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """In what two circumstances differ, in words; packages by their names."""
    told = []
    for name in sorted(then.keys() | now.keys()):
        old, new = then.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            told += [f"{part}: {old.get(part)} then, {new.get(part)} now"
                     for part in sorted(old.keys() | new.keys()) if old.get(part) != new.get(part)]  # fmt: skip
        elif old != new:
            told.append(f"another {name}" if name in HASHES else f"{name}: {old} then, {new} now")
    return told


@cache
def _packages() -> dict[str, str]:
    found = ((one.metadata["Name"], one.version) for one in importlib.metadata.distributions())
    return dict(sorted((name, version) for name, version in found if name))


def _commit() -> str | None:
    """The commit that is checked out, with a plus where files were changed since; None without git."""
    try:
        ask = ["git", "-C", str(paths.root())]
        commit = subprocess.run([*ask, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*ask, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed.strip() else "")


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown")
