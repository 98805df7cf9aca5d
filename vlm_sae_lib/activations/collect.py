"""Collecting activations: pictures through a tower into a store, resumable at every shard."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor

from vlm_sae_lib.activations.store import DTYPES, METADATA, SCHEMA, SHARDS, ActivationStore, read_metadata
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import alone, content_hash, file_hash, write_bytes, write_json
from vlm_sae_lib.pictures import PictureSource, load_pictures
from vlm_sae_lib.progress import progress
from vlm_sae_lib.towers import Tower
from vlm_sae_lib.towers.tokens import token_indices
from vlm_sae_lib.towers.tower import PROJECTION

PICTURES_PER_SHARD = 1024  # what a killed run loses at most
SHARD_BYTES = 128 * 2**20
CONTENT = ("tower", "weights_hash", "hook_point", "tokens", "preprocessing", "fingerprint", "dtype", "seed")


def collect_activations(
    tower: Tower,
    pictures: PictureSource | Any,
    hook_point: str,
    out: str | Path,
    *,
    tokens: str = "cls",
    batch_size: int = 64,
    seed: int = 0,
    dtype: str = "float32",
    pictures_per_shard: int | None = None,
) -> ActivationStore:
    """Collect one hook point's activations of all pictures into the store ``out``.

    A finished store of the same request is opened and returned at once; an unfinished one is resumed after its last
    whole shard, and ends up byte for byte as if nothing had happened (with the same ``batch_size`` and device).
    Pictures that cannot be read are skipped and listed in ``metadata["unreadable"]`` and ``pictures.unreadable``.

    Args:
        pictures: a source, or anything ``load_pictures`` takes.
        tokens: ``cls``, ``mean``, ``all`` or ``random:<k>``.
        batch_size: pictures per forward pass; at most the last bits of a value depend on it.
        seed: of the random token draw.
        dtype: ``float32`` or ``float16``, as stored.
        pictures_per_shard: by default 1,024, or fewer where their tokens would fill more than 128 MiB.

    Raises:
        UserError: unknown hook point, token rule or dtype; ``out`` unwritable or holding something else; no picture
            readable; an activation that is not finite (names the picture).
    """
    pictures, out = load_pictures(pictures), Path(out).expanduser()
    rule = tower.check(hook_point, tokens)
    if dtype not in DTYPES:
        raise UserError(f"Unknown dtype {dtype!r}: a store holds {' or '.join(DTYPES)}.")
    if batch_size < 1 or (pictures_per_shard is not None and pictures_per_shard < 1):
        raise UserError("The batch size and the pictures per shard must be at least 1.")
    if seed < 0:
        raise UserError(f"The seed must not be negative, as {seed} is.")
    _refuse_inside_pictures(pictures, out)
    request = {
        "schema": SCHEMA,
        "tower": tower.name,
        "weights_hash": tower.weights_hash,
        "hook_point": hook_point,
        "tokens": rule,
        "preprocessing": tower.preprocessing,
        "fingerprint": pictures.fingerprint,
        "dtype": dtype,
        "seed": seed,
    }
    fresh = request | {
        "id": content_hash(request),
        "source": pictures.name,
        "dim": tower.dim(hook_point),
        "rows": 0,
        "pictures_per_shard": pictures_per_shard or pictures_per_shard_of(tower, hook_point, rule, dtype),
        "shards": [],
        "unreadable": [],
        "complete": False,
    }
    try:
        with _alone(out) as existed:
            metadata = _open_or_create(out, fresh)
            if not metadata["complete"]:
                _tidy(out, metadata)
                _fill(tower, pictures, out, metadata, batch_size)
            if not metadata["rows"]:
                _discard(out, existed)
                first = metadata["unreadable"][0]
                raise UserError(f"None of the {len(pictures)} pictures of {pictures.name} can be read; the first is "
                                f"{first['name']} ({first['reason']}).")
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"The store {out} cannot be written ({reason}): choose another path.") from error
    pictures.unreadable[:] = [(bad["image_id"], bad["name"], bad["reason"]) for bad in metadata["unreadable"]]
    return ActivationStore.open(out)


def _fill(tower: Tower, pictures: PictureSource, out: Path, metadata: dict[str, Any], batch_size: int) -> None:
    """Append shards until the pictures are used up, then mark the store complete."""
    first = metadata["shards"][-1]["last_image_id"] + 1 if metadata["shards"] else 0
    known = [bad for bad in metadata["unreadable"] if bad["image_id"] < first]
    shard: list[dict[str, np.ndarray]] = []  # the parts of the shard being filled, one per batch
    batch: list[tuple[int, Tensor]] = []
    in_shard = 0

    def flush_batch() -> None:
        if batch:
            ids, pixels = zip(*batch, strict=True)
            shard.append(_rows(tower, pictures, metadata, np.array(ids), torch.stack(pixels)))
            batch.clear()

    def record(before: float) -> None:
        """Write the metadata, with the pictures found unreadable below an id."""
        found = [{"image_id": i, "name": name, "reason": reason} for i, name, reason in sorted(pictures.unreadable)]
        metadata["unreadable"] = known + [bad for bad in found if first <= bad["image_id"] < before]
        write_json(out / METADATA, metadata)

    def flush_shard() -> None:
        flush_batch()
        if shard:
            _write_shard(out, metadata, {name: np.concatenate([part[name] for part in shard]) for name in shard[0]})
            record(metadata["shards"][-1]["last_image_id"])
            shard.clear()

    todo = progress(_pixels(tower, pictures, first), f"{tower.name} {metadata['hook_point']}", unit="pictures",
                    total=None if first else len(pictures))
    for image_id, pixels in todo:
        batch.append((image_id, pixels))
        in_shard += 1
        if in_shard == metadata["pictures_per_shard"]:
            flush_shard()
            in_shard = 0
        elif len(batch) == batch_size:
            flush_batch()
    flush_shard()
    metadata["complete"] = bool(metadata["rows"])
    record(float("inf"))


def _pixels(tower: Tower, pictures: PictureSource, first: int) -> Iterator[tuple[int, Tensor]]:
    """(image id, preprocessed pixels) of the readable pictures from an id on."""
    if hasattr(pictures, "iterate"):
        yield from pictures.iterate(first, tower.preprocess)
    else:
        yield from ((image_id, tower.preprocess(picture)) for image_id, picture in pictures if image_id >= first)


def _rows(tower: Tower, pictures: PictureSource, metadata: dict, ids: np.ndarray, pixels: Tensor) -> dict:
    """One batch as the rows of a shard: name to array."""
    hook_point, rule, seed = metadata["hook_point"], metadata["tokens"], metadata["seed"]
    acts = tower.activations(pixels, hook_point, rule, seed=seed, image_ids=ids)
    stored = acts.to(DTYPES[metadata["dtype"]])
    finite = torch.isfinite(stored).flatten(1).all(1).numpy()
    if not finite.all():
        bad = int(ids[~finite][0])
        name = pictures.names[bad] if hasattr(pictures, "names") else f"picture {bad}"
        if torch.isfinite(acts).all():
            raise UserError(f"An activation of {name} is too large for float16: collect into a float32 store.")
        raise UserError(f"{tower.name} {hook_point} is not finite for {name}: check its weights.")
    indices = None if hook_point == PROJECTION else token_indices(rule, tower.tokens(hook_point), ids, seed)
    token = np.full((len(ids), 1), -1, dtype=np.int64) if indices is None else indices
    return {
        "activations": stored.reshape(-1, stored.shape[-1]).numpy(),
        "image_id": np.repeat(ids.astype(np.int64), token.shape[1]),
        "token": token.reshape(-1),
    }


def _write_shard(out: Path, metadata: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """Write the next shard and enter it into the (in-memory) metadata."""
    name = f"{len(metadata['shards']):06d}.safetensors"
    data = save(tensors)
    write_bytes(out / SHARDS / name, data)
    metadata["shards"].append({
        "file": name,
        "rows": len(tensors["token"]),
        "last_image_id": int(tensors["image_id"][-1]),
        "sha256": hashlib.sha256(data).hexdigest(),
    })
    metadata["rows"] += len(tensors["token"])


def pictures_per_shard_of(tower: Tower, hook_point: str, rule: str, dtype: str) -> int:
    """How many pictures a shard holds unless the caller says otherwise."""
    indices = None if hook_point == PROJECTION else token_indices(rule, tower.tokens(hook_point), np.zeros(1), 0)
    rows = 1 if indices is None else indices.size
    row_bytes = tower.dim(hook_point) * DTYPES[dtype].itemsize + 16
    return max(1, min(PICTURES_PER_SHARD, SHARD_BYTES // (rows * row_bytes)))


def _refuse_inside_pictures(pictures: PictureSource, out: Path) -> None:
    root = getattr(pictures, "root", None)
    if root is not None and out.resolve().is_relative_to(root):
        raise UserError(f"The store {out} would lie among the pictures of {root}: choose a path outside that folder.")


@contextmanager
def _alone(out: Path) -> Iterator[bool]:
    """Make the folder, and hold it against other processes; yields whether it was there before."""
    existed = out.exists()
    if existed and not out.is_dir():
        raise UserError(f"The store {out} cannot be written, since a file has that name: choose another path.")
    with alone(out):
        yield existed


def _open_or_create(out: Path, fresh: dict[str, Any]) -> dict[str, Any]:
    """The metadata of the store of this request, finished, begun or new."""
    if (out / METADATA).is_file():
        metadata = read_metadata(out)
        if metadata["id"] != fresh["id"]:
            different = next((key for key in fresh if key in CONTENT and metadata.get(key) != fresh[key]), "request")
            different = different.replace("_", " ")
            raise UserError(f"{out} holds another store (its {different} differs): choose another path or delete it.")
        return metadata
    if any(not path.name.startswith(f".{METADATA}.") for path in out.iterdir()):
        raise UserError(f"{out} holds other files and no store: choose a new or empty folder.")
    write_json(out / METADATA, fresh)
    return fresh


def _tidy(out: Path, metadata: dict[str, Any]) -> None:
    """Remove what a killed run left half done, and forget shards that are missing or damaged."""
    sound = []
    for shard in metadata["shards"]:
        file = out / SHARDS / shard["file"]
        if not file.is_file() or file_hash(file) != shard["sha256"]:
            break
        sound.append(shard)
    metadata["shards"], metadata["rows"] = sound, sum(shard["rows"] for shard in sound)
    named = {shard["file"] for shard in sound}
    for path in out.glob(f".{METADATA}.*"):
        path.unlink()
    for path in (out / SHARDS).glob("*") if (out / SHARDS).is_dir() else ():
        if path.name not in named:
            path.unlink()


def _discard(out: Path, existed: bool) -> None:
    (out / METADATA).unlink()
    if not existed:
        out.rmdir()
