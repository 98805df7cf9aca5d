"""How cost grows with pictures, latents, K and d, for the statistics and for training, over two decades each.

A line holds the times at five sizes, the exponent of a line through their logarithms, that of its last piece, and the
floor at each size. Training against pictures is one pass over them in batches of 1,024; the others are one step.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks import floors
from benchmarks.floors import Phase
from benchmarks.scoring import sparse_code, unit_rows
from benchmarks.timing import Row, timed
from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.sae.training.learner import Learner
from vlm_sae_lib.statistics.neurons import NeuronStatistics

BATCH = 1_024
CENTRE_OF_SCORE = {"pictures": 10_000, "latents": 8_192, "k": 16, "dim": 256}
CENTRE_OF_STEP = {"pictures": BATCH, "latents": 4_096, "k": 16, "dim": 256}
SIZES = {
    "pictures": (1_000, 3_000, 10_000, 30_000, 100_000),
    "latents": (1_000, 3_000, 10_000, 30_000, 100_000),
    "k": (1, 3, 10, 30, 100),
    "dim": (20, 64, 200, 640, 2_000),
}
SIZES_OF_STEP = SIZES | {"pictures": tuple(BATCH * n for n in (1, 3, 10, 30, 100)),
                         "latents": (256, 800, 2_560, 8_000, 25_600)}  # fmt: skip
NAMES = {"pictures": "pictures", "latents": "latents", "k": "K", "dim": "d"}
TRIES = 3


def run() -> Iterator[Row]:
    for axis in SIZES:
        yield line("statistics", axis, SIZES[axis], CENTRE_OF_SCORE, _statistics, _floor_of_statistics)
        yield line("training", axis, SIZES_OF_STEP[axis], CENTRE_OF_STEP, _training, _floor_of_training)


def line(
    what: str,
    axis: str,
    sizes: tuple[int, ...],
    centre: dict[str, int],
    prepare: Callable[..., Callable[[], object]],
    floor: Callable[..., list[Phase]],
) -> Row:
    """Times at ``sizes`` of one axis, all others at the centre."""
    times, phases = [], []
    for size in sizes:
        at = centre | {axis: size}
        once = prepare(**at)
        once()
        times.append(min(timed(once) for _ in range(TRIES)))
        phases.append(floors.facts(floor(**at))["work_phases"])
        del once
    exponent = float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
    last = float(np.log(times[-1] / times[-2]) / np.log(sizes[-1] / sizes[-2]))
    facts = {"what": what, "axis": NAMES[axis], "sizes": list(sizes), "seconds": times, "exponent": exponent,
             "exponent_at_the_end": last, "work_phases_by_size": phases}  # fmt: skip
    work = f"{what} against {NAMES[axis]}, {sizes[0]:,} to {sizes[-1]:,}: exponent {exponent:.2f}"
    return Row("growth", work, [times[-1]], facts=facts)


def _statistics(pictures: int, latents: int, k: int, dim: int) -> Callable[[], object]:
    code, unit, ids = sparse_code(pictures, latents, k), unit_rows(pictures, dim), np.arange(pictures)

    def once() -> None:
        statistics = NeuronStatistics(latents, dim)
        for start in range(0, pictures, 4_096):
            rows = slice(start, start + 4_096)
            statistics.update(code[rows], unit[rows], ids[rows])
        statistics.monosemanticity()

    return once


def _floor_of_statistics(pictures: int, latents: int, k: int, dim: int) -> list[Phase]:
    return floors.score(pictures, latents, dim, k, kept=True)


def _training(pictures: int, latents: int, k: int, dim: int) -> Callable[[], object]:
    x = torch.randn(BATCH, dim, generator=torch.Generator().manual_seed(0))
    settings = SaeConfig(kind="matryoshka_batch_top_k", expansion=(latents + 0.5) / dim, k=k, steps=10**6,
                         batch_size=BATCH, lr=1e-4, dead_window=10**9)  # fmt: skip
    learner = Learner(settings, x, 1.0)

    def once() -> None:
        for _ in range(pictures // BATCH):
            learner.step(x)

    return once


def _floor_of_training(pictures: int, latents: int, k: int, dim: int) -> list[Phase]:
    return (pictures // BATCH) * floors.training_step(BATCH, dim, latents, k, groups=4)
