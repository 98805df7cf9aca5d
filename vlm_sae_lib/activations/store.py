"""The activation store: activations of one hook point, for one set of pictures, as a folder.

``metadata.json`` names the finished shards with their SHA-256; ``shards/000000.safetensors`` … hold ``activations``
(rows, dim), ``image_id`` (rows,) and ``token`` (rows,), rows in ascending image id. A token is its index in the
tower's sequence (0 is the class token), −1 where a row belongs to no single token (``mean``, ``projection``).
"""

import json
import math
import re
import reprlib
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlm_sae_lib.arrays import real_array
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import file_hash, read_json

SCHEMA = 1
METADATA = "metadata.json"
SHARDS = "shards"
SHARD_FILE = re.compile(r"\d+\.safetensors", re.ASCII)
LONGEST_HEADER = 2**20
"""Bytes; a shard has three tensors, and theirs has some hundred."""
DTYPES = {"float32": torch.float32, "float16": torch.float16}
SAFETENSORS_DTYPES = {"F32": torch.float32, "F16": torch.float16, "I64": torch.int64}


class ActivationStore:
    """A finished store, read where it lies: rows come from memory-mapped shards, never all at once unless asked.

    ``len(store)`` rows; ``dim``; ``metadata`` (the JSON); ``id`` (hash of what determines the content); ``path``.
    """

    def __init__(self, path: Path, metadata: dict[str, Any]):
        self.path, self.metadata = path, metadata
        self.id: str = metadata["id"]
        self.dim: int = metadata["dim"]
        self._files = [path / SHARDS / shard["file"] for shard in metadata["shards"]]
        self._starts = np.cumsum([0, *(shard["rows"] for shard in metadata["shards"])])
        # Each store maps its files anew: a map kept by path would outlive a store that is deleted and made again.
        self._shard = lru_cache(maxsize=256)(self._map_shard)

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False) -> "ActivationStore":
        """Open a finished store; with ``verify`` every byte is held against its hash first.

        Raises:
            UserError: no store there, an unfinished one, one of another schema, or one with missing or changed shards,
                all of which are named.
        """
        path = Path(path).expanduser()
        metadata = read_metadata(path)
        if not metadata["complete"]:
            raise UserError(f"The store {path} is unfinished: run the same collect again, and it will resume.")
        store = cls(path, metadata)
        if verify:
            store.verify()
        else:
            store._refuse({number: "missing" for number, file in enumerate(store._files) if not file.is_file()})
        return store

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, rows: int | slice | Tensor | np.ndarray | list) -> Float[Tensor, "n dim"]:
        """Rows by number, slice, index array or boolean mask, always as (n, dim) float32, in the order asked.

        Raises:
            IndexError: a row beyond the store, or a mask of another length.
            UserError: no numbers at all.
        """
        rows = self._row_numbers(rows)
        shard_of_row = np.searchsorted(self._starts, rows, side="right") - 1
        if len(rows):
            self._shard(int(shard_of_row[0]))  # which tells whether the rows are as wide as is said
        out = torch.empty(len(rows), self.dim, dtype=torch.float32, device="cpu")
        for shard in np.unique(shard_of_row):
            here = np.flatnonzero(shard_of_row == shard)
            local = torch.from_numpy(rows[here] - self._starts[shard])
            out[torch.from_numpy(here)] = self._shard(int(shard))["activations"][local].float()
        return out

    def array(self) -> Float[Tensor, "rows dim"]:
        """All activations, float32, in memory."""
        return torch.cat([self._shard(i)["activations"].float() for i in range(len(self._files))])

    def batches(self, batch_size: int) -> Iterator[Float[Tensor, "batch dim"]]:
        """All rows in stored order, the last batch possibly shorter."""
        for start in range(0, len(self), batch_size):
            yield self[start : start + batch_size]

    @cached_property
    def image_ids(self) -> Int[np.ndarray, " rows"]:
        """The picture of each row, int64."""
        return self._column("image_id")

    @cached_property
    def token_ids(self) -> Int[np.ndarray, " rows"]:
        """The token of each row, int64, −1 where it belongs to no single one."""
        return self._column("token")

    def verify(self) -> bool:
        """Recompute every shard's SHA-256; True if all agree.

        Raises:
            UserError: names every shard that is missing or differs.
        """
        self._refuse(damaged_shards(self.path))
        return True

    def __repr__(self) -> str:
        facts = self.metadata
        where = " ".join(str(facts.get(name)) for name in ("tower", "hook_point", "tokens"))
        return f"ActivationStore({where}: {len(self)} × {self.dim})"

    def _refuse(self, bad: dict[int, str]) -> None:
        if bad:
            named = ", ".join(f"{self._files[number].name} ({what})" for number, what in bad.items())
            raise UserError(f"The store {self.path} has lost {len(bad)} of its {len(self._files)} shards: {named}. "
                            "Run the collect that made it again, and it makes just those anew.")  # fmt: skip

    def _row_numbers(self, rows: Any) -> np.ndarray:
        if isinstance(rows, slice):
            return np.arange(*rows.indices(len(self)))
        rows = np.atleast_1d(real_array(rows, "The rows"))
        if rows.dtype == bool:
            if rows.shape != (len(self),):
                raise IndexError(f"A mask of shape {rows.shape} for {len(self)} rows")
            return np.flatnonzero(rows)
        if rows.size == 0:
            return np.zeros(0, dtype=np.int64)
        if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
            raise IndexError(f"Rows must be whole numbers in one dimension, not {rows.dtype} of shape {rows.shape}")
        rows = rows.astype(np.int64)
        if rows.min() < -len(self) or rows.max() >= len(self):
            raise IndexError(f"Row {rows.max() if rows.max() >= len(self) else rows.min()} of {len(self)}")
        return np.where(rows < 0, rows + len(self), rows)

    def _column(self, name: str) -> np.ndarray:
        return np.concatenate([self._shard(i)[name].numpy() for i in range(len(self._files))])

    def _map_shard(self, index: int) -> dict[str, Tensor]:
        rows, file = self.metadata["shards"][index]["rows"], self._files[index]
        right = {"activations": (rows, self.dim), "image_id": (rows,), "token": (rows,)}
        try:
            tensors = map_tensors(file)
            if any(tuple(tensors[name].shape) != shape for name, shape in right.items()):
                raise ValueError("its tensors are not those of the metadata")
        except Exception as error:  # a damaged header holds anything
            raise UserError(f"The shard {file} cannot be read: run the collect that made it again.") from error
        return tensors


def damaged_shards(path: str | Path) -> dict[int, str]:
    """The shards of a store, finished or not, that are not the bytes that were written: by number, what is wrong.

    Reads the whole store once, about a second for a gigabyte.

    Raises:
        UserError: no store there, or one that this version cannot read.
    """
    path = Path(path).expanduser()
    found = {}
    for number, shard in enumerate(read_metadata(path)["shards"]):
        file = path / SHARDS / shard["file"]
        try:
            if file_hash(file) != shard["sha256"]:
                found[number] = "damaged"
        except FileNotFoundError:
            found[number] = "missing"
        except OSError as error:
            found[number] = error.strerror or "unreadable"
    return found


def map_tensors(file: Path) -> dict[str, Tensor]:
    """A safetensors file's tensors over the mapped file: only the rows that are used are ever read.

    ``torch.from_file`` keeps no file descriptor, so that a store of thousands of shards needs none either.

    Raises ``ValueError`` where the header claims what the file has not; whatever a header of other types makes of it.
    """
    size = file.stat().st_size
    with open(file, "rb") as opened:
        body = 8 + int.from_bytes(opened.read(8), "little")
        if not 8 < body <= min(size, LONGEST_HEADER):
            raise ValueError(f"a header of {body - 8} bytes")
        header = json.loads(opened.read(body - 8))
    raw = torch.from_file(str(file), shared=False, size=size, dtype=torch.uint8)
    tensors = {}
    for name, facts in header.items():
        if name == "__metadata__":
            continue
        dtype, shape = SAFETENSORS_DTYPES[facts["dtype"]], facts["shape"]
        start, stop = facts["data_offsets"]
        whole = all(type(number) is int and number >= 0 for number in (start, stop, *shape))
        if not whole or stop > size - body or stop - start != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{name} does not fit the file")
        tensors[name] = raw[body + start : body + stop].view(dtype).view(shape)
    return tensors


def read_metadata(path: Path) -> dict[str, Any]:
    """A store's metadata, finished or not.

    Raises:
        UserError: no store there, or one that this version cannot read.
    """
    if not (path / METADATA).is_file():
        raise UserError(f"There is no activation store at {path}: it has no {METADATA}.")
    try:
        metadata = read_json(path / METADATA)
    except ValueError:  # not JSON, or not text
        metadata = None
    if not isinstance(metadata, dict) or not {"schema", "id", "dim", "rows", "shards", "complete"} <= metadata.keys():
        raise UserError(f"{path / METADATA} is not the metadata of an activation store.")
    if metadata["schema"] != SCHEMA:
        theirs = reprlib.repr(metadata["schema"])
        raise UserError(f"{path / METADATA} is of schema {theirs}; this version reads schema {SCHEMA}.")
    if not _whole(metadata):
        raise UserError(f"{path / METADATA} is damaged: delete the store and collect again.")
    return metadata


def _whole(metadata: dict[str, Any]) -> bool:
    """Whether a store's facts are of their kinds, and name files in its own folder alone."""

    def count(value: Any, least: int = 0) -> bool:
        return type(value) is int and least <= value < 2**62

    def right(shard: Any) -> bool:
        if not isinstance(shard, dict) or not count(shard.get("rows")) or not isinstance(shard.get("sha256"), str):
            return False
        return isinstance(file := shard.get("file"), str) and bool(SHARD_FILE.fullmatch(file))

    shards = metadata["shards"]
    return (
        isinstance(metadata["id"], str) and isinstance(metadata["complete"], bool) and count(metadata["dim"], 1)
        and isinstance(shards, list) and all(map(right, shards)) and metadata["rows"] == sum(s["rows"] for s in shards)
    )  # fmt: skip
