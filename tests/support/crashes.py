"""A process that dies at one of its steps on the disk, or at any moment, and how a folder looks afterwards.

Each attempt is a fork of the test's own process, which has loaded torch already: an attempt takes as long as its work.
A crash is the end of the process without any clean-up. At a sync the file first loses its second half, as what was not
on the disk when a machine went down.
"""

import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from vlm_sae_lib.files import file_hash

CRASHED = 86
STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.link", "os.symlink"}
"""What Python tells of by audit hooks; a sync it does not tell of."""


class Steps:
    """Counts what happens on the disk below a folder, and ends the process at one of the steps."""

    def __init__(self, folder: Path, at: int | None):
        self.below, self.at, self.seen = str(folder), at, 0

    def watch(self) -> None:
        sync = os.fsync

        def watched(file: int) -> None:
            self.step("fsync", lambda: os.ftruncate(file, os.fstat(file).st_size // 2))
            sync(file)

        os.fsync = watched
        sys.addaudithook(self.heard)

    def heard(self, event: str, arguments: tuple) -> None:
        if event not in STEPS or not str(arguments[0]).startswith(self.below):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        self.step(event)

    def step(self, event: str, damage: Callable[[], None] = lambda: None) -> None:
        if self.seen == self.at:
            self.at = None  # what does the damage is no step
            damage()
            os._exit(CRASHED)
        self.seen += 1


def forked(work: Callable[[], None], after: float | None = None) -> int:
    """Do the work in a fork and return its exit code; with ``after``, kill it so many seconds after it began."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def told_by(work):
    """The exit code of a stage in a process of its own, and what it says on stderr (a pipe: disks may be full)."""
    reader, writer = os.pipe()

    def within():
        sys.stderr = os.fdopen(writer, "w")
        code = work()
        sys.stderr.flush()
        os._exit(code)

    code = forked(within)
    os.close(writer)
    with os.fdopen(reader) as told:
        return code, told.read()


def steps_of(work: Callable[[], None], folder: Path) -> int:
    """How many steps on the disk below a folder the work takes."""
    reader, writer = os.pipe()

    def counted() -> None:
        (steps := Steps(folder, None)).watch()
        work()
        os.write(writer, str(steps.seen).encode())

    assert forked(counted) == 0
    os.close(writer)
    with os.fdopen(reader) as told:
        return int(told.read())


def crashed_at(step: int, work: Callable[[], None], folder: Path) -> int:
    """The exit code of the work when it dies at a step on the disk below a folder."""

    def watched() -> None:
        Steps(folder, step).watch()
        work()

    return forked(watched)


def moments(seconds: float, number: int, seed: int) -> list[float]:
    """When to kill a work that takes so many seconds: anywhere in it, by a seed."""
    draw = random.Random(seed)
    return [draw.uniform(0, seconds) for _ in range(number)]


def content(folder: Path) -> dict[str, str]:
    """Every file below a folder by its hash, hidden ones too; folders by their names."""
    return {
        path.relative_to(folder).as_posix(): "folder" if path.is_dir() else file_hash(path)
        for path in sorted(folder.rglob("*"))
    }
