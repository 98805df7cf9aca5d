"""Pictures decoded a short way ahead, in order: by threads, or by worker processes where there are many files.

A thread decodes while others wait for the disk, but PIL and the preprocessing hold Python's lock for much of the time;
on a machine with a GPU the pictures are then what everything waits for. Processes are forked, so that a transform may
be any function, and give the same bytes.
"""

import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from vlm_sae_lib.pictures.reading import Readable, read

ENOUGH_CORES = 4
ENOUGH_FILES = 1000
MOST_WORKERS = 16
Outcome = tuple[Any, str | None]


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_for(pictures: Sequence[Readable]) -> int:
    """How many processes are worth their start for these pictures; 0: threads do."""
    if cores() < ENOUGH_CORES or len(pictures) < ENOUGH_FILES:
        return 0
    return min(cores(), MOST_WORKERS) if all(isinstance(picture, Path) for picture in pictures) else 0


def in_threads(pictures: Iterable[Readable], transform: Callable | None) -> Iterator[Outcome]:
    """What ``read`` gives for each picture, in order; an iterable is drawn from only a few pictures ahead."""
    workers = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque = deque()
        for picture in pictures:
            ahead.append(pool.submit(read, picture, transform))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def in_processes(pictures: Sequence[Readable], transform: Callable | None, workers: int) -> Iterator[Outcome]:
    """The same, from ``workers`` processes, which end with the iterator.

    Threads do it where processes cannot be forked safely (outside Linux, inside another worker), and do the rest where
    one is killed, most likely for want of memory.
    """
    import torch
    from torch.utils.data import DataLoader

    done = 0
    if pictures and sys.platform == "linux" and not multiprocessing.current_process().daemon:
        loader: DataLoader = DataLoader(
            _Files(pictures, transform),  # type: ignore[arg-type]  # torch takes anything with a length and items
            batch_size=None,
            collate_fn=_as_it_is,  # the usual one makes tensors of arrays and lists of tuples
            num_workers=min(workers, len(pictures)),
            prefetch_factor=4,
            multiprocessing_context="fork",
            generator=torch.Generator(),  # else it would draw from, and so move, the caller's random numbers
        )
        try:
            for value, reason, is_tensor in loader:
                yield (torch.from_numpy(value) if is_tensor else value), reason
                done += 1
        except (RuntimeError, OSError):
            pass
    yield from in_threads(pictures[done:], transform)


def _as_it_is(value: Any) -> Any:
    return value


class _Files:
    """Position to (value, reason, whether the value was a tensor)."""

    def __init__(self, pictures: Sequence[Readable], transform: Callable | None) -> None:
        self.pictures, self.transform = pictures, transform

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, position: int) -> tuple[Any, str | None, bool]:
        import torch

        value, reason = read(self.pictures[position], self.transform)
        # As an array it goes through a pipe. Tensors would go through /dev/shm, of which containers have 64 MB, and
        # each would hold a file open for as long as its receiver keeps it.
        if isinstance(value, torch.Tensor) and value.dtype is not torch.bfloat16:
            return value.detach().numpy(), reason, True
        return value, reason, False
