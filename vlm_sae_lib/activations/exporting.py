"""A store's activations as other libraries read them, so that an SAE can be trained on them with any of these.

Most take a tensor, or batches of one: for them a plain array (``npy``). saev reads shards of its own (``saev``).
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from vlm_sae_lib import files
from vlm_sae_lib.activations.store import ActivationStore
from vlm_sae_lib.errors import UserError

ARRAY, ORIGIN = "activations.npy", "store.json"
SAEV_METADATA, SAEV_SHARD = "metadata.json", "acts{:06d}.bin"
SAEV_SHARD_ROWS = 2_400_000
"""Rows that saev puts into a shard by default; ten gigabytes where a row has 1,024 numbers."""
ROWS_AT_ONCE = 16_384


def export_activations(store: ActivationStore, out: str | Path, form: str = "npy") -> Path:
    """Write a store's rows, in its order and as float32, to the folder ``out``; an export found there is replaced.

    Beside them lies ``store.json``: the store's metadata, and with it tower, hook point and pictures.

    Args:
        form: ``npy``, one array (rows, dim) in ``activations.npy``, or ``saev``, the folder that saev 0.1 calls
            ``shard_root``. There each row stands as the class token of a picture, whatever token it is of: read it with
            ``patches="cls"`` and the number of the store's block as ``layer`` (−1 where the hook point is no block).

    Raises:
        UserError: an unknown form, a store without rows, or an ``out`` that cannot be written or holds something else.
    """
    if form not in FORMS:
        raise UserError(f"activations cannot be exported as {form!r}: the forms are {', '.join(FORMS)}.")
    if not len(store):
        raise UserError(f"The store {store.path} has no rows to export: collect pictures that can be read.")
    out = Path(out).expanduser()
    try:
        _check_target(out)
        with files.whole_folder(out) as folder:
            FORMS[form](store, folder)
            origin = {name: value for name, value in store.metadata.items() if name not in ("shards", "unreadable")}
            files.write_json(folder / ORIGIN, origin)
    except OSError as error:
        raise UserError(f"The activations cannot be written to {out} ({error.strerror or error}): choose another path, "
                        "or make room.") from error  # fmt: skip
    return out


def _check_target(out: Path) -> None:
    """Raise ``UserError`` where an export would replace anything but another one."""
    if not out.exists():
        return
    foreign = [out.name] if not out.is_dir() else sorted(path.name for path in out.iterdir() if not _is_ours(path.name))
    if foreign:
        raise UserError(f"{out} holds something else than exported activations ({foreign[0]}): choose a new path.")


def _is_ours(name: str) -> bool:
    return name in (ARRAY, ORIGIN, SAEV_METADATA) or (name.startswith("acts") and name.endswith(".bin"))


def _write_npy(store: ActivationStore, folder: Path) -> None:
    with open(folder / ARRAY, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(store), store.dim)}
        np.lib.format.write_array_header_1_0(file, header)
        _write_rows(file, store, 0, len(store))


def _write_saev(store: ActivationStore, folder: Path) -> None:
    """Shards of one length, as saev maps them; the last one is filled up with zeros, which no row number reaches."""
    per_shard = min(len(store), SAEV_SHARD_ROWS)
    for number, start in enumerate(range(0, len(store), per_shard)):
        with open(folder / SAEV_SHARD.format(number), "wb") as file:
            _write_rows(file, store, start, min(start + per_shard, len(store)))
            file.truncate(4 * per_shard * store.dim)
    files.write_json(folder / SAEV_METADATA, _saev_metadata(store, per_shard))


def _saev_metadata(store: ActivationStore, per_shard: int) -> dict[str, Any]:
    """What saev's ``Metadata`` is made of; it finds a row by the numbers, the words are for people."""
    name, _, block = store.metadata["hook_point"].partition("_")
    return {
        "vit_family": str(store.metadata["tower"]),
        "vit_ckpt": str(store.metadata["weights_hash"]),
        "layers": [int(block) if name == "block" else -1],
        "n_patches_per_img": 0,
        "cls_token": True,
        "d_vit": store.dim,
        "seed": int(store.metadata["seed"]),
        "n_imgs": len(store),
        "n_patches_per_shard": per_shard,
        "data": str(store.metadata.get("source", "")),
    }


def _write_rows(file: Any, store: ActivationStore, start: int, stop: int) -> None:
    for rows in _pieces(store, start, stop):
        file.write(np.ascontiguousarray(rows, dtype="<f4").data)
    file.flush()
    os.fsync(file.fileno())


def _pieces(store: ActivationStore, start: int, stop: int) -> Iterator[Float[np.ndarray, "n dim"]]:
    for first in range(start, stop, ROWS_AT_ONCE):
        yield store[first : min(first + ROWS_AT_ONCE, stop)].numpy()


FORMS: dict[str, Callable[[ActivationStore, Path], None]] = {"npy": _write_npy, "saev": _write_saev}
