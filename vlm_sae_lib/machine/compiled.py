"""Loops that numba compiles, and how they share the cores.

What touches a few active pairs among millions of zeros is a loop that no array library has: it gathers a row, adds it
and forgets it. Such loops live beside what they serve, in modules named ``loops``; each has its definition in plain
array operations in the tests.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import numba
import torch

compiled: Callable[..., Any] = partial(numba.njit, nogil=True, cache=True, fastmath={"reassoc", "contract"})
"""Compile a loop at its first call and keep it on disk. Sums may be reordered (never NaN or infinity assumed away)."""

PARTS_PER_THREAD = 4
"""Parts that a loop is cut into for each thread, so that an uneven one does not keep the others waiting."""
WORTH_HANDING_OVER = 2**21
"""Numbers that a part must read to be worth another thread: after a product, torch's own threads wait on their cores,
and keep them from others, for as long as it takes to read some millions."""


def in_threads(
    loop: Callable[..., None], count: int, *arguments: Any, at_least: int = 64, reads: int | None = None
) -> None:
    """Call ``loop(start, stop, *arguments)`` on parts of ``range(count)``, as many at once as torch uses threads.

    A loop must write only what belongs to its own part, so that no result depends on the number of threads. Parts are
    never shorter than ``at_least``, and where it is known how many numbers the whole loop ``reads``, never cheaper than
    handing them over.
    """
    threads = torch.get_num_threads()
    parts = min(threads * PARTS_PER_THREAD, count // at_least)
    if reads is not None:
        parts = min(parts, reads // WORTH_HANDING_OVER)
    if threads == 1 or parts < 2:
        loop(0, count, *arguments)
        return
    edges = [count * part // parts for part in range(parts + 1)]
    _shared(lambda start, stop: loop(start, stop, *arguments), edges, threads)


def in_parts(work: Callable[[int, int], None], count: int, each: int) -> None:
    """Call ``work(start, stop)``, products of torch, on parts of ``range(count)``, at once as torch's threads allow.

    All parts but the last are ``each`` long, and torch computes each in one thread: left to itself it parts a product
    among its threads, and the last bit hangs on how many there are.
    """

    def alone(start: int, stop: int) -> None:
        torch.set_num_threads(1)  # each thread has a number of its own, as it has a mode of its own
        with torch.no_grad():
            work(start, stop)

    threads = torch.get_num_threads()
    with one_thread():
        _shared(alone, [*range(0, count, each), count], threads)


def _shared(do: Callable[[int, int], None], edges: Sequence[int], threads: int) -> None:
    """``do(start, stop)`` between all neighbouring edges, by so many threads, of which this is one."""
    left = iter(zip(edges, edges[1:], strict=False))

    def work() -> None:
        for start, stop in left:  # each part is handed out once: the interpreter's lock guards the iterator
            do(start, stop)

    others = [_pool(threads - 1).submit(work) for _ in range(min(threads, len(edges) - 1) - 1)]
    try:
        work()
    finally:
        wait(others)
    for other in others:
        other.result()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread, so that a sum has one order on every machine of a kind."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="loops")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a child process has none of its parent's threads
