"""A store in parts: the rows of some image ids alone, and a store that is put together from such parts.

A part comes out byte for byte as in a pass over all pictures, whoever computes it and when: it is computed in the very
batches of such a pass. So a lost shard can be made anew (``repairing``), a sample held against a store (``verifying``),
and one store collected by many machines (``cluster``).
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from safetensors.numpy import save
from torch import Tensor

from vlm_sae_lib.activations.one_pass import fill
from vlm_sae_lib.activations.store import METADATA, SHARDS, read_metadata
from vlm_sae_lib.activations.writing import StoreWriter, Unreadable, writable
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import write_bytes, write_json
from vlm_sae_lib.pictures import PictureSource
from vlm_sae_lib.towers import Tower

PART = "part"
"""How a part's file ends until it takes its shard's name."""


@dataclass(frozen=True)
class Span:
    """Image ids ``first`` to ``last``, both included: pictures whose rows fill one shard."""

    first: int
    last: int


@dataclass(frozen=True)
class Laid:
    """A part on the disk.

    Attributes:
        unreadable: the pictures in it that could not be read.
        rows: how many there are; without any there is no file.
        last_image_id, sha256: of the rows' last picture and of the file, as the store's metadata will have them.
    """

    unreadable: list[Unreadable] = field(default_factory=list)
    rows: int = 0
    last_image_id: int = -1
    sha256: str = ""

    @property
    def file(self) -> str:
        return f"{self.sha256}.{PART}"


def spans(pictures: PictureSource, metadata: dict[str, Any], first: int = 0) -> list[Span]:
    """What a pass from the image id ``first`` on has still to fill, a span for each shard."""
    ids = ids_of(pictures)
    per_shard = metadata["pictures_per_shard"]
    edges = [*range(0, len(ids), per_shard), len(ids)]
    all_of_them = (
        Span(int(ids[start]), int(ids[stop - 1])) for start, stop in zip(edges[:-1], edges[1:], strict=True)
    )
    return [Span(max(span.first, first), span.last) for span in all_of_them if span.last >= first]


def ids_of(pictures: PictureSource) -> Int[np.ndarray, " n"]:
    """The image ids of a source; one that names none is taken to be numbered from 0 without gaps."""
    return np.asarray(getattr(pictures, "ids", np.arange(len(pictures))))


def computed(
    tower: Tower,
    pictures: PictureSource,
    metadata: dict[str, Any],
    span: Span,
    *,
    batch_size: int = 64,
    workers: int | None = None,
) -> tuple[dict[str, np.ndarray] | None, list[Unreadable]]:
    """The rows of a store for some image ids, from the pictures themselves.

    ``workers`` processes decode files, as in ``PictureSource.iterate``.

    Returns:
        ``activations`` (rows, dim), ``image_id`` (rows,) and ``token`` (rows,), as a shard holds them, or None where no
        picture can be read; and those that cannot.

    Raises:
        UserError: as ``collect_activations``.
    """
    rows, part = _Rows(metadata, span), _Part(pictures, span, batch_size, workers)
    point = (metadata["hook_point"], metadata["tokens"])
    fill(tower, part, {point: rows}, batch_size)  # type: ignore[arg-type, dict-item]
    unreadable = [bad for bad in getattr(part.chosen, "unreadable", ()) if span.first <= bad[0] <= span.last]
    return rows.tensors(), unreadable


def lay_down(
    out: Path, store_id: str, tensors: dict[str, np.ndarray] | None, unreadable: Sequence[Unreadable]
) -> Laid:
    """Write a part beside the shards of the store ``out``, named by its content: computed twice it is there once.

    Raises:
        UserError: this machine finds no store of that id there, or cannot write into it.
    """
    if tensors is None:
        return Laid(list(unreadable))
    if not (out / METADATA).is_file() or read_metadata(out)["id"] != store_id:
        raise UserError(f"A worker does not find the store that is being collected at {out}: give an --out that lies "
                        "in a folder which all machines share under the same path.")  # fmt: skip
    data = save(tensors)
    ids = tensors["image_id"]
    laid = Laid(list(unreadable), len(ids), int(ids[-1]), hashlib.sha256(data).hexdigest())
    with writable(out):
        write_bytes(out / SHARDS / laid.file, data)
    return laid


class Assembly:
    """A store that is put together from parts that come in any order; the caller holds its folder.

    ``metadata`` is the store's, as it stands on the disk.
    """

    def __init__(self, out: Path, metadata: dict[str, Any], lacking: Sequence[Span]) -> None:
        """``lacking`` are the parts that will come."""
        self.out, self.metadata = out, metadata
        self._lacking = list(lacking)
        self._waiting: dict[Span, Laid] = {}
        first = lacking[0].first if lacking else 0
        self._unreadable: list[Unreadable] = [
            (bad["image_id"], bad["name"], bad["reason"]) for bad in metadata["unreadable"] if bad["image_id"] < first
        ]

    @classmethod
    def begin(cls, out: Path, metadata: dict[str, Any], pictures: PictureSource) -> "Assembly":
        """From the last whole shard of an unfinished store on; what a killed run left half done is removed."""
        first = StoreWriter(out, metadata, []).first
        return cls(out, metadata, spans(pictures, metadata, first))

    @property
    def lacking(self) -> list[Span]:
        """The parts that have not come yet."""
        return [span for span in self._lacking if span not in self._waiting]

    def enter(self, span: Span, laid: Laid) -> None:
        """Take a part; as soon as all before it are there, its file becomes the next shard. Twice does no harm.

        Raises:
            UserError: the folder cannot be written.
        """
        if span in self._lacking:
            self._waiting[span] = laid
        while self._lacking and self._lacking[0] in self._waiting:
            self._next(self._waiting.pop(self._lacking.pop(0)))

    def finish(self) -> None:
        """Mark the store complete, unless it has no rows.

        Raises:
            UserError: parts are lacking, or the folder cannot be written.
        """
        if self._lacking:
            raise UserError(f"The store {self.out} still lacks {len(self._lacking)} parts: run the same collect again.")
        self.metadata["complete"] = bool(self.metadata["rows"])
        self._record()
        with writable(self.out):
            for path in (self.out / SHARDS).glob(f"*.{PART}"):  # of a task that was given out twice
                path.unlink()

    def _next(self, laid: Laid) -> None:
        self._unreadable += [tuple(bad) for bad in laid.unreadable]  # type: ignore[misc]
        if not laid.rows:
            return
        shards = self.metadata["shards"]
        name = f"{len(shards):06d}.safetensors"
        with writable(self.out):
            os.replace(self.out / SHARDS / laid.file, self.out / SHARDS / name)
        facts = {"rows": laid.rows, "last_image_id": laid.last_image_id}
        shards.append({"file": name, "sha256": laid.sha256, **facts})
        self.metadata["rows"] += laid.rows
        self._record()

    def _record(self) -> None:
        last = self.metadata["shards"][-1]["last_image_id"] if self.metadata["shards"] else -1
        self.metadata["unreadable"] = [
            {"image_id": i, "name": name, "reason": reason}
            for i, name, reason in self._unreadable if i < last or not self._lacking
        ]  # fmt: skip
        with writable(self.out):
            write_json(self.out / METADATA, self.metadata)


class _Rows:
    """What ``fill`` takes for a store, of which only the rows of some image ids are wanted."""

    def __init__(self, metadata: dict[str, Any], span: Span):
        self.metadata, self.first, self._last = metadata, span.first, span.last
        self._parts: list[dict[str, np.ndarray]] = []

    def add(
        self,
        image_ids: Int[np.ndarray, " n"],
        places: Int[np.ndarray, " n"],
        rows: Mapping[str, np.ndarray],
        *,
        upto: int,
    ) -> None:
        here = (image_ids >= self.first) & (image_ids <= self._last)
        rows = {**rows, "image_id": np.broadcast_to(image_ids[:, None], rows["token"].shape)}
        if here.any():
            self._parts.append({name: array[here].reshape(-1, *array.shape[2:]) for name, array in rows.items()})

    def finish(self) -> None:
        """Nothing is written here."""

    def tensors(self) -> dict[str, np.ndarray] | None:
        if not self._parts:
            return None
        return {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}


class _Part:
    """The pictures of a span, in the very batches in which a pass over all of the source would take them."""

    def __init__(self, pictures: PictureSource, span: Span, batch_size: int, workers: int | None):
        self.ids, self._workers = ids_of(pictures), workers
        begin, end = np.searchsorted(self.ids, [span.first, span.last + 1])
        here = slice(begin // batch_size * batch_size, -(-end // batch_size) * batch_size)
        self.chosen = pictures.subset(self.ids[here].tolist())
        self.names = getattr(pictures, "names", [])

    def __len__(self) -> int:
        return len(self.chosen)

    def iterate(self, first: int, transform: Any) -> Iterator[tuple[int, Tensor]]:
        if hasattr(self.chosen, "iterate"):
            yield from self.chosen.iterate(first, transform, self._workers)
        else:
            yield from ((image_id, transform(picture)) for image_id, picture in self.chosen if image_id >= first)
