"""Where a command writes: looked at before its work, which may take hours."""

import argparse
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.reserving import reserved

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def target(arguments: argparse.Namespace) -> Iterator[None]:
    """Where a stage has ``--out``: make a path of it, and hold that against other processes while the stage runs.

    Raises ``UserError`` where it could not be written, and while another process writes it; and when the disk is full.
    """
    if "out" not in arguments:
        yield
        return
    arguments.out = folder_to_write(arguments.out)
    try:
        with reserved(arguments.out):
            yield
    except (OSError, UserError) as error:
        reason = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(reason, OSError) or reason.errno not in FULL:
            raise
        raise UserError(f"The disk of {arguments.out} is full ({reason.strerror}): free some space and give the same "
                        "command again, which takes up what is done, or give another --out.") from error  # fmt: skip


def folder_to_write(text: str) -> Path:
    """The folder that ``--out`` names, which need not be there yet.

    Raises ``UserError`` where it could not be made or written into, as far as the nearest folder that is there tells.
    """
    path = Path(text).expanduser()
    nearest = path
    while not _is_there(nearest, path):
        nearest = nearest.parent
    if not nearest.is_dir():
        raise _cannot(path, f"{nearest} is a file")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise _cannot(path, f"{nearest}: {os.strerror(errno.EACCES)}")
    return path


def _is_there(nearest: Path, path: Path) -> bool:
    try:
        nearest.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _cannot(path, error.strerror) from error
    return True


def _cannot(path: Path, why: str | None) -> UserError:
    return UserError(f"--out {path} cannot be written ({why}): give a folder that can.")
