"""``python -m benchmarks.cluster``: what Ray costs, and whether the simulation of the pipeline says how stages scale.

In this order, so that nothing is predicted that is known: the rates of one worker of Ray's; from them alone, written
to the file, the times of two, four and eight; then the runs. Two workers do the work itself, on two cores, which share
memory, cache and clock: so the one worker is timed while a process that knows nothing of Ray keeps the other core as
busy. Four and eight are more than the machine has cores: in their parts sleeps of the measured length stand for the
work. The file is ``results/cluster-<date>.json``. What it takes until all workers are ready is told apart.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vlm_sae_lib.activations import ActivationStore, collect_activations
from vlm_sae_lib.activations.collect import request
from vlm_sae_lib.activations.parts import Assembly, Laid, Span
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
TRIED = 8
"""Parts behind the rate of collecting, spread over all."""
REPEATS = 5
"""Of the statistics, which take seconds: the median counts."""
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
    here, sae, local, counted = _locally(pictures, scratch)
    per_part = counting.pictures_per_part(len(here), 2)
    say(f"here: {local}")
    with connected(num_cpus=1) as ray, neighbour():
        rates = {"collection": rates_of_collecting(pictures, scratch),
                 "statistics": rates_of_counting(ray, here, sae, per_part)}  # fmt: skip
    parts = {"collection": -(-len(here) // PER_SHARD), "statistics": -(-len(here) // per_part)}
    found["local"] = local
    found["rates"] = {
        name: {"parts": parts[name], "part": rate.part, "first": rate.first, "hand_over": rate.hand_over,
               "enter": rate.enter}
        for name, rate in rates.items()
    }
    found["predicted"] = {
        name: {"2": seconds(parts[name], 2, rate)} | {str(w): seconds(SLEPT_PARTS, w, rate) for w in (4, 8)}
        for name, rate in rates.items()
    }
    write()
    say(f"one worker: {found['rates']}")
    say(f"predicted: {found['predicted']}")
    found["measured"] = {"collection": {}, "statistics": {}}
    found["start"] = {}
    begun = time.perf_counter()
    with connected(num_cpus=2) as ray:
        list(pipeline([{"first": 0, "last": 0}], Sleeper,
                      {"part": 0.0, "first": 0.0, "ready": str(scratch / "one"), "workers": 1}))
        found["start"]["cluster"] = time.perf_counter() - begun
        begun = time.time()
        there = collect(TOWER, pictures, POINT, scratch / "there", device="cpu", workers=2,
                        worker=together(scratch / "two", 2))  # fmt: skip
        ready = _ready(scratch / "two")
        found["start"]["workers"] = ready - begun
        found["measured"]["collection"]["2"] = time.time() - ready
        assert folder_hash(there.path) == folder_hash(here.path)
        _warm(ray, 2)
        taken, again = repeated(lambda: counting.gather(here, here, sae, pictures=per_part))
        found["measured"]["statistics"]["2"] = taken
        np.testing.assert_array_equal(again.statistics.top_images(), counted.statistics.top_images())
    write()
    for workers in (4, 8):
        with connected(num_cpus=workers) as ray:
            found["measured"]["collection"][str(workers)] = _slept(SLEPT_PARTS, workers, rates["collection"])
            _warm(ray, workers)
            found["measured"]["statistics"][str(workers)] = _slept_tasks(ray, SLEPT_PARTS, rates["statistics"])
        write()
    for name in rates:
        for workers, predicted in found["predicted"][name].items():
            say(f"{name}, {workers} workers: {predicted:.1f} s predicted, {found['measured'][name][workers]:.1f} s")
        say(f"{name}: Ray with two workers has {local[name] / found['measured'][name]['2']:.2f} × the local throughput")


def _locally(pictures: str, scratch: Path) -> tuple[ActivationStore, Any, dict[str, float], Any]:
    """Both stages without Ray, in one process that has both cores: their store, SAE, seconds and statistics."""
    tower = load_tower(TOWER, device="cpu")
    begun = time.perf_counter()
    here = collect_activations(tower, load_pictures(pictures), POINT, scratch / "here")
    collected = time.perf_counter() - begun
    sae = train_sae(here, SAE, device="cpu")
    taken, counted = repeated(lambda: gather_statistics(here, here, sae))  # an encoder's embeddings are no other work
    return here, sae, {"collection": collected, "statistics": taken}, counted


def repeated(run: Callable[[], Any]) -> tuple[float, Any]:
    """The median of the seconds that it takes, once all that it needs is loaded and compiled, and what it gives."""
    found, taken = run(), []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        found = run()
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken)), found


@contextmanager
def neighbour() -> Iterator[None]:
    """A process that keeps one core busy with collecting."""
    command = [sys.executable, "-c", "from benchmarks.cluster import collect_on; collect_on()"]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    with subprocess.Popen(command, cwd=HERE.parent, env=one_thread) as busy:
        try:
            yield
        finally:
            busy.kill()


def collect_on() -> None:
    """Collect some pictures again and again."""
    tower, pictures = load_tower(TOWER, device="cpu"), load_pictures(f"{TOWER}:{4 * PER_SHARD}:8")
    while True:
        with tempfile.TemporaryDirectory() as scratch:
            collect_activations(tower, pictures, POINT, Path(scratch) / "store")


def rates_of_collecting(pictures: str, scratch: Path) -> Rates:
    """Of one worker: some parts, spread over all, and by how much the first, in which habitats and bodies are drawn for
    all later ones, takes longer."""
    source, tower = load_pictures(pictures), load_tower(TOWER, device="cpu")
    fresh, out = request(tower, source, POINT, "cls", pictures_per_shard=PER_SHARD), scratch / "rates"
    write_json(out / METADATA, fresh)
    assembly = Assembly.begin(out, fresh, source)
    tried = [assembly.lacking[i] for i in np.linspace(0, len(assembly.lacking) - 2, TRIED + 1).astype(int)]
    arguments = {"tower": TOWER, "pictures": pictures, "device": "cpu", "out": str(out), "metadata": fresh,
                 "batch_size": 64, "decoders": 0}  # fmt: skip
    ended, rows, ready = [], [], scratch / "one_ready"
    for row in pipeline([asdict(span) for span in tried], together(ready, 1), arguments):
        ended.append(time.time())
        rows.append(row)
    begun = time.perf_counter()
    assembly.enter(Span(rows[0]["first"], rows[0]["last"]), Laid(**rows[0]["laid"]))
    enter = time.perf_counter() - begun
    hand_over = _of_nothing(lambda n: _slept(n, 1, Rates(0.0)))
    each = (ended[-1] - ended[0]) / TRIED
    first = max(0.0, ended[0] - _ready(ready) - each)
    return Rates(max(0.0, each - hand_over), hand_over, enter, first=first)


def rates_of_counting(ray: Any, here: ActivationStore, sae: Any, per_part: int) -> Rates:
    """Of one worker: all of the statistics; what a merge takes is what the calling process does."""
    taken, _ = repeated(lambda: counting.gather(here, here, sae, pictures=per_part))
    _warm(ray, 1)
    hand_over = _of_nothing(lambda n: _slept_tasks(ray, n, Rates(0.0)))
    some = [counting._counted(str(here.path), str(here.path), sae, at * per_part, (at + 1) * per_part - 1, 16, False)
            for at in range(counting.BRANCHES)]  # fmt: skip
    counting._merged(*some)
    begun = time.perf_counter()
    counting._merged(*some)
    enter = (time.perf_counter() - begun) / counting.BRANCHES
    parts = -(-len(here) // per_part)
    return Rates(max(0.0, taken / parts - hand_over), hand_over=hand_over, enter=enter)


class Together(Collector):
    """A worker that begins when all are ready."""

    ready: str
    workers: int

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        _wait_for_all(Path(self.ready), self.workers)


def together(ready: Path, workers: int) -> type[Together]:
    return type("Both", (Together,), {"ready": str(ready), "workers": workers})


class Sleeper:
    """A worker that sleeps as long as a part takes, and begins when all are ready."""

    def __init__(self, part: float, first: float, ready: str, workers: int):
        self.part, self.more = part, first
        _wait_for_all(Path(ready), workers)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        time.sleep(self.part + self.more)
        self.more = 0.0
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
        arguments = {"part": rates.part, "first": rates.first, "ready": ready, "workers": workers}
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
