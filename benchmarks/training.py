"""One training step against dictionary_learning's, in the environment that holds both (``make .venv-parity``).

Run as a module there; prints its rows as JSON. Both start from the same weights and take the same batches. Latents that
are to be dead have an encoder half as long, so that none is among the k·B largest and half of them are positive, as the
aux-k loss wants it. Memory is taken in a process of its own for each side: all that training
holds at its fullest beyond the data, from the parameters to what a step makes and frees.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks import floors
from benchmarks.instructions import AVX2, like_here
from benchmarks.timing import Row, peak_gib, side_by_side
from vlm_sae_lib.machine.allocator import keep_freed_memory
from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.sae.training.learner import Learner

K = 20
KINDS = {"matryoshka_batch_top_k": "Matryoshka", "batch_top_k": "BatchTopK"}
WANTED, WANTED_WITH_AVX2 = 10, 6
"""Times as quick, with eight bits summed in hardware and without."""
WARM = 10
RUNS = 5
STEPS_OF_PEAK = 3
"""Steps whose memory is watched: the first makes the optimiser's moments, the next ones find them there."""


@dataclass(frozen=True)
class Size:
    dim: int
    batch: int
    expansion: int = 8

    def __str__(self) -> str:
        return f"d {self.dim}, {self.latents:,} latents, batch {self.batch:,}, K {K}"

    @property
    def latents(self) -> int:
        return self.expansion * self.dim

    def batches(self, device: str = "cpu") -> tuple[torch.Tensor, ...]:
        rows = torch.randn(2 * self.batch, self.dim, generator=torch.Generator().manual_seed(0))
        return rows.to(device).split(self.batch)

    def config(self, kind: str) -> SaeConfig:
        return SaeConfig(
            kind=kind, expansion=self.expansion, k=K, steps=1000, batch_size=self.batch, lr=1e-4, dead_window=10**8
        )


VIT_L, SMALLER = Size(1024, 4096), Size(512, 2048)
"""Dimensions of a ViT-L; and smaller ones, where less of the time goes into the one dense product."""


def run() -> Iterator[Row]:
    keep_freed_memory()
    for size in (VIT_L, SMALLER):
        for kind in KINDS:
            for share in (0.0, 0.1):
                yield step(kind, share, size)
    for kind in KINDS:
        ours, theirs = (in_a_fresh_process(kind, library) for library in ("ours", "theirs"))
        yield Row("training", f"{KINDS[kind]}, {VIT_L}, memory at its fullest", [ours], "dictionary_learning", [theirs],
                  2, unit="GiB")  # fmt: skip


def step(kind: str, dead_share: float, size: Size) -> Row:
    parts = size.batches()
    ours, theirs = our_steps(kind, dead_share, size, parts), their_steps(kind, dead_share, size, parts)
    for _ in range(WARM):
        ours()
    for _ in range(2):
        theirs()
    mine, other = side_by_side(ours, theirs, runs=RUNS)
    wanted = WANTED_WITH_AVX2 if like_here() == AVX2 else WANTED if size == VIT_L else None
    return Row("training", work(kind, dead_share, size), mine, "dictionary_learning", other, wanted,
               facts=floor_of(kind, dead_share, size))  # fmt: skip


def work(kind: str, dead_share: float, size: Size) -> str:
    return f"{KINDS[kind]}, {size}, " + (f"{dead_share:.0%} of latents dead" if dead_share else "none dead")


def floor_of(kind: str, dead_share: float, size: Size) -> dict[str, Any]:
    settings = size.config(kind)
    groups, dead = len(settings.group_sizes(size.dim)), int(dead_share * size.latents)
    return floors.facts(floors.training_step(size.batch, size.dim, size.latents, K, groups=groups, dead=dead))


def _learner(kind: str, dead_share: float, size: Size, first: torch.Tensor) -> tuple[Learner, torch.Tensor]:
    """Ours before its first step, and for how many samples each latent has been silent."""
    learner = Learner(size.config(kind), first, 1.0)
    dead = torch.arange(size.latents, device=first.device) < dead_share * size.latents
    with torch.no_grad():
        learner.weights.encoder[dead] /= 2
    return learner, torch.where(dead, 2 * learner.schedule.dead_window, 0)


def our_steps(kind: str, dead_share: float, size: Size, parts: Sequence[torch.Tensor]) -> Callable[[], None]:
    (learner, silent), count = _learner(kind, dead_share, size, parts[0]), iter(range(10**9))

    def once() -> None:
        learner.silence.restore(silent)
        learner.step(parts[next(count) % 2])

    return once


def their_steps(kind: str, dead_share: float, size: Size, parts: Sequence[torch.Tensor]) -> Callable[[], None]:
    from benchmarks.peer import start_from, trainer

    theirs, count = trainer(size.config(kind), size.dim, str(parts[0].device)), iter(range(10**9))
    learner, silent = _learner(kind, dead_share, size, parts[0])
    start_from(theirs, learner.weights)

    def once() -> None:
        i = next(count)
        theirs.num_tokens_since_fired = silent.clone()
        theirs.update(i, parts[i % 2])

    return once


def in_a_fresh_process(kind: str, library: str) -> float:
    """GiB of training by one library: in this process, memory kept from earlier work would hide it."""
    command = [sys.executable, "-m", "benchmarks.training", "peak", kind, library]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def peak(kind: str, library: str) -> float:
    steps, parts = our_steps if library == "ours" else their_steps, VIT_L.batches()
    steps("batch_top_k", 0.0, Size(VIT_L.dim, 64), [part[:64] for part in parts])()  # code

    def work() -> None:
        once = steps(kind, 0.0, VIT_L, parts)
        for _ in range(STEPS_OF_PEAK):
            once()

    return peak_gib(work)


if __name__ == "__main__":
    if sys.argv[1:2] == ["peak"]:
        print(peak(*sys.argv[2:]))
    else:
        json.dump([row.__dict__ for row in run()], sys.stdout)
