"""A store on its way to the disk: rows come picture by picture, and leave as whole shards."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from safetensors.numpy import save

from vlm_sae_lib.activations.store import METADATA, SHARDS, read_metadata
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import file_hash, write_bytes, write_json

# The precision stands before the weights' hash, which follows it, so that a refusal names the one that was chosen.
CONTENT = ("tower", "precision", "weights_hash", "hook_point", "tokens", "preprocessing", "fingerprint", "dtype",
           "seed")  # fmt: skip
Unreadable = tuple[int, str, str]  # image id, name, reason


class StoreWriter:
    """An unfinished store, from its last whole shard on; the caller holds its folder against other processes.

    A shard holds the rows of those pictures that stand among the same ``pictures_per_shard`` candidates of the source.

    Attributes:
        metadata: the store's, as it will be written next.
        first: the image id after that of the last row written before; rows below it are here already.
    """

    def __init__(self, out: Path, metadata: dict[str, Any], unreadable: Sequence[Unreadable]):
        """``unreadable`` is filled by who reads the pictures, and looked at whenever a shard is entered."""
        self.out, self.metadata, self._found = out, metadata, unreadable
        with writable(out):
            _tidy(out, metadata)
        self.first: int = metadata["shards"][-1]["last_image_id"] + 1 if metadata["shards"] else 0
        self._known = [bad for bad in metadata["unreadable"] if bad["image_id"] < self.first]
        self._parts: list[Mapping[str, np.ndarray]] = []  # of the shard being filled
        self._shard = -1  # its number among the candidates

    def add(
        self,
        image_ids: Int[np.ndarray, " n"],
        places: Int[np.ndarray, " n"],
        rows: Mapping[str, np.ndarray],
        *,
        upto: int,
    ) -> None:
        """Take the rows of the next pictures, and write the shards that are whole with them.

        Args:
            places: of the pictures among all candidates, ascending.
            rows: ``activations`` (n, k, d) and ``token`` (n, k), k rows a picture.
            upto: all candidates before this place have had their turn.

        Raises:
            UserError: the folder cannot be written.
        """
        per_shard = self.metadata["pictures_per_shard"]
        rows = {**rows, "image_id": np.broadcast_to(image_ids[:, None], rows["token"].shape)}
        shards = places // per_shard
        for shard in np.unique(shards[image_ids >= self.first]):
            if shard != self._shard:
                self._write_shard()
                self._shard = int(shard)
            start = max(np.searchsorted(shards, shard), np.searchsorted(image_ids, self.first))
            here = slice(start, np.searchsorted(shards, shard, side="right"))
            self._parts.append({name: array[here].reshape(-1, *array.shape[2:]) for name, array in rows.items()})
        if (self._shard + 1) * per_shard <= upto:
            self._write_shard()

    def finish(self) -> None:
        """Write the last shard and mark the store complete, unless it has no rows."""
        self._write_shard()
        self.metadata["complete"] = bool(self.metadata["rows"])
        self._record(float("inf"))

    def _write_shard(self) -> None:
        if self._parts:
            tensors = {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}
            self._parts.clear()
            with writable(self.out):
                enter_shard(self.out, self.metadata, tensors)
            self._record(self.metadata["shards"][-1]["last_image_id"])

    def _record(self, before: float) -> None:
        """Write the metadata, with the pictures found unreadable below an id."""
        found = [
            {"image_id": i, "name": name, "reason": reason}
            for i, name, reason in sorted(self._found) if self.first <= i < before
        ]  # fmt: skip
        self.metadata["unreadable"] = self._known + found
        with writable(self.out):
            write_json(self.out / METADATA, self.metadata)


def enter_shard(out: Path, metadata: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """Write the next shard and enter it into the (in-memory) metadata."""
    name = f"{len(metadata['shards']):06d}.safetensors"
    data = save(tensors)
    write_bytes(out / SHARDS / name, data)
    facts = {"rows": len(tensors["token"]), "last_image_id": int(tensors["image_id"][-1])}
    metadata["shards"].append({"file": name, "sha256": hashlib.sha256(data).hexdigest(), **facts})
    metadata["rows"] += len(tensors["token"])


def metadata_at(out: Path, fresh: dict[str, Any]) -> dict[str, Any] | None:
    """The metadata of the store there, finished or begun; None where nothing is.

    Raises:
        UserError: the store of another request than ``fresh``, or something else, lies there.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"The store {out} cannot be written, since a file has that name: choose another path.")
    if (out / METADATA).is_file():
        metadata = read_metadata(out)
        if metadata["id"] != fresh["id"]:
            different = next((key for key in CONTENT if key in metadata and metadata[key] != fresh[key]), "request")
            different = different.replace("_", " ")
            raise UserError(f"{out} holds another store (its {different} differs): choose another path or delete it.")
        return metadata
    if out.is_dir() and any(not path.name.startswith(f".{METADATA}.") for path in out.iterdir()):
        raise UserError(f"{out} holds other files and no store: choose a new or empty folder.")
    return None


@contextmanager
def writable(out: Path) -> Iterator[None]:
    """An error of the file system inside is a UserError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"The store {out} cannot be written ({reason}): choose another path.") from error


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
