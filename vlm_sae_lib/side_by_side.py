"""Long pieces of work side by side on one machine, a process of one thread each.

Small models gain little from a second thread, and two processes do twice the work. And what one thread computes has
the same bits on two cores and on sixteen.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.taking_turns import Each, begun

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
"""What a process finds in its environment: libraries read it when they are loaded. Bars of several would mix."""


def side_by_side(processes: int) -> Each:
    """As ``in_turn``, but as many at once as there are processes; what is not done when one fails ends with it.

    Raises:
        UserError: as ``do``; or a process was killed, most likely for want of memory.
    """

    def each(do: Callable[[str], float], names: Sequence[str], say: Callable[[str], None]) -> Iterator:
        context = get_context("spawn")
        ends, hold = context.Pipe(duplex=False)
        pool = ProcessPoolExecutor(processes, context, initializer=_end_with, initargs=(ends,))
        lacking, running = list(names), dict[Future[float], str]()
        with _environment(ONE_THREAD), pool, hold:
            while lacking or running:
                while lacking and len(running) < processes:
                    say(begun(name := lacking.pop(0)))
                    running[pool.submit(do, name)] = name
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    yield name, _result(name, future)

    return each


def _result(name: str, future: Future[float]) -> float:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise UserError(f"A process was killed while {name} ran, most likely for want of memory: what was finished is "
                        "kept; give the same command again, with fewer --processes.") from error  # fmt: skip


def _end_with(ends: Connection) -> None:
    """End this process as soon as nobody holds the other end any more: its parent has left the block, or was killed."""
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
