"""Long pieces of work side by side on one machine, a process of one thread each.

Small models gain little from a second thread, and two processes do twice the work. And what one thread computes has
the same bits on two cores and on sixteen.
"""

import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.taking_turns import Each, begun

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
"""What a process finds in its environment: libraries read it when they are loaded. Bars of several would mix."""


def side_by_side(processes: int) -> Each:
    """As ``in_turn``, but as many at once as there are processes; what is not done when one fails ends with it.

    Each name has a process of its own, as a pool of the standard library can wait for ever when one of its processes is
    killed while another one starts.

    Raises:
        UserError: as ``do``; or a process was killed, most likely for want of memory.
        RuntimeError: what else ``do`` raised, with the lines where it did.
    """

    def each(do: Callable[[str], float], names: Sequence[str], say: Callable[[str], None]) -> Iterator:
        context = get_context("spawn")
        ends, hold = context.Pipe(duplex=False)
        lacking, running = list(names), dict[Any, tuple[str, SpawnProcess]]()
        with _environment(ONE_THREAD), ends, hold:
            try:
                while lacking or running:
                    while lacking and len(running) < processes:
                        say(begun(name := lacking.pop(0)))
                        found, told = context.Pipe(duplex=False)
                        with told:  # once it is the process's alone, its end is heard
                            process = context.Process(target=_work, args=(do, name, told, ends))
                            process.start()
                        running[found] = name, process
                    for ready in wait(list(running)):
                        name, process = running[ready]
                        result = _result(name, ready)
                        process.join()
                        del running[ready]
                        yield name, result
            finally:
                for _, process in running.values():
                    process.kill()
                    process.join()

    return each


def _result(name: str, found: Any) -> float:
    with found:
        try:
            result = found.recv()
        except EOFError as error:
            raise UserError(f"The process was killed in which {name} ran, most likely for want of memory: what was "
                            "finished is kept; give the same command again, with fewer --processes.") from error
    if isinstance(result, BaseException):
        raise result
    return result


def _work(do: Callable[[str], float], name: str, told: Connection, ends: Connection) -> None:
    """The whole of a process: what is found, or what was raised, with where."""
    _end_with(ends)
    try:
        result: float | BaseException = do(name)
    except UserError as error:
        result = error
    except BaseException:  # not every one can be sent as it is
        result = RuntimeError(f"in the process of {name}:\n{traceback.format_exc()}")
    told.send(result)


def _end_with(ends: Connection) -> None:
    """End this process as soon as nobody holds the other end any more: its parent was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which then ends this one

    def watch() -> None:
        ends.poll(None)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
