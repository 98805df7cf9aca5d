"""Where the time of a piece of work goes: seconds by compiled loop and by product, as a table.

``python -m benchmarks.parts`` prints it for a training step (with none and with a tenth of the latents dead), for the
score at the paper's scale and for a steering sweep. ``benchmarks/README.md`` quotes such tables.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks import scoring, steering, training
from benchmarks.ceilings import measure
from vlm_sae_lib.machine import compiled
from vlm_sae_lib.machine.allocator import keep_freed_memory

RUNS = 5


@contextmanager
def watched(spent: Counter) -> Iterator[None]:
    """Count the seconds of every compiled loop, and of torch's products, while the block runs."""
    plain = compiled.in_threads
    holders = [m for m in list(sys.modules.values()) if getattr(m, "in_threads", None) is plain]

    def counted(loop: Callable, *arguments: Any, **options: Any) -> None:
        started = time.perf_counter()
        plain(loop, *arguments, **options)
        spent[loop.__name__] += time.perf_counter() - started

    for holder in holders:
        holder.in_threads = counted
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            yield
    finally:
        for holder in holders:
            holder.in_threads = plain
    for event in profile.key_averages():
        if event.self_cpu_time_total > 0:
            spent[event.key] += event.self_cpu_time_total / 1e6


def parts(work: Callable[[], Any], runs: int = RUNS) -> dict[str, float]:
    """Seconds of a run by part, largest first, with ``together``: its wall clock. The rest is Python and numpy."""
    work()
    spent, started = Counter(), time.perf_counter()
    with watched(spent):
        for _ in range(runs):
            work()
        together = time.perf_counter() - started
    return {name: seconds / runs for name, seconds in spent.most_common()} | {"together": together / runs}


def table(title: str, found: dict[str, float], least: float = 0.01) -> str:
    together = found["together"]
    rows = [f"| {name} | {1000 * took:.1f} |" for name, took in found.items() if took >= least * together]
    return "\n".join([title, "", "| part | ms |", "|:--|--:|", *rows, ""])


def main() -> None:
    keep_freed_memory()
    print(measure(), "\n")
    for kind, share in (("batch_top_k", 0.0), ("matryoshka_batch_top_k", 0.0), ("matryoshka_batch_top_k", 0.1)):
        step = training.our_steps(kind, share, training.VIT_L, training.VIT_L.batches())
        for _ in range(training.WARM):
            step()
        print(table(f"{kind}, {share:.0%} dead", parts(step)), flush=True)
    code = scoring.sparse_code(*(scoring.PAPER[name] for name in ("pictures", "latents", "k")))
    unit = scoring.unit_rows(scoring.PAPER["pictures"], scoring.PAPER["dim"])
    print(table("MS alone, paper's scale", parts(lambda: scoring.monosemanticity_score(code, unit))), flush=True)
    sweep, _, answers = steering.ways()
    print(table(f"a steering sweep, {answers:,} answers", parts(sweep, runs=1)))


if __name__ == "__main__":
    main()
