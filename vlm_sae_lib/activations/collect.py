"""Collecting activations: pictures through a tower into stores, resumable at every shard."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from vlm_sae_lib.activations.one_pass import fill
from vlm_sae_lib.activations.store import DTYPES, METADATA, SCHEMA, ActivationStore
from vlm_sae_lib.activations.writing import StoreWriter, metadata_at, writable
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import alone, content_hash, write_json
from vlm_sae_lib.hooks import PROJECTION
from vlm_sae_lib.pictures import PictureSource, load_pictures
from vlm_sae_lib.towers import Tower
from vlm_sae_lib.towers.tokens import token_indices

PICTURES_PER_SHARD = 1024  # what a killed run loses at most
SHARD_BYTES = 128 * 2**20
Point = tuple[str, str]  # hook point, token rule


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
    outs = {(hook_point, tokens): out}
    stores = collect_together(
        tower, pictures, outs, batch_size=batch_size, seed=seed, dtype=dtype, pictures_per_shard=pictures_per_shard
    )
    return stores[hook_point, tokens]


def collect_together(
    tower: Tower,
    pictures: PictureSource | Any,
    outs: Mapping[Point, str | Path],
    *,
    batch_size: int = 64,
    seed: int = 0,
    dtype: str = "float32",
    pictures_per_shard: int | None = None,
) -> dict[Point, ActivationStore]:
    """Collect the activations at several (hook point, token rule), into a store each, in one pass over the pictures.

    Each store is byte for byte what ``collect_activations`` makes of the same request, whose arguments and errors are
    the same here. Finished stores are opened; the pass begins at the first picture that an unfinished one lacks, and
    computes for each picture only what is lacking. Memory holds one batch, and of each store the shard being filled.

    Raises:
        UserError: also for two points that name one folder.
    """
    pictures = load_pictures(pictures)
    requests = {
        point: request(tower, pictures, *point, seed=seed, dtype=dtype, pictures_per_shard=pictures_per_shard)
        for point in outs
    }
    if batch_size < 1 or (pictures_per_shard is not None and pictures_per_shard < 1):
        raise UserError("The batch size and the pictures per shard must be at least 1.")
    folders = {point: Path(out).expanduser() for point, out in outs.items()}
    _refuse_folders(pictures, folders)
    unfinished = [point for point in outs if not _is_finished(folders[point], requests[point])]
    _finish(tower, pictures, {folders[point]: (point, requests[point]) for point in unfinished}, batch_size)
    stores = {point: ActivationStore.open(out) for point, out in folders.items()}
    for store in stores.values():
        pictures.unreadable[:] = [(b["image_id"], b["name"], b["reason"]) for b in store.metadata["unreadable"]]
    return stores


def _finish(
    tower: Tower, pictures: PictureSource, wanted: Mapping[Path, tuple[Point, dict[str, Any]]], batch_size: int
) -> None:
    """Begin or resume the stores in these folders, and fill them; no other process does so meanwhile."""
    with ExitStack() as held:
        existed, writers = {}, {}
        # In one order for everybody: two processes that want some of the same stores must not wait for each other.
        for out in sorted(wanted, key=lambda out: str(out.resolve())):
            existed[out] = out.exists()
            with writable(out):
                held.enter_context(alone(out))
        for out, (point, fresh) in wanted.items():
            metadata = _begin(out, fresh)
            if not metadata["complete"]:  # else somebody finished it meanwhile
                writers[point] = StoreWriter(out, metadata, pictures.unreadable)
        if writers:
            fill(tower, pictures, writers, batch_size)
        empty = [writer for writer in writers.values() if not writer.metadata["rows"]]
        for writer in empty:
            _discard(writer.out, existed[writer.out])
    if empty:
        first = empty[0].metadata["unreadable"][0]
        raise UserError(f"None of the {len(pictures)} pictures of {pictures.name} can be read; the first is "
                        f"{first['name']} ({first['reason']}).")  # fmt: skip


def request(
    tower: Tower,
    pictures: PictureSource,
    hook_point: str,
    tokens: str,
    *,
    seed: int = 0,
    dtype: str = "float32",
    pictures_per_shard: int | None = None,
) -> dict[str, Any]:
    """The metadata with which a store begins; its ``id`` is the hash of what determines the content.

    Raises:
        UserError: unknown hook point, token rule or dtype, or a negative seed.
    """
    rule = tower.check(hook_point, tokens)
    if dtype not in DTYPES:
        raise UserError(f"Unknown dtype {dtype!r}: a store holds {' or '.join(DTYPES)}.")
    if seed < 0:
        raise UserError(f"The seed must not be negative, as {seed} is.")
    content = {
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
    return content | {
        "id": content_hash(content),
        "precision": tower.precision,
        "source": pictures.name,
        "dim": tower.dim(hook_point),
        "rows": 0,
        "pictures_per_shard": pictures_per_shard or pictures_per_shard_of(tower, hook_point, rule, dtype),
        "shards": [],
        "unreadable": [],
        "complete": False,
    }


def pictures_per_shard_of(tower: Tower, hook_point: str, rule: str, dtype: str) -> int:
    """How many pictures a shard holds unless the caller says otherwise."""
    indices = None if hook_point == PROJECTION else token_indices(rule, tower.tokens(hook_point), np.zeros(1), 0)
    rows = 1 if indices is None else indices.size
    row_bytes = tower.dim(hook_point) * DTYPES[dtype].itemsize + 16
    return max(1, min(PICTURES_PER_SHARD, SHARD_BYTES // (rows * row_bytes)))


def _refuse_folders(pictures: PictureSource, folders: Mapping[Point, Path]) -> None:
    """Raises UserError for a folder among the pictures, and for one that two points name."""
    root = getattr(pictures, "root", None)
    taken: dict[Path, Point] = {}
    for point, out in folders.items():
        place = out.resolve()
        if root is not None and place.is_relative_to(root):
            raise UserError(
                f"The store {out} would lie among the pictures of {root}: choose a path outside that folder."
            )
        if place in taken:
            raise UserError(f"The store {out} is named for {' '.join(taken[place])} and for {' '.join(point)}: "
                            "name a folder of its own for each.")  # fmt: skip
        taken[place] = point


def _is_finished(out: Path, fresh: dict[str, Any]) -> bool:
    with writable(out):
        metadata = metadata_at(out, fresh)
    return metadata is not None and metadata["complete"]


def _begin(out: Path, fresh: dict[str, Any]) -> dict[str, Any]:
    """The metadata of the store of this request, finished, begun or new."""
    with writable(out):
        metadata = metadata_at(out, fresh)
        if metadata is None:
            metadata = fresh
            write_json(out / METADATA, metadata)
    return metadata


def _discard(out: Path, existed: bool) -> None:
    with writable(out):
        (out / METADATA).unlink()
        if not existed:
            out.rmdir()
