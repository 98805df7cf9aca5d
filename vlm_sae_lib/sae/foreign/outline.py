"""What a torch file says it holds, without its values: sizes are held against the file before memory is taken.

A few hundred bytes can claim tensors of terabytes: by a size or a packed entry that is larger than the file, or by a
stride of zero. torch believes them, reads behind the end of what is there, or runs out of memory.
"""

import io
import math
import pickle
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO

import torch
from torch import Tensor
from torch._weights_only_unpickler import Unpickler
from torch.storage import TypedStorage, UntypedStorage

ZIP = b"PK\x03\x04"
LEGACY_PICKLES = 3
"""Before the state in a file of torch below 1.6: a magic number, a version, facts about the machine."""
PICKLE = 64 * 2**20
"""Bytes; a pickle names tensors and holds no values."""
AXES = 64


class Lie(ValueError):
    """A file says what its bytes cannot be."""


class Bounded(io.RawIOBase):
    """A stream that never makes room for more bytes than are left of it."""

    def __init__(self, stream: BinaryIO):
        self._stream, self.length = stream, stream.seek(0, io.SEEK_END)
        stream.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        left = self.length - self._stream.tell()
        return self._stream.read(left if size is None or size < 0 else min(size, max(left, 0)))

    def readline(self, size: int | None = -1) -> bytes:
        return self._stream.readline(-1 if size is None else size)

    def readinto(self, buffer: Any) -> int:
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET and offset < 0:
            raise Lie("it points before its own beginning")
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


def outline(stream: BinaryIO) -> Any:
    """The object in a torch file with tensors on the meta device, which have a shape and no values.

    ``torch.load``'s own unpickler reads it, under its own list of what may be built; of a zip nothing is read but its
    directory and one pickle. The stream must be seekable, and is left anywhere.

    Raises ``Lie`` where a tensor or an entry is larger than what the file has for it, or is packed;
    ``pickle.UnpicklingError`` where it needs what may not be built; and whatever a damaged file makes of both.
    """
    bounded = Bounded(stream)
    begin = bounded.read(len(ZIP))
    bounded.seek(0)
    if begin == ZIP:
        return _held(*_of_zip(bounded))
    for _ in range(LEGACY_PICKLES):
        _load(bounded, _no_storage)
    state = _load(bounded, _storages(bounded.length))
    _load(bounded, _no_storage)  # the order in which the values follow
    return _held(state, bounded.length)


def _of_zip(stream: Bounded) -> tuple[Any, int]:
    with zipfile.ZipFile(stream) as archive:
        entries = archive.infolist()
        sizes = {entry.filename: entry.file_size for entry in entries}
        if len(sizes) < len(entries):
            raise Lie("two of its entries have one name")
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise Lie("its entries are packed, as torch writes none")
        if sum(sizes.values()) > stream.length:
            raise Lie("its entries are larger than the file")
        name = next((name for name in sizes if name.endswith("data.pkl")), None)
        if name is None:
            raise Lie("it has no data.pkl")
        if sizes[name] > PICKLE:
            raise Lie("its data.pkl is larger than any list of tensors")
        folder = name.removesuffix("data.pkl") + "data/"
        told = io.BytesIO(archive.read(name))
    entry_of = {name.removeprefix(folder): size for name, size in sizes.items() if name.startswith(folder)}
    return _load(told, _storages(stream.length, entry_of)), stream.length


def _load(stream: Any, persistent_load: Callable[[Any], Any]) -> Any:
    unpickler: Any = Unpickler(stream, encoding="utf-8")
    unpickler.persistent_load = persistent_load
    return unpickler.load()


def _no_storage(said: Any) -> None:
    raise pickle.UnpicklingError("a storage before the state")


def _storages(length: int, sizes: dict[str, int] | None = None) -> Callable[[Any], TypedStorage]:
    """What a pickle's reference to a storage becomes: one without memory.

    Together they are no larger than the file; each is no larger than its entry, where there are such.
    """
    taken: dict[tuple, int] = {}

    def storage(said: Any) -> TypedStorage:
        kind, key, numel = said[1], str(said[2]), said[4]
        dtype = torch.uint8 if kind is UntypedStorage else kind.dtype
        size = numel * torch.empty((), dtype=dtype, device="meta").element_size() if type(numel) is int else -1
        taken[key, dtype, numel] = size
        if not 0 <= size <= (length if sizes is None else sizes.get(key, 0)) or sum(taken.values()) > length:
            raise Lie(f"a tensor of {str(numel)[:40]} values is larger than what lies there")
        return TypedStorage(wrap_storage=UntypedStorage(size, device="meta"), dtype=dtype, _internal=True)

    return storage


def _held(state: Any, length: int) -> Any:
    """The same; each of its tensors has at most as many bytes as the file, whatever its strides are."""
    for value in _tensors(state):
        if value.ndim > AXES or math.prod(value.shape) * value.element_size() > length:
            raise Lie(f"a tensor of shape {tuple(value.shape)} is larger than the file")
    return state


def _tensors(state: Any) -> list[Tensor]:
    """Those in dicts and lists, however deep."""
    found, waiting, seen = [], [state], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value
    return found
