"""Files that are either whole or absent: canonical JSON, content hashes, atomic writes."""

import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""How a half of a character begins where JSON spells it; two halves in a row are one, and right."""
DIGITS = 300
"""Of a whole number: with more it is no float."""
UNFINISHED = ".unfinished"
"""How the temporary names end under which files and folders are written."""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text. NaN is an error."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_hash(value: Any) -> str:
    """SHA-256 (hex) of a JSON value's canonical text."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_hash(path: str | Path) -> str:
    """SHA-256 (hex) of a file's bytes, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_hash(folder: str | Path, patterns: tuple[str, ...] = ("*",)) -> str:
    """SHA-256 over the names and bytes of a folder's files that match a pattern, in name order."""
    folder = Path(folder)
    names = sorted({p.relative_to(folder).as_posix() for pat in patterns for p in folder.rglob(pat) if p.is_file()})
    return content_hash({name: file_hash(folder / name) for name in names})


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file that is never there by half."""
    with whole_file(path) as file:
        file.write(data)


@contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """Yield a file under a temporary name beside ``path``; synced and renamed when the block ends, gone if it fails."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with unfinished(path) as temporary:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)


def write_json(path: str | Path, value: Any) -> None:
    """Write readable JSON (two spaces, sorted keys, no NaN) atomically."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: str | Path) -> Any:
    """A JSON file's value, which could be written as JSON again.

    Python's own reader takes more: NaN and numbers beyond all that a float can be, one key twice, half of a character.
    Each of them would be another value to another reader, or fail only when it is written.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no JSON, one of the above, or nested too deeply.
    """
    text = Path(path).read_text(encoding="utf-8")
    try:
        value = json.loads(
            text, parse_constant=_no_number, parse_float=_float, parse_int=_int, object_pairs_hook=_once
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if SURROGATE.search(text):
        json.dumps(value, ensure_ascii=False).encode()  # half of a character is an error
    return value


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number in JSON: write null")


def _float(text: str) -> float:
    if math.isinf(value := float(text)):
        raise ValueError("it has a number beyond all that can be computed with")
    return value


def _int(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError("it has a number beyond all that can be computed with")
    return int(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise ValueError(f"one object has the key {twice[:80]!r} twice")
    return value


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``path`` when the block ends, or vanishes if the block fails.

    An existing ``path`` is replaced only then.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with unfinished(path, folder=True) as temporary:
        yield temporary
        for inner in temporary.rglob("*"):
            if inner.is_file():
                _sync(inner)
        os.chmod(temporary, 0o755)
        if path.exists():
            with unfinished(path, folder=True) as aside:  # a folder is not taken away in one step, but put aside in one
                os.replace(path, aside / path.name)
                os.replace(temporary, path)
            _remove(aside)
        else:
            os.replace(temporary, path)


@contextmanager
def unfinished(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Yield a new file or folder beside ``path``, under a temporary name, that vanishes if the block fails.

    A process that is killed leaves it; the first write of another process into the same place takes it away.
    """
    _tidy(path.parent)
    temporary, handle = _claimed(path, folder)
    try:
        yield temporary
    except BaseException:
        _remove(temporary)
        raise
    finally:
        if handle is not None:
            os.close(handle)


@contextmanager
def alone(folder: str | Path) -> Iterator[None]:
    """Hold a folder (made if need be) against other processes; they wait until the block ends.

    The lock lies on the folder itself, so that it leaves no file; the system lifts it when a process is killed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:  # two processes at once are then the caller's to avoid
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _claimed(path: Path, folder: bool) -> tuple[Path, int | None]:
    """A new temporary file or folder, and the handle by which it is locked for as long as somebody works on it."""
    names: dict[str, Any] = {"dir": path.parent, "prefix": f".{path.name}.", "suffix": UNFINISHED}
    while True:
        if folder:
            temporary = tempfile.mkdtemp(**names)
            if fcntl is None:
                return Path(temporary), None
            handle = os.open(temporary, os.O_RDONLY)
        else:
            handle, temporary = tempfile.mkstemp(**names)
        if fcntl is not None:
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
        if os.path.exists(temporary):  # somebody may have tidied it away before it was locked
            return Path(temporary), handle
        os.close(handle)


@cache
def _tidy(folder: Path) -> None:
    """Remove, once a process, the temporary files and folders in ``folder`` on which nobody works any more."""
    for left in folder.glob(f".*{UNFINISHED}") if fcntl is not None else ():
        with suppress(OSError):  # locked, or gone meanwhile
            handle = os.open(left, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(left)
            finally:
                os.close(handle)


def _sync(file: Path) -> None:
    """Have the system write a file to the disk now: a rename may else come before its bytes."""
    handle = os.open(file, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
