"""One target, one process: who writes a file or folder says so beside it, and the second is told by whom."""

import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vlm_sae_lib.errors import UserError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

RESERVED = ".reserved"
"""How the name ends of the mark beside a target that a command is writing."""


@contextmanager
def reserved(target: str | Path) -> Iterator[None]:
    """Reserve a file or folder that a command writes, there already or not, as long as the block lasts.

    The mark beside it tells who holds it, and vanishes with the block. A process that is killed leaves a mark that
    holds nothing; the next one takes it over.

    Raises:
        UserError: another process holds it (says which).
    """
    target, told = Path(target).resolve(), target
    made = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    mark = target.parent / f".{target.name}{RESERVED}"
    handle = _taken(mark, told)
    try:
        who = f"process {os.getpid()} ({shlex.join(sys.orig_argv)}, since {time.strftime('%H:%M')})"
        os.ftruncate(handle, 0)
        os.pwrite(handle, who.encode(errors="backslashreplace"), 0)
        yield
    finally:
        mark.unlink(missing_ok=True)
        os.close(handle)
        with suppress(OSError):  # something was written there
            for folder in made:
                folder.rmdir()


def _taken(mark: Path, target: str | Path) -> int:
    """A handle on the mark, locked."""
    while True:
        handle = os.open(mark, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        if fcntl is None:
            return handle
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = os.read(handle, 2**16).decode(errors="replace") or "another process"
            os.close(handle)
            raise UserError(
                f"{target} is being written by {who}: wait until it is done, or give another place."
            ) from None
        except OSError:  # a file system without locks
            return handle
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(mark)):
                return handle
        os.close(handle)  # whoever held it took it away just now
