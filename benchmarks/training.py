"""One training step against dictionary_learning's, in the environment that holds both (``make .venv-parity``).

Run as a module there; prints its rows as JSON. Both take the same batches of the same size; parameters are their own
random ones, which no time depends on.
"""

import json
import sys
from collections.abc import Iterator

import torch
from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer

from benchmarks.timing import Row, side_by_side
from vlm_sae_lib.allocator import keep_freed_memory
from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.sae.learner import Learner

DIM, EXPANSION, BATCH, K = 1024, 8, 4096, 20
FRACTIONS = (0.0625, 0.125, 0.25, 0.5625)
WARM = 10
RUNS = 5


def trainer(kind: str, width: int):
    common = dict(steps=1000, activation_dim=DIM, dict_size=width, k=K, layer=0, lm_name="", device="cpu", lr=1e-4,
                  warmup_steps=1, threshold_start_step=2)  # fmt: skip
    if kind == "batch_top_k":
        return BatchTopKTrainer(**common)
    return MatryoshkaBatchTopKTrainer(**common, group_fractions=list(FRACTIONS))


def run() -> Iterator[Row]:
    keep_freed_memory()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2 * BATCH, DIM, generator=generator)
    batches = x.split(BATCH)
    for kind in ("matryoshka_batch_top_k", "batch_top_k"):
        for share in (0.0, 0.1):
            yield step(kind, share, batches)


def step(kind: str, dead_share: float, batches: tuple[torch.Tensor, ...]) -> Row:
    config = SaeConfig(kind=kind, expansion=EXPANSION, k=K, steps=1000, batch_size=BATCH, lr=1e-4)
    learner = Learner(config, batches[0], 1.0)
    width = learner.schedule.n_latents
    dead = torch.arange(width) < dead_share * width
    learner._count = lambda fired, samples: dead
    theirs = trainer(kind, width)
    count = iter(range(10**9))

    def their_step() -> None:
        i = next(count)
        theirs.num_tokens_since_fired = torch.where(dead, 10**9, 0)
        theirs.update(i, batches[i % 2])

    turn = iter(range(10**9))

    def our_step() -> None:
        learner.step(batches[next(turn) % 2])

    for _ in range(WARM):
        our_step()
    for _ in range(2):
        their_step()
    ours, other = side_by_side(our_step, their_step, runs=RUNS)
    at_work = f"{dead_share:.0%} of latents dead" if dead_share else "none dead"
    work = f"{kind}, d {DIM}, {width:,} latents, batch {BATCH:,}, K {K}, {at_work}"
    return Row("training", work, ours, "dictionary_learning", other, 10)


if __name__ == "__main__":
    json.dump([row.__dict__ for row in run()], sys.stdout)
