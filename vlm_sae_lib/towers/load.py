"""A tower by its name: which library it is of, and where its weights lie."""

from pathlib import Path

import torch

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.machine.devices import choose_device
from vlm_sae_lib.pocket.islands import Island, of_kind
from vlm_sae_lib.towers.tower import Tower
from vlm_sae_lib.towers.vlm_towers import load_vlm_tower

KNOWN_SPECS = (
    '"pocket", "pocket:second_clip", "pocket:self_supervised", "pocket:random:<seed>", '
    '"open_clip:<model>/<tag or file>", "hf:<repo id, repo id@revision, or folder>", "vlm:<a VLM as load_vlm has it>"'
)


def load_tower(spec: str, *, device: str | torch.device | None = None, dtype: str = "float32") -> Tower:
    """Load a vision tower, in eval mode, on ``device`` (the first GPU, or the CPU).

    Args:
        spec: ``pocket`` (the pocket CLIP), ``pocket:second_clip``, ``pocket:self_supervised``, ``pocket:random:<seed>``
            (the pocket CLIP before any training), and the same of another island, ``pocket@<island>``;
            ``open_clip:<model>/<tag or file>``, also ``open_clip:local-dir:<folder>``; ``hf:<repo id or folder>``,
            also ``hf:<repo id>@<revision>``; ``vlm:pocket`` and ``vlm:hf:<repo id or folder>``, the tower inside a
            vision-language model (see ``tower_of``).
        device: ``auto`` lets accelerate spread an ``hf:`` tower over what there is.
        dtype: what it computes in, ``float32``, or ``bfloat16`` or ``float16`` on a GPU (``activations.rounding`` says
            what that costs); activations are always fp32.

    Raises:
        UserError: an unknown spec, device or dtype, a missing folder, weights that do not fit, gated or unreachable
            repositories, too little memory; a model that is not handed one picture of a fixed size and nothing else,
            or that draws something at random in eval mode (but a ViTMAE, which is shown every patch).
    """
    spread = device == "auto" and spec.startswith("hf:")
    device = None if spread else choose_device(device)
    if dtype not in ("float32", "bfloat16", "float16"):
        raise UserError(f"A tower computes in float32, bfloat16 or float16, not in {dtype!r}.")
    precision = getattr(torch, dtype)
    kind, _, rest = spec.partition(":")
    if (island := of_kind(kind)) is not None:
        return _load_pocket(spec, island, rest or "clip", device, precision)
    if kind == "open_clip" and rest:
        return _load_open_clip(spec, rest, device=device, dtype=precision)
    if kind == "hf" and rest:
        from vlm_sae_lib.towers.transformers_towers import load_transformers

        folder = Path(rest).expanduser()
        if folder.is_dir():
            name = f"hf:{folder.resolve().name}"
            return load_transformers(str(folder), spec=spec, name=name, device=device, dtype=precision)
        if rest.startswith(("/", ".", "~")) or rest.count("/") > 1:
            raise UserError(f"{spec} names a folder that does not exist: {folder}.")
        return load_transformers(rest, spec=spec, name=spec, device=device, dtype=precision)
    if kind == "vlm" and rest:
        return load_vlm_tower(rest, device=device, dtype=precision)
    raise UserError(f"Unknown tower {spec!r}: known are {KNOWN_SPECS}.")


def _load_open_clip(spec: str, rest: str, **options) -> Tower:
    from vlm_sae_lib.towers.open_clip_towers import load_open_clip

    if rest.startswith("hf-hub:"):
        return load_open_clip(rest, None, spec=spec, name=spec, **options)
    if rest.startswith("local-dir:"):
        folder = Path(rest.removeprefix("local-dir:")).expanduser()
        if not folder.is_dir():
            raise UserError(f"{spec} names a folder that does not exist: {folder}.")
        name = f"open_clip:local-dir:{folder.resolve().name}"
        return load_open_clip(f"local-dir:{folder}", None, spec=spec, name=name, **options)
    model, _, tag = rest.partition("/")
    if not tag:
        raise UserError(f"{spec} says not which weights: write open_clip:{model}/<tag or file>.")
    file = Path(tag).expanduser()
    name = f"open_clip:{model}/{file.name}"
    return load_open_clip(model, str(file) if file.is_file() else tag, spec=spec, name=name, **options)


def _load_pocket(spec: str, island: Island, member: str, device: torch.device | None, dtype: torch.dtype) -> Tower:
    kind, _, seed = member.partition(":")
    untrained = kind == "random" and seed.isdecimal()
    if member not in ("clip", "second_clip", "self_supervised") and not untrained:
        raise UserError(f"Unknown tower {spec!r}: known are {KNOWN_SPECS}.")
    name = island.kind if member == "clip" else f"{island.kind}:{member}"
    folder = island.folder("clip" if untrained else member)
    if member == "self_supervised":
        from vlm_sae_lib.towers.pocket_towers import load_self_supervised_tower

        return load_self_supervised_tower(island, spec=spec, name=name, device=device, dtype=dtype)
    from vlm_sae_lib.towers.open_clip_towers import load_open_clip

    start = int(seed) if untrained else None
    return load_open_clip(
        f"local-dir:{folder}", None, spec=spec, name=name, device=device, dtype=dtype, untrained=start
    )
