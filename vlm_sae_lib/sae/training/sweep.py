"""A sweep: many SAEs on one store, named by a file; groups of them share one read of the activations."""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import content_hash
from vlm_sae_lib.quoting import quoted
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.config import SaeConfig
from vlm_sae_lib.sae.rows import Rows
from vlm_sae_lib.sae.training.run import train_saes

PARTS = ("all", "grid", "saes")
MOST = 100_000


@dataclass(frozen=True)
class Wanted:
    """An SAE of a sweep: the name of its folder, and what it is trained with."""

    name: str
    config: SaeConfig


@dataclass(frozen=True)
class Trained:
    """How an SAE of a sweep came out; of its last batch R² and L0."""

    name: str
    latents: int
    dead: int
    r2: float | None
    l0: float | None


def read_sweep(path: str | Path) -> list[Wanted]:
    """The SAEs that a YAML file names, in its order.

    ``all``: settings of ``SaeConfig`` for all of them; ``grid``: for some settings a list of values each, which are
    crossed; ``saes``: a list of SAEs, settings each. A name tells what an SAE does not share with all others.

    Raises:
        UserError: no such file, or no sweep; an unknown setting or a wrong value; an SAE named twice.
    """
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        repeated = _repeated(yaml.compose(text, yaml.SafeLoader), set())
    except OSError as error:
        raise UserError(f"The sweep {path} cannot be read ({error.strerror}): give a YAML file.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"The sweep {path} is no YAML file: {quoted(' '.join(str(error).split()))[:200]}.") from error
    if repeated is not None:
        raise UserError(f"{quoted(repeated)} is given twice in one mapping of the sweep {path}: give it once.")
    return [Wanted(name, config) for name, config in _configs(path, content).items()]


def grouped(wanted: Sequence[Wanted], together: int) -> list[list[Wanted]]:
    """Groups of at most ``together`` that are trained in one pass: of one seed and batch size each, so that they see
    the same batches, and of one length."""
    alike: dict[tuple, list[Wanted]] = {}
    for one in wanted:
        alike.setdefault((one.config.seed, one.config.batch_size, one.config.steps), []).append(one)
    return [same[at : at + together] for same in alike.values() for at in range(0, len(same), together)]


def train_group(store: Any, group: Sequence[Wanted], out: Path, *, device: Any = None) -> list[Trained]:
    """Train the SAEs of a group that are not in ``out`` yet, each into a folder of its name; resumable.

    Raises:
        UserError: as ``train_saes``; under a name lies an SAE of other settings or data.
    """
    identity = Rows(store, memory_limit=0).identity()
    lacking = [one for one in group if not _is_there(out / one.name, one.config, identity)]
    if lacking:
        names = content_hash([one.name for one in lacking])[:16]
        checkpoints = out / f".{names}.checkpoint"
        saes = train_saes(store, [one.config for one in lacking], checkpoint_dir=checkpoints, device=device)
        for one, sae in zip(lacking, saes, strict=True):
            sae.save(out / one.name)
        shutil.rmtree(checkpoints, ignore_errors=True)
    return [_trained(one.name, out / one.name) for one in group]


def _repeated(node: Any, seen: set[int]) -> str | None:
    """A key that stands twice in a mapping, of which YAML's reader would keep the last without a word."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return None
    seen.add(id(node))
    inner = node.value
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                return str(key)
        inner = [value for _, value in node.value]
    return next((found for child in inner if (found := _repeated(child, seen)) is not None), None)


def _configs(path: Path, content: Any) -> dict[str, SaeConfig]:
    """Each SAE's settings, by a name that tells those in which it may differ from others."""
    if not isinstance(content, Mapping) or not set(content) <= set(PARTS) or not set(content) & set(PARTS[1:]):
        raise UserError(f"The sweep {path} must be a mapping of {', '.join(PARTS)}, with a grid or saes in it.")
    common = _mapping(path, "all", content.get("all") or {})
    grid = _mapping(path, "grid", content.get("grid") or {})
    listed = content.get("saes") or []
    if not isinstance(listed, list):
        raise UserError(f"saes in the sweep {path} must be a list of settings.")
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{quoted(name)} in the grid of the sweep {path} must be a list of one value or more.")
    own = [_mapping(path, "saes", settings) for settings in listed]
    if (many := math.prod(map(len, grid.values()))) > MOST:
        raise UserError(f"The grid of the sweep {path} has {many:,} SAEs: name at most {MOST:,}.")
    if grid:
        own += [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    found: dict[str, SaeConfig] = {}
    for settings in own:
        if shared := set(settings) & set(common):
            raise UserError(f"{quoted(min(shared))} is given twice in the sweep {path}, for all and for one: give it "
                            "once.")  # fmt: skip
        config = SaeConfig(**common, **settings)
        if (name := _name(settings)) in found:
            raise UserError(f"The sweep {path} names the SAE {quoted(name)} twice: leave one out.")
        found[name] = config
    return found


def _mapping(path: Path, where: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise UserError(f"{where} in the sweep {path} must be a mapping of settings.")
    known = {field.name for field in fields(SaeConfig)}
    for name in given:
        if name not in known:
            raise UserError(f"{quoted(name)} in {where} of the sweep {path} is no setting: the settings are "
                            f"{', '.join(sorted(known))}.")  # fmt: skip
    return dict(given)


def _name(settings: Mapping[str, Any]) -> str:
    """``kind=batch_top_k,k=20``: a folder's name."""

    def said(value: Any) -> str:
        return "-".join(map(str, value)) if isinstance(value, list) else str(value)

    return ",".join(f"{name}={said(value)}" for name, value in settings.items()) or "sae"


def _is_there(folder: Path, config: SaeConfig, identity: dict[str, Any]) -> bool:
    if not folder.exists():
        return False
    metadata = SparseAutoencoder.load(folder).metadata
    if metadata.get("config") != config.as_dict() or metadata.get("provenance") != identity:
        raise UserError(f"{folder} holds an SAE of other settings or data: give another --out, or delete it.")
    return True


def _trained(name: str, folder: Path) -> Trained:
    sae = SparseAutoencoder.load(folder)
    log = {column: values[-1] for column, values in sae.metadata["log"].items()}
    return Trained(name, sae.n_latents, log["dead"], log["r2"], log["l0"])
