"""Several hook points from one pass: each picture is read once and goes through the tower once.

The stores come out byte for byte as if each had been collected alone. What has been computed waits in memory until its
store is written, so this is for sets of pictures whose activations fit there; larger ones are collected one by one.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlm_sae_lib.activations.collect import collect_activations, pictures_per_shard_of
from vlm_sae_lib.activations.store import METADATA, ActivationStore, read_metadata
from vlm_sae_lib.pictures import load_pictures
from vlm_sae_lib.towers import Tower
from vlm_sae_lib.towers.tokens import token_indices
from vlm_sae_lib.towers.tower import PROJECTION

MEMORY_LIMIT = 2 * 2**30
Point = tuple[str, str]  # hook point, token rule


def collect_together(
    tower: Tower, pictures: Any, outs: Mapping[Point, str | Path], *, batch_size: int = 64, seed: int = 0
) -> dict[Point, ActivationStore]:
    """Collect the activations at several (hook point, token rule) into a store each; see ``collect_activations``.

    Finished stores are opened, unfinished ones resumed.
    """
    pictures = load_pictures(pictures)
    options = {"batch_size": batch_size, "seed": seed}
    stores: dict[Point, ActivationStore] = {}
    for points in _groups(tower, [point for point, out in outs.items() if not _is_finished(Path(out).expanduser())]):
        shared_tower, shared_pictures = tower, pictures
        if len(points) > 1 and len(pictures) * sum(_row_bytes(tower, point) for point in points) <= MEMORY_LIMIT:
            shared_tower = _OnePass(tower, points)
            shared_pictures = _ReadOnce(pictures)
        for point in points:
            given = (shared_tower, shared_pictures, point[0], outs[point])
            stores[point] = collect_activations(*given, tokens=point[1], **options)
    for point in outs.keys() - stores.keys():
        stores[point] = collect_activations(tower, pictures, point[0], outs[point], tokens=point[1], **options)
    return {point: stores[point] for point in outs}


def _groups(tower: Tower, points: list[Point]) -> list[list[Point]]:
    """Points whose shards hold equally many pictures: only their batches are the same, to the last bit."""
    groups: dict[int, list[Point]] = {}
    for hook_point, tokens in points:
        per_shard = pictures_per_shard_of(tower, hook_point, tower.check(hook_point, tokens), "float32")
        groups.setdefault(per_shard, []).append((hook_point, tokens))
    return list(groups.values())


class _OnePass:
    """A tower that computes all wanted points at the first request for a picture and keeps them."""

    def __init__(self, tower: Tower, points: list[Point]) -> None:
        self.tower = tower
        self.points = [(point, tower.check(point, tokens)) for point, tokens in points]
        self.rows: dict[Point, dict[int, Tensor]] = {point: {} for point in self.points}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tower, name)

    def activations(self, images: Any, hook_point: str, tokens: str, *, seed: int, image_ids: np.ndarray) -> Tensor:
        ids = [int(i) for i in image_ids]
        wanted = (hook_point, tokens)
        if not all(i in self.rows[wanted] for i in ids):
            found = self.tower.activations_at(images, self.points, seed=seed, image_ids=image_ids)
            for point, rows in zip(self.points, found, strict=True):
                self.rows[point].update(zip(ids, rows, strict=True))
        return torch.stack([self.rows[wanted].pop(i) for i in ids])


class _ReadOnce:
    """A source of pictures that are read in the first pass only; later passes give their ids and empty pixels."""

    def __init__(self, pictures: Any) -> None:
        self.pictures = pictures
        self.ids: list[int] = []
        self.read_from: int | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pictures, name)

    def __len__(self) -> int:
        return len(self.pictures)

    def iterate(self, first: int, transform: Callable) -> Iterator[tuple[int, Tensor]]:
        if self.read_from is not None and first >= self.read_from:
            yield from ((i, torch.empty(0)) for i in self.ids if i >= first)
            return
        ids = []
        for image_id, pixels in self._read(first, transform):
            ids.append(image_id)
            yield image_id, pixels
        self.ids, self.read_from = ids, first

    def _read(self, first: int, transform: Callable) -> Iterator[tuple[int, Tensor]]:
        if hasattr(self.pictures, "iterate"):
            yield from self.pictures.iterate(first, transform)
        else:
            yield from ((i, transform(picture)) for i, picture in self.pictures if i >= first)


def _is_finished(out: Path) -> bool:
    return (out / METADATA).is_file() and bool(read_metadata(out)["complete"])


def _row_bytes(tower: Tower, point: Point) -> int:
    """Bytes per picture."""
    hook_point, tokens = point
    if hook_point == PROJECTION:
        return 4 * tower.dim(hook_point)
    indices = token_indices(tower.check(hook_point, tokens), tower.tokens(hook_point), np.zeros(1), 0)
    return 4 * tower.dim(hook_point) * (1 if indices is None else indices.size)
