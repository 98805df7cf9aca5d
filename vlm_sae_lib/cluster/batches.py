"""How many pictures a tower takes at once on a worker's GPU: as many as still make it quicker."""

import time

import torch

from vlm_sae_lib.machine.devices import out_of_memory
from vlm_sae_lib.pictures import PictureSource
from vlm_sae_lib.towers import Tower

FIRST, MOST = 64, 4096
GAIN = 1.05
"""A batch of twice the size is worth its memory if it takes so many times as many pictures in a second."""


def quickest_batch(tower: Tower, pictures: PictureSource, hook_point: str, tokens: str) -> int:
    """The batch size from which on twice as many pictures at once are hardly quicker, or find no memory.

    Every worker must take the same one: on a GPU the last bits of an activation depend on it.
    """
    if (first := next(iter(pictures), None)) is None:
        return FIRST  # collecting says that none can be read
    one = tower.preprocess(first[1])[None]
    size, rate = FIRST, 0.0
    while size <= MOST:
        now = _rate(tower, one.expand(size, *one.shape[1:]), (hook_point, tokens))
        if now <= GAIN * rate:
            break
        size, rate = 2 * size, now
    return max(FIRST, size // 2)


def _rate(tower: Tower, pixels: torch.Tensor, point: tuple[str, str]) -> float:
    """Pictures in a second, the first pass apart; none where the memory does not suffice."""
    try:
        tower.activations_at(pixels, [point])
        begun = time.perf_counter()
        tower.activations_at(pixels, [point])
        taken = time.perf_counter() - begun
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        torch.cuda.empty_cache()
        return 0.0
    return len(pixels) / taken
