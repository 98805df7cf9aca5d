"""The activation store: activations of one hook point, for one set of pictures, as a folder.

``metadata.json`` names the finished shards with their SHA-256; ``shards/000000.safetensors`` … hold ``activations``
(rows, dim), ``image_id`` (rows,) and ``token`` (rows,), rows in ascending image id. A token is its index in the
tower's sequence (0 is the class token), −1 where a row belongs to no single token (``mean``, ``projection``).
"""

import json
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
        """Open a finished store; with ``verify`` its shards' hashes are recomputed first.

        Raises:
            UserError: no store there, an unfinished one, one of another schema, or one with missing or changed shards.
        """
        path = Path(path).expanduser()
        metadata = read_metadata(path)
        if not metadata["complete"]:
            raise UserError(f"The store {path} is unfinished: run the same collect again, and it will resume.")
        store = cls(path, metadata)
        for file in store._files:
            if not file.is_file():
                raise UserError(f"The store {path} has lost its shard {file.name}: delete the store and collect again.")
        if verify:
            store.verify()
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
        out = torch.empty(len(rows), self.dim, dtype=torch.float32, device="cpu")
        shard_of_row = np.searchsorted(self._starts, rows, side="right") - 1
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
            UserError: names the first shard that is missing or differs.
        """
        for file, shard in zip(self._files, self.metadata["shards"], strict=True):
            if not file.is_file() or file_hash(file) != shard["sha256"]:
                raise UserError(f"The shard {file} is missing or damaged: delete the store {self.path}, collect again.")
        return True

    def __repr__(self) -> str:
        facts = self.metadata
        return f"ActivationStore({facts['tower']} {facts['hook_point']} {facts['tokens']}: {len(self)} × {self.dim})"

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
        try:
            return map_tensors(self._files[index])
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            file = self._files[index]
            raise UserError(f"The shard {file} cannot be read: delete the store and collect again.") from error


def map_tensors(file: Path) -> dict[str, Tensor]:
    """A safetensors file's tensors over the mapped file: only the rows that are used are ever read.

    ``torch.from_file`` keeps no file descriptor, so that a store of thousands of shards needs none either.
    """
    raw = torch.from_file(str(file), shared=False, size=file.stat().st_size, dtype=torch.uint8)
    body = 8 + int.from_bytes(bytes(raw[:8].tolist()), "little")
    tensors = {}
    for name, facts in json.loads(bytes(raw[8:body].tolist())).items():
        if name == "__metadata__":
            continue
        start, stop = (body + offset for offset in facts["data_offsets"])
        tensors[name] = raw[start:stop].view(SAFETENSORS_DTYPES[facts["dtype"]]).view(facts["shape"])
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
        raise UserError(f"{path / METADATA} is of schema {metadata['schema']}; this version reads schema {SCHEMA}.")
    return metadata
