"""One training step against dictionary_learning's, in the environment that holds both (``make .venv-parity``).

Run as a module there; prints its rows as JSON. Both start from the same weights and take the same batches. Latents that
are to be dead have an encoder half as long, so that none is among the k·B largest and half of them are positive, as the
aux-k loss wants it. Memory is taken in a process of its own for each side: all that training
holds at its fullest beyond the data, from the parameters to what a step makes and frees.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import torch

from benchmarks import floors
from benchmarks.timing import Row, peak_gib, side_by_side
from vlm_sae_lib.machine.allocator import keep_freed_memory
from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.sae.training.learner import Learner

DIM, EXPANSION, BATCH, K = 1024, 8, 4096, 20
KINDS = {"matryoshka_batch_top_k": "Matryoshka", "batch_top_k": "BatchTopK"}
WARM = 10
RUNS = 5
STEPS_OF_PEAK = 3
"""Steps whose memory is watched: the first makes the optimiser's moments, the next ones find them there."""


def config(kind: str) -> SaeConfig:
    return SaeConfig(kind=kind, expansion=EXPANSION, k=K, steps=1000, batch_size=BATCH, lr=1e-4, dead_window=10**8)


def run() -> Iterator[Row]:
    keep_freed_memory()
    for kind in KINDS:
        for share in (0.0, 0.1):
            yield step(kind, share, batches())
    for kind in KINDS:
        ours, theirs = (in_a_fresh_process(kind, library) for library in ("ours", "theirs"))
        yield Row("training", f"{_size(kind)}, memory at its fullest", [ours], "dictionary_learning", [theirs], 2,
                  unit="GiB")  # fmt: skip


def batches() -> tuple[torch.Tensor, ...]:
    return torch.randn(2 * BATCH, DIM, generator=torch.Generator().manual_seed(0)).split(BATCH)


def _size(kind: str) -> str:
    return f"{KINDS[kind]}, d {DIM}, {EXPANSION * DIM:,} latents, batch {BATCH:,}, K {K}"


def step(kind: str, dead_share: float, parts: tuple[torch.Tensor, ...]) -> Row:
    ours, theirs = _our_steps(kind, dead_share, parts), _their_steps(kind, dead_share, parts)
    for _ in range(WARM):
        ours()
    for _ in range(2):
        theirs()
    mine, other = side_by_side(ours, theirs, runs=RUNS)
    settings = config(kind)
    latents = settings.n_latents(DIM)
    groups = len(settings.group_sizes(DIM))
    facts = floors.facts(floors.training_step(BATCH, DIM, latents, K, groups=groups, dead=int(dead_share * latents)))
    at_work = f"{dead_share:.0%} of latents dead" if dead_share else "none dead"
    return Row("training", f"{_size(kind)}, {at_work}", mine, "dictionary_learning", other, 10, facts=facts)


def _learner(kind: str, dead_share: float, first: torch.Tensor) -> tuple[Learner, torch.Tensor]:
    """Ours before its first step, and for how many samples each latent has been silent."""
    learner = Learner(config(kind), first, 1.0)
    dead = torch.arange(EXPANSION * DIM) < dead_share * EXPANSION * DIM
    with torch.no_grad():
        learner.weights.encoder[dead] /= 2
    return learner, torch.where(dead, 2 * learner.schedule.dead_window, 0)


def _our_steps(kind: str, dead_share: float, parts: tuple[torch.Tensor, ...]) -> Callable[[], None]:
    (learner, silent), count = _learner(kind, dead_share, parts[0]), iter(range(10**9))

    def once() -> None:
        learner.silent_for.copy_(silent)
        learner.step(parts[next(count) % 2])

    return once


def _their_steps(kind: str, dead_share: float, parts: tuple[torch.Tensor, ...]) -> Callable[[], None]:
    from benchmarks.peer import start_from, trainer

    theirs, count = trainer(config(kind), DIM), iter(range(10**9))
    learner, silent = _learner(kind, dead_share, parts[0])
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
    parts = batches()
    (_our_steps if library == "ours" else _their_steps)("batch_top_k", 0.0, tuple(p[:64] for p in parts))()  # code

    def work() -> None:
        once = (_our_steps if library == "ours" else _their_steps)(kind, 0.0, parts)
        for _ in range(STEPS_OF_PEAK):
            once()

    return peak_gib(work)


if __name__ == "__main__":
    if sys.argv[1:2] == ["peak"]:
        print(peak(*sys.argv[2:]))
    else:
        json.dump([row.__dict__ for row in run()], sys.stdout)
