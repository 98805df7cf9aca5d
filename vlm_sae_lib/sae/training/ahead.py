"""Batches on the device that learns, for a GPU read a step ahead while it computes."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from jaxtyping import Float
from torch import Tensor

Key = tuple[int, int]
"""What decides the order of the data: seed and batch size."""


class Ahead:
    """``read(key, step)`` gives a batch, and raises where it cannot; ``steps`` is how many there are."""

    def __init__(self, read: Callable[[Key, int], Float[Tensor, "batch d"]], steps: int, device: torch.device) -> None:
        self.read, self.steps, self.device = read, steps, device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches") if device.type == "cuda" else None
        self._next: dict[Key, tuple[int, Future[Tensor]]] = {}

    def __call__(self, key: Key, step: int) -> Float[Tensor, "batch d"]:
        if self._thread is None:
            return self.read(key, step).to(self.device)
        begun, batch = self._next.pop(key, (None, None))
        if batch is None or begun != step:
            batch = self._thread.submit(self._pinned, key, step)
        if step + 1 < self.steps:
            self._next[key] = step + 1, self._thread.submit(self._pinned, key, step + 1)
        return batch.result().to(self.device, non_blocking=True)

    def _pinned(self, key: Key, step: int) -> Tensor:
        """In memory from which the GPU copies by itself."""
        batch = self.read(key, step)
        return batch.pin_memory() if torch.cuda.is_available() else batch

    def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
