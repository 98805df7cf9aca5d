"""Directives of the page on many machines: the paper's grid counted and simulated, and what was measured of Ray.

``{scaling} amounts``, ``{scaling} hours``, ``{scaling} limits``, ``{scaling} billion`` are tables worked out while the
book is built; ``{scaling} measured`` and ``{scaling} overhead`` show the newest ``benchmarks/results/cluster-….json``.
"""

import json
from collections.abc import Callable
from typing import Any

from benchmark_page import newest_file
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from vlm_sae_lib import paths
from vlm_sae_lib.plan.grid import (
    COLLECTED,
    LAION,
    PICTURES_PER_SHARD,
    SCORED,
    SHARED_BYTES,
    TRAINED,
    Step,
    core_of,
    gpu_of,
    grid_hours,
    hours,
    steps,
)
from vlm_sae_lib.plan.machines import machine
from vlm_sae_lib.plan.scaling import Rates, most_workers
from vlm_sae_lib.plan.table import operations

GPU, CORE = gpu_of(machine("a100")), core_of(machine("two_cores"))
STAGES = (COLLECTED, TRAINED, SCORED)
PER_LARGE_SHARD = 100_000
WANTED_NEAR, WANTED_SHARE = 0.15, 1 / 1.15
"""How near a prediction is to lie, and the share of the local throughput that Ray is to keep."""


class Scaling(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        if self.arguments[0] not in SHOWN:
            raise self.error(f"{self.arguments[0]!r} is none of {', '.join(SHOWN)}.")
        found = newest_file(paths.root() / "benchmarks" / "results", "cluster-")
        if found is None:
            raise self.error("There are no results of Ray: make them by `python -m benchmarks.cluster`.")
        self.env.note_dependency(str(found))
        lines = SHOWN[self.arguments[0]](found.stem, json.loads(found.read_text(encoding="utf-8")))
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=False)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = [head, ("---",) + ("---:",) * (len(head) - 1), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def of_ray(found: dict[str, Any]) -> Rates:
    """What Ray adds to a part, as measured of the collection's pipeline."""
    rates = found["rates"]["collection"]
    return Rates(0.0, hand_over=rates["hand_over"], enter=rates["enter"])


def amounts(date: str, found: dict[str, Any]) -> list[str]:
    rows = []
    for stage in STAGES:
        for crossed in (False, True) if stage != COLLECTED else (False,):
            some = [step for step in steps(GPU, crossed=crossed) if step.stage == stage]
            parts = sum(step.number for step in some)
            moved = sum(step.number * step.part_bytes for step in some)
            name = f"{stage}, every K at every width" if crossed else stage
            flop = operations(sum(step.flop for step in some)).removesuffix(" operations")
            rows.append((name, str(len(some)), f"{parts:,}", flop, size(moved), size(sum(s.stored for s in some))))
    return table(("stage", "calls", "parts", "operations", "read and written", "kept"), rows)


def all_hours(date: str, found: dict[str, Any]) -> list[str]:
    ray, rows = of_ray(found), []
    for workers, worker, crossed in ((1, GPU, False), (8, GPU, False), (64, GPU, False), (64, GPU, True),
                                     (1000, CORE, False)):  # fmt: skip
        taken = grid_hours(workers, worker, ray, crossed=crossed)
        title = f"{workers:,} × {worker.title.removeprefix('one ')}" + (", every K at every width" if crossed else "")
        cells = [span(taken[stage]) for stage in STAGES]
        rows.append((title, *cells, span(sum(taken.values())), f"{workers * sum(taken.values()):,.0f}"))
    return table(("workers", *STAGES, "together", "hours of a worker"), rows)


def limits(date: str, found: dict[str, Any]) -> list[str]:
    ray, rows = of_ray(found), []
    for worker in (GPU, CORE):
        step = steps(worker)[1]
        rates = Rates(step.parts[0], ray.hand_over, ray.enter, step.part_bytes, SHARED_BYTES)
        most = most_workers(step.number, rates)
        part = f"{step.parts[0]:.1f} s" if step.parts[0] < 600 else span(step.parts[0] / 3600)
        pace = "the number of parts" if most >= step.number else slowest(step, ray)
        rows.append((f"activations at one hook point, {worker.title}", part, f"{min(most, step.number):,}", pace))
        longest = max(steps(worker)[2].parts) / 3600
        number = sum(one.number for one in steps(worker) if one.stage == TRAINED)
        rows.append((f"autoencoders at all hook points, {worker.title}", f"up to {span(longest)}", f"{number:,}",
                     "the widest autoencoder, which is one worker's"))  # fmt: skip
    return table(("stage", "a part", "workers that it keeps half busy", "then the pace is set by"), rows)


def slowest(step: Step, ray: Rates) -> str:
    return "the shared disks" if step.part_bytes / SHARED_BYTES > ray.enter else "the process that was called"


def billion(date: str, found: dict[str, Any]) -> list[str]:
    ray, rows = of_ray(found), []
    for per_shard in (PICTURES_PER_SHARD, PER_LARGE_SHARD):
        step = steps(GPU, LAION, per_shard)[1]
        entered = step.number * 180 / 2 * step.number  # metadata of so many shards, written anew for each
        cells = [span(hours(step, workers, GPU, ray)) for workers in (8, 64, 512)]
        rows.append((f"{per_shard:,}", f"{step.number:,}", *cells, size(step.stored), size(entered)))
    head = ("pictures in a shard", "shards", "8 GPUs", "64", "512", "activations kept", "metadata written in all")
    return table(head, rows)


def measured(date: str, found: dict[str, Any]) -> list[str]:
    rows = []
    for name, by_workers in found["predicted"].items():
        for workers, predicted in by_workers.items():
            taken = found["measured"][name][workers]
            what = "the work itself" if workers == "2" else "sleeps of its length"
            rows.append((name, workers, what, f"{predicted:.1f} s", f"{taken:.1f} s", f"{taken / predicted - 1:+.0%}"))
    taken = found["measured"]
    apart = [abs(taken[name][w] / s - 1) for name, one in found["predicted"].items() for w, s in one.items()]
    near = sum(gap <= WANTED_NEAR for gap in apart)
    lines = table(("stage", "workers", "a part is", "predicted", "measured", "measured over predicted"), rows)
    return [*lines, "", f"Of {len(apart)} predictions {near} lie within fifteen percent."]


def overhead(date: str, found: dict[str, Any]) -> list[str]:
    machine, rates = found["machine"], found["rates"]["collection"]
    shares = {name: found["local"][name] / found["measured"][name]["2"] for name in found["local"]}
    ratios = [f"{name} {share:.2f} times" for name, share in shares.items()]
    missed = [name for name, share in shares.items() if share < WANTED_SHARE]
    verdict = f"missed for the {' and the '.join(missed)}" if missed else "reached"
    return [
        f"Taken on {date.removeprefix('cluster-')}, on {machine['cores']} cores with {machine['capability']}, with "
        f"{found['pictures']:,} pictures. With two workers the throughput after start-up is that of one process "
        f"without Ray that has both cores: {' and '.join(ratios)}; {WANTED_SHARE:.2f} was wanted, which is "
        f"{verdict}. Ray started in {found['start']['cluster']:.1f} s, "
        f"and both workers had loaded their model in {found['start']['workers']:.1f} s. Ray adds "
        f"{1000 * rates['hand_over']:.1f} ms to a part, and to enter one takes {1000 * rates['enter']:.1f} ms. "
        f"A worker's first part takes {rates['first']:.1f} s longer than a later one, since what all pictures share is "
        "drawn in it."
    ]


def size(number: float) -> str:
    for unit, power in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9)):
        if number >= power:
            return f"{number / power:.1f} {unit}"
    return f"{number / 1e6:.0f} MB"


def span(taken: float) -> str:
    """Hours in words."""
    if taken < 1:
        return f"{60 * taken:.0f} minutes"
    return f"{taken:.1f} hours" if taken < 48 else f"{taken / 24:.0f} days"


SHOWN: dict[str, Callable[[str, dict[str, Any]], list[str]]] = {
    "amounts": amounts, "hours": all_hours, "limits": limits, "billion": billion, "measured": measured,
    "overhead": overhead,
}  # fmt: skip


def setup(app: Sphinx) -> dict:
    app.add_directive("scaling", Scaling)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
