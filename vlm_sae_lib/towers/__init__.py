"""Vision towers behind one interface."""

from pathlib import Path

import torch

from vlm_sae_lib import paths
from vlm_sae_lib.devices import choose_device
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.towers.tower import Tower

__all__ = ["Tower", "load_tower"]

KNOWN_SPECS = (
    '"pocket", "pocket:second_clip", "pocket:self_supervised", "pocket:random:<seed>", '
    '"open_clip:<model>/<tag or file>", "hf:<repo id or folder>"'
)


def load_tower(spec: str, *, device: str | torch.device | None = None) -> Tower:
    """Load a vision tower, fp32, in eval mode, on ``device`` (the first GPU, or the CPU).

    Args:
        spec: ``pocket`` (the pocket CLIP), ``pocket:second_clip``, ``pocket:self_supervised``, ``pocket:random:<seed>``
            (the pocket CLIP before any training);
            ``open_clip:<model>/<tag or file>``, also ``open_clip:local-dir:<folder>``; ``hf:<repo id or folder>``.

    Raises:
        UserError: an unknown spec or device, a missing folder, weights that do not fit.
    """
    device = _usable_device(device)
    kind, _, rest = spec.partition(":")
    if kind == "pocket":
        return _load_pocket(spec, rest or "clip", device)
    if kind == "open_clip" and rest:
        return _load_open_clip(spec, rest, device)
    if kind == "hf" and rest:
        from vlm_sae_lib.towers.transformers_towers import load_transformers

        folder = Path(rest).expanduser()
        if folder.is_dir():
            return load_transformers(str(folder), spec=spec, name=f"hf:{folder.resolve().name}", device=device)
        if rest.startswith(("/", ".", "~")) or rest.count("/") > 1:
            raise UserError(f"{spec} names a folder that does not exist: {folder}.")
        return load_transformers(rest, spec=spec, name=spec, device=device)
    raise UserError(f"Unknown tower {spec!r}: known are {KNOWN_SPECS}.")


def _usable_device(device: str | torch.device | None) -> torch.device:
    try:
        chosen = choose_device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:  # torch knows no such device, or was built without it
        raise UserError(f"There is no device {device!r} here: leave it out, or name cpu or cuda.") from error
    return chosen


def _load_open_clip(spec: str, rest: str, device: torch.device) -> Tower:
    from vlm_sae_lib.towers.open_clip_towers import load_open_clip

    if rest.startswith("hf-hub:"):
        return load_open_clip(rest, None, spec=spec, name=spec, device=device)
    if rest.startswith("local-dir:"):
        folder = Path(rest.removeprefix("local-dir:")).expanduser()
        if not folder.is_dir():
            raise UserError(f"{spec} names a folder that does not exist: {folder}.")
        name = f"open_clip:local-dir:{folder.resolve().name}"
        return load_open_clip(f"local-dir:{folder}", None, spec=spec, name=name, device=device)
    model, _, tag = rest.partition("/")
    if not tag:
        raise UserError(f"{spec} says not which weights: write open_clip:{model}/<tag or file>.")
    file = Path(tag).expanduser()
    name = f"open_clip:{model}/{file.name}"
    return load_open_clip(model, str(file) if file.is_file() else tag, spec=spec, name=name, device=device)


def _load_pocket(spec: str, member: str, device: torch.device) -> Tower:
    kind, _, seed = member.partition(":")
    untrained = kind == "random" and seed.isdecimal()
    folder = paths.pocket() / ("clip" if untrained else member)
    if member not in ("clip", "second_clip", "self_supervised") and not untrained:
        raise UserError(f"Unknown tower {spec!r}: known are {KNOWN_SPECS}.")
    if not folder.is_dir():
        raise UserError(f"The pocket model {folder} is missing: check the data out again, or train it by make pocket.")
    name = "pocket" if member == "clip" else f"pocket:{member}"
    if member == "self_supervised":
        from vlm_sae_lib.towers.pocket_towers import load_self_supervised_tower

        return load_self_supervised_tower(spec=spec, name=name, device=device)
    from vlm_sae_lib.towers.open_clip_towers import load_open_clip

    start = int(seed) if untrained else None
    return load_open_clip(f"local-dir:{folder}", None, spec=spec, name=name, device=device, untrained=start)
