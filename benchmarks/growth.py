"""How cost grows with pictures, latents, K and d: times over two decades, and the slope of a line in their logs."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks.scoring import sparse_code, unit_rows
from benchmarks.timing import Row, timed
from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.sae.learner import Learner
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score


def run() -> Iterator[Row]:
    yield from _line("MS against pictures", (1_000, 3_000, 10_000, 30_000, 100_000), lambda n: _score(n, 8_192, 16))
    yield from _line("MS against latents", (1_000, 3_000, 10_000, 30_000, 100_000), lambda f: _score(10_000, f, 16))
    yield from _line("MS against K", (1, 3, 10, 30, 100), lambda k: _score(10_000, 8_192, k))
    yield from _line("a step against latents", (256, 1_024, 4_096, 16_384), lambda f: _step(256, f, 16))
    yield from _line("a step against d", (32, 128, 512, 2_048), lambda d: _step(d, 4_096, 16))
    yield from _line("a step against K", (1, 4, 16, 64), lambda k: _step(256, 4_096, k))


def _line(work: str, sizes: tuple[int, ...], prepare: Callable[[int], Callable[[], object]]) -> Iterator[Row]:
    times = []
    for size in sizes:
        once = prepare(size)
        once()
        times.append(min(timed(once) for _ in range(3)))
    exponent = float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
    last = float(np.log(times[-1] / times[-2]) / np.log(sizes[-1] / sizes[-2]))
    facts = {"sizes": list(sizes), "seconds": times, "exponent": exponent, "exponent_at_the_end": last}
    yield Row("growth", f"{work}, {sizes[0]:,} to {sizes[-1]:,}: exponent {exponent:.2f}", [times[-1]], facts=facts)


def _score(pictures: int, latents: int, k: int) -> Callable[[], object]:
    code, unit = sparse_code(pictures, latents, k), unit_rows(pictures, 256)
    return lambda: monosemanticity_score(code, unit)


def _step(dim: int, latents: int, k: int) -> Callable[[], object]:
    x = torch.randn(1024, dim, generator=torch.Generator().manual_seed(0))
    learner = Learner(SaeConfig(expansion=latents / dim, k=k, steps=10**6, batch_size=1024, lr=1e-4), x, 1.0)
    return lambda: learner.step(x)
