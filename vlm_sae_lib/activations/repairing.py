"""Stores that a disk has damaged: the lost shards, and only those, are collected anew."""

from pathlib import Path
from typing import Any

from vlm_sae_lib.activations.collect import request
from vlm_sae_lib.activations.parts import Span, computed
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
            span = Span(first, shard["last_image_id"])
            tensors, _ = computed(tower, pictures, metadata, span, batch_size=batch_size)
            if tensors is None or len(tensors["token"]) != shard["rows"]:
                raise UserError(f"The shard {shard['file']} of {out} cannot be made anew, since a picture of it can no "
                                "longer be read: delete the store and collect again.")  # fmt: skip
            again = {"shards": metadata["shards"][:number], "rows": 0}
            enter_shard(out, again, tensors)
            metadata["shards"][number] = again["shards"][number]
            write_json(out / METADATA, metadata)
            made.append(shard["file"])
    return made
