"""Many inputs read in a process of their own, which may not run code, write elsewhere, take memory, hang or crash.

What goes wrong comes back with the input's number. An input that ends the process is told by its number, too, and the
next process goes on behind it.
"""

import faulthandler
import json
import mmap
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.machine.devices import out_of_memory

ROOM = 512 * 2**20
"""Bytes of address space beyond what the process holds before its first input."""
SECONDS = 10
"""Of the processor, for one input: a hundred thousand times as long as most take."""
LONGEST = 2000
"""Characters of a sentence, the path in it included."""
RUNS = {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "os.fork", "os.forkpty", "pty.spawn",
        "subprocess.Popen", "socket.connect", "socket.bind", "ctypes.dlopen", "code.__new__", "webbrowser.open",
        "urllib.Request"}  # fmt: skip
"""What Python tells of by audit hooks when code of a file would do harm."""
WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.chown", "os.link",
          "os.symlink", "shutil.rmtree", "shutil.move", "os.utime"}  # fmt: skip
AS_TEXT = ("traceback", "object at 0x")
STUB = 16
"""Bytes of code that can only raise: what a template engine makes to tell of a line in a template."""
MEMORY = "memory was taken before sizes were checked"
TOO_MUCH = ("bad_alloc", "bad allocation", "cannot allocate")


@dataclass(frozen=True)
class Outcome:
    """How the inputs of one reader went."""

    tried: int
    refused: int
    faults: list[tuple[int, str]]
    """(number of the input, what happened), at most a few of each kind"""
    seconds: float
    """of the processor"""


class Watch:
    """The audit hook of the process: it notes what no reader may do."""

    def __init__(self, folder: Path):
        self.below, self.seen = (str(folder) + os.sep, "/dev/null"), []

    def heard(self, event: str, values: tuple) -> None:
        if event == "code.__new__" and len(values[0]) <= STUB:
            return
        if event in RUNS:
            self.seen.append(f"{event} {values[:1]}"[:200])
        elif event in WRITES:
            if not (event in ("os.remove", "os.rmdir") and values[-1] != -1):  # in a folder that is told as open
                self._within(event, values[0])
        elif event == "open" and isinstance(values[2], int) and values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            self._within(event, values[0])

    def _within(self, event: str, path: Any) -> None:
        path = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if path and not os.path.realpath(path).startswith(self.below):
            self.seen.append(f"{event} {path}"[:200])


def complaint(error: UserError) -> str | None:
    """What is wrong with a refusal: it must be one printable sentence, and not come of memory that was taken."""
    text = str(error)
    if not text.strip() or len(text) > LONGEST or not text.isprintable():
        return f"refused in no printable sentence: {text[:200]!r} ({len(text)} characters)"
    if any(word in text.lower() for word in AS_TEXT):
        return f"refused in words of the interpreter: {text[:200]}"
    link: BaseException | None = error
    while link is not None:
        if out_of_memory(link) or any(word in str(link).lower() for word in TOO_MUCH):
            return f"{MEMORY}: {type(link).__name__} {str(link)[:200]}"
        link = link.__cause__ or link.__context__
    return None


def place(error: BaseException) -> str:
    """File and line where an error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""


def attempts(
    attempt: Callable[[int], Any], numbers: range, folder: Path, *, room: int = ROOM, seconds: float = SECONDS
) -> Outcome:
    """``attempt(number)`` for all numbers: it returns, or raises UserError; whatever else it does is a fault."""
    tried = refused = 0
    found: list[tuple[int, str]] = []
    spent, start = 0.0, numbers.start
    while start < numbers.stop and len(found) < 200:
        counter = mmap.mmap(-1, 32)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            _child(attempt, range(start, numbers.stop), folder, counter, writer, room, seconds)
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8", errors="replace") as told:
            found += [(one["number"], one["what"]) for one in map(json.loads, told)]
        _, status, usage = os.wait4(child, 0)
        at, refusals, done = struct.unpack("qqq", counter[:24])
        spent += usage.ru_utime + usage.ru_stime
        tried, refused = tried + done, refused + refusals
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            break
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        hung = f" after {seconds} s of the processor" if name == "SIGPROF" else ""
        found.append((at, f"the process ended by {name}{hung}"))
        start = at + 1
    return Outcome(tried, refused, found, spent)


def _child(attempt, numbers: range, folder: Path, counter: mmap.mmap, writer: int, room: int, seconds: float) -> None:
    """The process that reads; it never returns."""
    code = 70
    try:
        _alone(room)
        (watch := Watch(folder)).seen.clear()
        sys.addaudithook(watch.heard)
        kinds: dict[str, int] = {}
        refused = done = 0
        for number in numbers:
            counter[:24] = struct.pack("qqq", number, refused, done)
            signal.setitimer(signal.ITIMER_PROF, seconds)
            wrong = None
            try:
                attempt(number)
            except UserError as error:
                refused, wrong = refused + 1, complaint(error)
            except BaseException as error:
                wrong = f"{type(error).__name__} at {place(error)}: {str(error)[:300]}"
            if watch.seen:
                wrong = f"it did {', '.join(watch.seen[:3])}; {wrong}"
                watch.seen.clear()
            done += 1
            if wrong is not None:
                kinds[wrong[:60]] = kinds.get(wrong[:60], 0) + 1
                if kinds[wrong[:60]] <= 2:
                    line = json.dumps({"number": number, "what": wrong})
                    os.write(writer, line.encode() + b"\n")
        counter[:24] = struct.pack("qqq", numbers.stop, refused, done)
        code = 0
    finally:
        os._exit(code)


def _alone(room: int) -> None:
    """No output, no core file, little more memory than there is, and a timer that kills."""
    faulthandler.disable()  # a crash is told by its number
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + room
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)


def written(files: dict[str, bytes], folder: Path) -> Path:
    """The files of an input, alone in a folder that is used again and again."""
    for left in folder.iterdir():
        if left.name not in files:
            left.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@contextmanager
def shared_memory(fallback: Path) -> Iterator[Path]:
    """A folder in memory where there is one: files that live for a millisecond wear no disk."""
    import shutil
    import tempfile

    root = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=root if os.access(root, os.W_OK) else fallback))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def told(reader: str, outcome: Outcome, most: int = 20) -> str:
    """The faults of a reader, each with the number that makes it again."""
    lines: Iterable[str] = (f"  input {number}: {what}" for number, what in outcome.faults[:most])
    return f"{reader}: {len(outcome.faults)} kinds of fault in {outcome.tried} inputs\n" + "\n".join(lines)
