"""Where a command writes: looked at before its work, which may take hours."""

import errno
import os
from pathlib import Path

from vlm_sae_lib.errors import UserError


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
