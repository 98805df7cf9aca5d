"""The paper's full grid as amounts, and how long it takes on how many workers: `cluster/grid.sh`, stage by stage.

Amounts are counted (pictures, bytes, operations); rates are a machine's of ``machines.py``, and what Ray adds is
measured (``python -m benchmarks.cluster``). The time is what the simulation of ``scaling.py`` says.
"""

from dataclasses import dataclass, replace

from vlm_sae_lib.plan.machines import Machine
from vlm_sae_lib.plan.models import MULTIPLY_ADD, ModelCost, tower_cost
from vlm_sae_lib.plan.pictures import counted
from vlm_sae_lib.plan.scaling import Rates, seconds
from vlm_sae_lib.plan.work import DENSE_PRODUCTS, SINGLE
from vlm_sae_lib.profiles import load_profile

PICTURES_PER_SHARD, PICTURES_PER_SUM = 1024, 16_384
PICTURE_BYTES = 110_000
"""A picture of ImageNet, on average: 138 GiB of 1.28 million."""
SHARED_BYTES = 2e9
"""Bytes per second of the disks that all machines share; a file server's, not measured."""
WIDTHS, OTHER_KS = (1, 2, 4, 8, 16, 64), (1, 10, 50)
"""Expansion factors at K 20, of two kinds each; and K at an expansion factor of 1, of one kind
(``cluster/grid.yaml``)."""
KINDS, K, STEPS, BATCH = 2, 20, 100_000, 4096
COLLECTED, TRAINED, SCORED = "activations and embeddings", "autoencoders", "scores"
LAION = 10**9


@dataclass(frozen=True)
class Worker:
    """What a worker can do, per second: a GPU with its share of a machine's cores, or one core."""

    title: str
    tower_flops: float
    train_flops: float
    picture_seconds: float
    """A picture read, decoded and resized, by all cores that belong to the worker."""
    step_seconds: float
    start_seconds: float = 20.0
    """Until a worker has loaded its libraries and its model."""


def gpu_of(machine: Machine) -> Worker:
    reading = machine.picture_seconds / machine.cores
    return Worker(machine.title, machine.tower_flops, machine.train_flops, reading, machine.step_seconds)


def core_of(machine: Machine) -> Worker:
    cores = machine.cores
    return Worker(f"a core of {machine.title}", machine.tower_flops / cores, machine.train_flops / cores,
                  machine.picture_seconds, machine.step_seconds)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """A call of a stage in ``grid.sh``: its parts, and the seconds and bytes of one."""

    stage: str
    what: str
    parts: tuple[float, ...]
    """Seconds of each part on one worker, where they differ; else one number."""
    number: int
    part_bytes: float
    flop: float
    stored: float
    """Bytes that stay."""


def steps(
    worker: Worker, pictures: int | None = None, per_shard: int = PICTURES_PER_SHARD, crossed: bool = False
) -> list[Step]:
    """All calls of the grid, in order; ``crossed``: with every K at every width, of both kinds."""
    profile = load_profile("paper")
    n = pictures or counted(profile.train_pictures).number
    scorer, tower = tower_cost(profile.scoring_towers[0][1]), tower_cost(profile.tower)
    found = [_collected("embeddings", n, scorer.tower_flop, scorer.projection_dim, worker, per_shard)]
    assert isinstance(tower, ModelCost)  # the pocket's is no part of the paper's grid
    depth = tower.vision.num_hidden_layers
    for point in profile.hook_points:
        blocks = depth if point == "projection" else int(point.removeprefix("block_")) + 1
        width = tower.width(point)
        found.append(_collected(point, n, tower.tower_flop * blocks / depth, width, worker, per_shard))
        saes = [int(expansion * width) for expansion in WIDTHS for _ in range(KINDS)]
        saes = (1 + len(OTHER_KS)) * saes if crossed else [*saes, *(len(OTHER_KS) * [width])]
        found.append(_trained(point, width, saes, worker))
        found += [_scored(point, n, width, latents, scorer.projection_dim, worker) for latents in saes]
    return found


def _collected(name: str, n: int, flop: float, width: int, worker: Worker, per_shard: int) -> Step:
    parts, each = -(-n // per_shard), min(n, per_shard)
    busy = max(flop / worker.tower_flops, worker.picture_seconds)  # a GPU computes while its cores decode
    if worker.tower_flops < 1e12:
        busy = flop / worker.tower_flops + worker.picture_seconds
    moved = each * (PICTURE_BYTES + width * SINGLE)
    return Step(COLLECTED, name, (each * busy,), parts, moved, n * flop, n * width * SINGLE)


def _trained(point: str, width: int, saes: list[int], worker: Worker) -> Step:
    flops = [STEPS * DENSE_PRODUCTS * MULTIPLY_ADD * BATCH * width * latents for latents in saes]
    times = tuple(flop / worker.train_flops + STEPS * worker.step_seconds for flop in flops)
    stored = sum(2 * width * latents * SINGLE for latents in saes)
    return Step(TRAINED, point, times, len(times), STEPS * BATCH * width * SINGLE, sum(flops), stored)


def _scored(point: str, n: int, width: int, latents: int, embedding: int, worker: Worker) -> Step:
    flop = MULTIPLY_ADD * (width * latents + K * embedding)
    parts, each = -(-n // PICTURES_PER_SUM), min(n, PICTURES_PER_SUM)
    moved = each * (width + embedding) * SINGLE
    return Step(SCORED, point, (each * flop / worker.train_flops,), parts, moved, n * flop, 12 * latents)


def hours(step: Step, workers: int, worker: Worker, ray: Rates) -> float:
    """A call's time on so many workers, start-up included; ``ray`` has what Ray adds to each part."""
    rates = replace(ray, part_bytes=step.part_bytes, shared_bytes_per_second=SHARED_BYTES)
    if len(step.parts) == 1:
        return (worker.start_seconds + seconds(step.number, workers, replace(rates, part=step.parts[0]))) / 3600
    return (worker.start_seconds + _longest_first(step.parts, workers)) / 3600


def _longest_first(parts: tuple[float, ...], workers: int) -> float:
    """The end of the last of some long parts of different length, each given to whoever is free first."""
    busy = [0.0] * workers
    for part in sorted(parts, reverse=True):
        busy[busy.index(min(busy))] += part
    return max(busy)


def grid_hours(workers: int, worker: Worker, ray: Rates, *, crossed: bool = False) -> dict[str, float]:
    """The whole grid's time by stage, as ``grid.sh`` has it: collected one after the other, trained and scored for all
    hook points at once."""
    found = {COLLECTED: 0.0, TRAINED: 0.0, SCORED: 0.0}
    all_steps, alone = steps(worker, crossed=crossed), replace(worker, start_seconds=0.0)
    scored = [step for step in all_steps if step.stage == SCORED]
    trained = [part for step in all_steps if step.stage == TRAINED for part in step.parts]
    found[COLLECTED] = sum(hours(step, workers, worker, ray) for step in all_steps if step.stage == COLLECTED)
    found[TRAINED] = (worker.start_seconds + _longest_first(tuple(trained), workers)) / 3600
    starts = len(scored) / sum(step.stage == TRAINED for step in all_steps) * worker.start_seconds / 3600
    found[SCORED] = starts + sum(hours(step, workers, alone, ray) for step in scored)
    return found
