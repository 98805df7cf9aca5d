"""Files made to do harm by hand: what no change at random would hit upon."""

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from archive_readers import jpeg, member, species, tarred
from fuzzing import zipped

GIGABYTE = 2**30


class Call:
    """Pickled, it is a call of a function."""

    def __init__(self, function: Any, *values: Any):
        self.function, self.values = function, values

    def __reduce__(self):
        return self.function, self.values


def calls(canary: Path) -> dict[str, Call]:
    """Ways to make a file appear while a pickle is read."""
    made = f"open({str(canary)!r}, 'w').close()"
    return {
        "os.system": Call(os.system, f"touch {canary}"),
        "exec": Call(exec, made),
        "eval": Call(eval, made),
        "open": Call(open, str(canary), "w"),
        "torch.load of a file": Call(torch.load, str(canary), None, None, False),
    }


def pickled(value: Any, protocol: int) -> bytes:
    return pickle.dumps(value, protocol)


def as_torch_files(payload: Any) -> dict[str, bytes]:
    """A pickle as each kind of torch file, alone and among tensors."""
    state = {"W_enc": payload, "b_enc": torch.zeros(3)}
    files: dict[str, bytes] = {}
    for protocol in (0, 2, 4):
        files[f"bare, protocol {protocol}"] = pickled(payload, protocol)
        inside = {"archive/data.pkl": pickled({"W_enc": payload}, protocol), "archive/version": b"3\n",
                  "archive/byteorder": b"little"}  # fmt: skip
        files[f"zip, protocol {protocol}"] = zipped(inside)
    for name, new in (("zip by torch", True), ("file of old torch", False)):
        torch.save(state, file := io.BytesIO(), _use_new_zipfile_serialization=new)
        files[name] = file.getvalue()
    files["behind a line of saev"] = json.dumps({"schema": 5}).encode() + b"\n" + files["zip by torch"]
    return files


@cache
def lying_torch_files() -> dict[str, bytes]:
    """Small files that claim gigabytes, or more than a machine has."""
    state = {name: torch.zeros(1) for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    big = state | {"W_enc": torch.zeros(1).expand(2**15, 2**15), "W_dec": torch.zeros(1).expand(2**15, 2**15)}
    torch.save(big, expanded := io.BytesIO())
    torch.save(big, old := io.BytesIO(), _use_new_zipfile_serialization=False)
    torch.save({"a": torch.zeros(77)}, real := io.BytesIO())
    with zipfile.ZipFile(io.BytesIO(real.getvalue())) as archive:
        inside = {info.filename: archive.read(info) for info in archive.infolist()}
    told = next(name for name in inside if name.endswith("data.pkl"))
    much = inside[told].replace(b"K\x4d", b"J" + struct.pack("<i", 2**30))  # 77 values become 2^30
    packed = inside | {told.replace("data.pkl", "data/0"): bytes(GIGABYTE // 4)}
    legacy = io.BytesIO()
    torch.save({"a": torch.zeros(77)}, legacy, _use_new_zipfile_serialization=False)
    return {
        "strides of zero": expanded.getvalue(),
        "strides of zero, old": old.getvalue(),
        "a storage larger than its entry": zipped(inside | {told: much}),
        "a packed entry": zipped(packed, zipfile.ZIP_DEFLATED),
        "a storage larger than the file, old": legacy.getvalue().replace(b"K\x4d", b"J" + struct.pack("<i", 2**30)),
    }


def safetensors(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    told = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(told) if length is None else length).to_bytes(8, "little") + told + body


def lying_safetensors() -> dict[str, bytes]:
    """Headers that say what the bytes behind them cannot be."""

    def one(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> bytes:
        return safetensors({"W_enc": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}, bytes(8))

    two = {name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in ("W_enc", "b_enc")}
    return {
        "empty": b"", "seven bytes": bytes(7), "no header": bytes(8),
        **{f"a header of {length} bytes": safetensors({}, b"", length) for length in (1, 100, 2**31, 2**40, 2**63,
                                                                                  2**64 - 1)},
        "a product that overflows": one(shape=(2**32, 2**32)), "a larger product": one(shape=(2**62, 8)),
        "a size of 2^64": one(shape=(2**64,)), "a size below zero": one(shape=(-2,)),
        "sizes below zero": one(shape=(-1, -2)), "offsets below zero": one(offsets=(-8, 0)),
        "offsets in the wrong order": one(offsets=(8, 0)), "offsets beyond the end": one(offsets=(0, 2**40)),
        "offsets of 2^64": one(offsets=(2**64, 2**64)), "a hole": one(shape=(1,), offsets=(4, 8)),
        "an unknown type": one(dtype="F99"), "no type": one(dtype=None), "a word for a size": one(shape=("2",)),
        "overlapping": safetensors(two, bytes(8)), "a list": safetensors([], bytes(8)),
        "nested": safetensors(b"[" * 100_000), "no text": safetensors(b"\xff" * 64),
        "twice": safetensors(b'{"a": 1, "a": 2}'), "NaN": safetensors(b'{"a": NaN}'),
    }  # fmt: skip


def gzipped(head: bytes, zeros: int) -> bytes:
    """What unpacks to gigabytes and takes a thousandth of them."""
    with gzip.GzipFile(fileobj=(file := io.BytesIO()), mode="wb", compresslevel=1) as stream:
        stream.write(head)
        for _ in range(zeros // 2**20):
            stream.write(bytes(2**20))
    return file.getvalue()


def head(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.GNU_FORMAT)


def bombs() -> dict[str, bytes]:
    picture = f"val/{species(1)}/a.jpg"
    return {
        "a picture": gzipped(head(member(picture, size=GIGABYTE)), GIGABYTE),
        "a name": gzipped(head(member("././@LongLink", type=tarfile.GNUTYPE_LONGNAME, size=GIGABYTE)), GIGABYTE),
        "a link": gzipped(head(member("././@LongLink", type=tarfile.GNUTYPE_LONGLINK, size=GIGABYTE)), GIGABYTE),
        "attributes": gzipped(head(member("x", type=tarfile.XHDTYPE, size=GIGABYTE)), GIGABYTE),
        "attributes of all": gzipped(head(member("x", type=tarfile.XGLTYPE, size=GIGABYTE)), GIGABYTE),
    }


def escapes(outside: Path) -> dict[str, bytes]:
    """Archives that would write to, link to, or make a device of what lies outside; beside them one right picture."""
    kept, inside = species(1), (member(f"val/{species(1)}/a.jpg"), jpeg(1))
    names = {
        "up": f"val/{kept}/../../../../{outside.name}.jpg", "absolute": f"{outside}.jpg",
        "up in the middle": "val/../x.jpg",
        "a folder of dots": "val/../../a.jpg", "dots for a name": f"val/{kept}/..jpg", "a NUL": f"val/{kept}/a\0b.jpg",
        "a line": f"val/{kept}/a\nb.jpg", "backslashes": f"val/{kept}/..\\..\\x.jpg",
    }  # fmt: skip
    made = {what: tarred([inside, (member(name), jpeg(2))], format=tarfile.PAX_FORMAT) for what, name in names.items()}
    kinds = {"a symbolic link": tarfile.SYMTYPE, "a hard link": tarfile.LNKTYPE, "a device": tarfile.CHRTYPE,
             "a block device": tarfile.BLKTYPE, "a pipe": tarfile.FIFOTYPE, "a folder": tarfile.DIRTYPE}  # fmt: skip
    for what, kind in kinds.items():
        link = member(f"val/{kept}/b.jpg", type=kind, linkname=str(outside))
        made[what] = tarred([inside, (link, b"")])
    folder = member(f"val/{kept}", type=tarfile.SYMTYPE, linkname=str(outside.parent))
    made["a link for a folder"] = tarred([(folder, b""), inside])
    return made
