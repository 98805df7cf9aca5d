"""``python -m benchmarks.cluster``: what Ray costs, and whether the simulation of the pipeline says how stages scale.

In this order, so that nothing is predicted that is known: the rates of one worker; from them alone, written to the
file, the times of two, four and eight; then the runs. Two workers do the work itself, on two cores. Four and eight are
more than the machine has cores: in their parts sleeps of the measured length stand for the work. The file is
``results/cluster-<date>.json``. What it takes until all workers are ready is told apart.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vlm_sae_lib.activations import ActivationStore, collect_activations
from vlm_sae_lib.activations.collect import request
from vlm_sae_lib.activations.parts import Assembly, Span, computed, lay_down
from vlm_sae_lib.activations.store import METADATA
from vlm_sae_lib.cluster import counting
from vlm_sae_lib.cluster.collecting import Collector, collect, pipeline
from vlm_sae_lib.cluster.connection import connected
from vlm_sae_lib.files import folder_hash, write_json
from vlm_sae_lib.pictures import load_pictures
from vlm_sae_lib.plan.scaling import Rates, seconds
from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.sae.training import train_sae
from vlm_sae_lib.statistics.gather import gather_statistics
from vlm_sae_lib.towers import load_tower

HERE = Path(__file__).parent
TOWER, POINT, PER_SHARD = "pocket", "block_5", 1024
PER_PART = 4096
"""Pictures in a part of the statistics."""
TRIED = 6
"""Parts behind a rate."""
SLEPT_PARTS = 48
SAE = SaeConfig(expansion=32, k=20, steps=200, batch_size=1024)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--pictures", type=int, default=100_000)
    pictures = f"{TOWER}:{parser.parse_args().pictures}:7"
    path = HERE / "results" / f"cluster-{date.today().isoformat()}.json"
    found: dict[str, Any] = {"schema": 1, "machine": machine(), "pictures": len(load_pictures(pictures))}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as scratch:
        _measure(pictures, Path(scratch), found, lambda: write_json(path, found))
    print(path)
    return 0


def machine() -> dict[str, Any]:
    return {
        "cores": len(os.sched_getaffinity(0)), "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }  # fmt: skip


def _measure(pictures: str, scratch: Path, found: dict[str, Any], write: Callable[[], None]) -> None:
    say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    collecting = rates_of_collecting(pictures, scratch)
    parts = -(-found["pictures"] // PER_SHARD)
    say(f"collection, one worker: {asdict(collecting)}")
    tower = load_tower(TOWER, device="cpu")
    begun = time.perf_counter()
    here = collect_activations(tower, load_pictures(pictures), POINT, scratch / "here")
    local = {"collection": time.perf_counter() - begun}
    sae = train_sae(here, SAE, device="cpu")
    gather_statistics(_first(here), _first(here), sae)  # compiled before it is timed
    begun = time.perf_counter()
    counted = gather_statistics(here, here, sae)  # a scoring encoder's embeddings are no other work than these
    local["statistics"] = time.perf_counter() - begun
    statistics = rates_of_counting(here, sae)
    say(f"here: {local}; statistics, one worker: {asdict(statistics)}")
    with connected(num_cpus=1) as ray:
        _warm(ray, 1)
        collecting = replace(collecting, hand_over=_of_nothing(lambda n: _slept(n, 1, Rates(0.0))))
        statistics = replace(statistics, hand_over=_of_nothing(lambda n: _slept_tasks(ray, n, Rates(0.0))))
    rates = {"collection": (parts, collecting), "statistics": (-(-found["pictures"] // PER_PART), statistics)}
    found["rates"] = {
        name: {"parts": n, "part": rate.part, "hand_over": rate.hand_over, "enter": rate.enter}
        for name, (n, rate) in rates.items()
    }
    found["local"] = local
    found["predicted"] = {
        name: {"2": seconds(n, 2, rate)} | {str(w): seconds(SLEPT_PARTS, w, rate) for w in (4, 8)}
        for name, (n, rate) in rates.items()
    }
    write()
    say(f"predicted: {found['predicted']}")
    found["measured"] = {"collection": {}, "statistics": {}}
    found["start"] = {}
    begun = time.perf_counter()
    with connected(num_cpus=2) as ray:
        list(pipeline([{"first": 0, "last": 0}], Sleeper, {"part": 0.0, "ready": str(scratch / "one"), "workers": 1}))
        found["start"]["cluster"] = time.perf_counter() - begun
        begun = time.time()
        both = type("Both", (Together,), {"ready": str(scratch / "two"), "workers": 2})
        there = collect(TOWER, pictures, POINT, scratch / "there", device="cpu", workers=2, worker=both)
        ready = _ready(scratch / "two")
        found["start"]["workers"] = ready - begun
        found["measured"]["collection"]["2"] = time.time() - ready
        assert folder_hash(there.path) == folder_hash(here.path)
        _warm(ray, 2)
        counting.gather(here, here, sae, pictures=PER_PART)  # workers that have loaded all they need
        begun = time.perf_counter()
        again = counting.gather(here, here, sae, pictures=PER_PART)
        found["measured"]["statistics"]["2"] = time.perf_counter() - begun
        np.testing.assert_array_equal(again.statistics.top_images(), counted.statistics.top_images())
    write()
    for workers in (4, 8):
        with connected(num_cpus=workers) as ray:
            found["measured"]["collection"][str(workers)] = _slept(SLEPT_PARTS, workers, collecting)
            _warm(ray, workers)
            found["measured"]["statistics"][str(workers)] = _slept_tasks(ray, SLEPT_PARTS, statistics)
        write()
    for name in rates:
        for workers, predicted in found["predicted"][name].items():
            say(f"{name}, {workers} workers: {predicted:.1f} s predicted, {found['measured'][name][workers]:.1f} s")
        say(f"{name}: Ray with two workers has {local[name] / found['measured'][name]['2']:.2f} × the local throughput")


def rates_of_collecting(pictures: str, scratch: Path) -> Rates:
    """From some parts, spread over all, in one thread as a worker has."""
    source, tower = load_pictures(pictures), load_tower(TOWER, device="cpu")
    fresh = request(tower, source, POINT, "cls", pictures_per_shard=PER_SHARD)
    out = scratch / "rates"
    write_json(out / METADATA, fresh)
    assembly = Assembly.begin(out, fresh, source)
    tried = [assembly.lacking[i] for i in np.linspace(0, len(assembly.lacking) - 2, TRIED + 1).astype(int)]
    threads, took = torch.get_num_threads(), []
    torch.set_num_threads(1)
    for span in tried:
        begun = time.perf_counter()
        tensors, unreadable = computed(tower, source, fresh, span, workers=0)
        laid = lay_down(out, fresh["id"], tensors, unreadable)
        took.append(time.perf_counter() - begun)
    torch.set_num_threads(threads)
    begun = time.perf_counter()
    assembly.enter(tried[0], laid)
    return Rates(float(np.mean(took[1:] or took)), enter=time.perf_counter() - begun)


def _first(store: ActivationStore) -> Any:
    return counting._Between(store, 0, PER_PART - 1)


def rates_of_counting(here: ActivationStore, sae: Any) -> Rates:
    """The same of the statistics; what a merge takes is what the calling process does."""
    threads, took, parts = torch.get_num_threads(), [], []
    torch.set_num_threads(1)
    for at in range(min(TRIED + 1, len(here) // PER_PART)):
        begun = time.perf_counter()
        between = at * PER_PART, (at + 1) * PER_PART - 1
        parts.append(counting._counted(str(here.path), str(here.path), sae, *between, 16, False))
        took.append(time.perf_counter() - begun)
    torch.set_num_threads(threads)
    counting._merged(*parts[: counting.BRANCHES])
    begun = time.perf_counter()
    counting._merged(*parts[: counting.BRANCHES])
    return Rates(float(np.mean(took[1:] or took)), enter=(time.perf_counter() - begun) / counting.BRANCHES)


class Together(Collector):
    """A worker that begins when all are ready."""

    ready: str
    workers: int

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        _wait_for_all(Path(self.ready), self.workers)


class Sleeper:
    """A worker that sleeps as long as a part takes, and begins when all are ready."""

    def __init__(self, part: float, ready: str, workers: int):
        self.part = part
        _wait_for_all(Path(ready), workers)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        time.sleep(self.part)
        return row


def _wait_for_all(folder: Path, workers: int, name: str = "") -> None:
    folder.mkdir(exist_ok=True)
    (folder / (name or str(os.getpid()))).write_text(str(time.time()))
    while len(list(folder.iterdir())) < workers:
        time.sleep(0.01)


def _ready(folder: Path) -> float:
    """When the last worker was."""
    return max(float(path.read_text()) for path in folder.iterdir())


def _of_nothing(run: Callable[[int], float], few: int = 8, many: int = 72) -> float:
    """Seconds a part, of parts in which nothing is done: start and end of a run count in none."""
    run(few)
    return max(0.0, (run(many) - run(few)) / (many - few))


def _slept(parts: int, workers: int, rates: Rates) -> float:
    """Seconds for parts in which a worker sleeps, and this process for each, from when all are ready."""
    rows = [asdict(Span(i, i)) for i in range(parts)]
    with tempfile.TemporaryDirectory() as ready:
        arguments = {"part": rates.part, "ready": ready, "workers": workers}
        for _ in pipeline(rows, Sleeper, arguments, workers=workers):
            time.sleep(rates.enter)
        return time.time() - _ready(Path(ready))


def _warm(ray: Any, workers: int) -> None:
    """As many processes as there are workers, each with this module loaded."""
    with tempfile.TemporaryDirectory() as ready:
        task = ray.remote(_wait_for_all)
        ray.get([task.remote(Path(ready), workers, str(number)) for number in range(workers)])


def _sleep(part: float) -> None:
    time.sleep(part)


def _slept_tasks(ray: Any, parts: int, rates: Rates) -> float:
    task = ray.remote(_sleep)
    begun = time.perf_counter()
    waiting = [task.remote(rates.part) for _ in range(parts)]
    while waiting:
        done, waiting = ray.wait(waiting)
        time.sleep(rates.enter * len(done))
    return time.perf_counter() - begun


if __name__ == "__main__":
    raise SystemExit(main())
