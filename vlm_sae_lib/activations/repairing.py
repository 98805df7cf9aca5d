"""Stores that a disk has damaged: the lost shards, and only those, are collected anew."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from torch import Tensor

from vlm_sae_lib.activations.collect import request
from vlm_sae_lib.activations.one_pass import fill
from vlm_sae_lib.activations.store import METADATA, damaged_shards, read_metadata
from vlm_sae_lib.activations.writing import enter_shard, metadata_at, writable
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import alone, write_json
from vlm_sae_lib.pictures import PictureSource
from vlm_sae_lib.towers import Tower


def repair(
    tower: Tower, pictures: PictureSource, hook_point: str, out: str | Path, *, batch_size: int = 64, **options: Any
) -> list[str]:
    """Collect the damaged shards of the store ``out`` anew, and no others; nothing happens where no store is.

    With the batch size and device of before they are the same bytes again. ``options`` as of ``collect_activations``.

    Returns:
        The files that were made anew.

    Raises:
        UserError: as ``collect_activations``; a picture of a damaged shard can no longer be read.
    """
    out = Path(out).expanduser()
    fresh = request(tower, pictures, hook_point, options.pop("tokens", "cls"), **options)
    if metadata_at(out, fresh) is None:
        return []
    with writable(out), alone(out):
        metadata, made = read_metadata(out), []
        for number in damaged_shards(out):
            shard = metadata["shards"][number]
            first = metadata["shards"][number - 1]["last_image_id"] + 1 if number else 0
            tensors = computed_again(tower, pictures, metadata, first, shard["last_image_id"], batch_size=batch_size)
            if len(tensors["token"]) != shard["rows"]:
                raise UserError(f"The shard {shard['file']} of {out} cannot be made anew, since a picture of it can no "
                                "longer be read: delete the store and collect again.")  # fmt: skip
            again = {"shards": metadata["shards"][:number], "rows": 0}
            enter_shard(out, again, tensors)
            metadata["shards"][number] = again["shards"][number]
            write_json(out / METADATA, metadata)
            made.append(shard["file"])
    return made


def computed_again(
    tower: Tower, pictures: PictureSource, metadata: dict[str, Any], first: int, last: int, *, batch_size: int = 64
) -> dict[str, np.ndarray]:
    """The rows of a store for the image ids from ``first`` to ``last``, from the pictures themselves.

    Computed in the very batches of a pass over all of them, so that they are the same bytes on the same machine.

    Returns:
        ``activations`` (rows, dim), ``image_id`` (rows,) and ``token`` (rows,), as a shard holds them.
    """
    rows = _Rows(metadata, first, last)
    point = (metadata["hook_point"], metadata["tokens"])
    fill(tower, _Part(pictures, rows, batch_size), {point: rows}, batch_size)  # type: ignore[arg-type, dict-item]
    return rows.tensors()


class _Rows:
    """What ``fill`` takes for a store, of which only the rows of some image ids are wanted."""

    def __init__(self, metadata: dict[str, Any], first: int, last: int):
        self.metadata, self.first, self.last = metadata, first, last
        self._parts: list[dict[str, np.ndarray]] = []

    def add(
        self,
        image_ids: Int[np.ndarray, " n"],
        places: Int[np.ndarray, " n"],
        rows: Mapping[str, np.ndarray],
        *,
        upto: int,
    ) -> None:
        here = (image_ids >= self.first) & (image_ids <= self.last)
        rows = {**rows, "image_id": np.broadcast_to(image_ids[:, None], rows["token"].shape)}
        self._parts.append({name: array[here].reshape(-1, *array.shape[2:]) for name, array in rows.items()})

    def finish(self) -> None:
        """Nothing is written here."""

    def tensors(self) -> dict[str, np.ndarray]:
        return {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}


class _Part:
    """The pictures of a few shards, in the very batches in which a pass over all of the source would take them."""

    def __init__(self, pictures: PictureSource, rows: _Rows, batch_size: int):
        self.ids = np.asarray(getattr(pictures, "ids", np.arange(len(pictures))))
        begin, end = np.searchsorted(self.ids, [rows.first, rows.last + 1])
        here = slice(begin // batch_size * batch_size, -(-end // batch_size) * batch_size)
        self._chosen = pictures.subset(self.ids[here].tolist())
        self.names = getattr(pictures, "names", [])

    def __len__(self) -> int:
        return len(self._chosen)

    def iterate(self, first: int, transform: Any) -> Iterator[tuple[int, Tensor]]:
        if hasattr(self._chosen, "iterate"):
            yield from self._chosen.iterate(first, transform)
        else:
            yield from ((image_id, transform(picture)) for image_id, picture in self._chosen if image_id >= first)
