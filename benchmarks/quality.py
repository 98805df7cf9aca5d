"""Does our training learn as well as dictionary_learning's? ``make bench-quality`` (in ``.venv-parity``).

Both start from the same weights and read the same batches in the same order, with the same learning rate, warm-up,
threshold start and momentum, dead window, aux-k weight and clipping (``peer.py`` says what had to be set). They differ
in how they compute: ours takes its gradients from the active pairs. Both are tested on held-out activations by the
inference rule alone, p·1[p > θ] with the threshold that each has learned.

Each of the twelve runs is kept as it ends, in ``runs/quality/``, so that an interrupted comparison goes on; the verdict
is written to ``benchmarks/results/quality-<date>.json``.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.quality_data import World, activations
from benchmarks.quality_verdict import lines, verdicts
from vlm_sae_lib import paths
from vlm_sae_lib.files import content_hash, folder_hash, read_json, write_json
from vlm_sae_lib.machine.allocator import keep_freed_memory
from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.sae.training.learner import Learner

KINDS = ("matryoshka_batch_top_k", "batch_top_k")
LIBRARIES = ("ours", "theirs")
WORLD = World()
TRAIN, TEST = 200_000, 20_000
RECIPE = {"expansion": 8, "k": 20, "batch_size": 1024, "steps": 2000, "lr": 2e-3, "dead_window": 100_000,
          "normalise": False}  # fmt: skip
"""2,048 latents on 256 numbers; the data are scaled to E‖x‖² = 1 before, for both."""
SEEDS = (0, 1, 2)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=RECIPE["steps"], help="fewer for a try; its table is not kept")
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    arguments = parser.parse_args()
    keep_freed_memory()
    recipe = RECIPE | {"steps": arguments.steps}
    asked = [(kind, seed, library) for kind in KINDS for seed in SEEDS[: arguments.seeds] for library in LIBRARIES]
    runs = trained(recipe, asked)
    found = {kind: verdicts([run for run in runs if run["kind"] == kind]) for kind in KINDS}
    print()
    for kind in KINDS:
        print("\n".join(lines(kind, found[kind])))
    if recipe == RECIPE and len(runs) == len(KINDS) * len(SEEDS) * len(LIBRARIES):
        path = paths.root() / "benchmarks" / "results" / f"quality-{date.today().isoformat()}.json"
        about = {"schema": 1, "recipe": recipe, "data": asdict(WORLD) | {"train": TRAIN, "test": TEST},
                 "machine": {"threads": torch.get_num_threads(), "torch": torch.__version__}}  # fmt: skip
        write_json(path, about | {"kinds": found, "runs": runs})
        print(path)
    return 0 if all(check["passed"] for kind in KINDS for check in found[kind]["checks"]) else 1


def trained(recipe: dict[str, Any], asked: list[tuple[str, int, str]]) -> list[dict[str, Any]]:
    """The runs that were asked for, in order; those of an earlier call with the same recipe, data and code are kept."""
    here = Path(__file__).parent
    identity = {"recipe": recipe, "data": asdict(WORLD), "rows": [TRAIN, TEST],
                "code": [folder_hash(paths.PACKAGE / "sae", ("*.py",)), folder_hash(here, ("quality*.py", "peer.py"))]}
    folder = paths.runs("quality") / content_hash(identity)[:16]
    train, test = activations(WORLD, TRAIN, 0), activations(WORLD, TEST, 1)
    scale = train.pow(2).sum(dim=1, dtype=torch.float64).mean().sqrt().float()
    train, test = train / scale, test / scale
    runs = []
    for kind, seed, library in asked:
        path = folder / f"{kind}-{seed}-{library}.json"
        if not path.exists():
            write_json(path, one(SaeConfig(kind=kind, seed=seed, **recipe), library, train, test))
        runs.append(read_json(path))
        run = runs[-1]
        print(f"{kind} seed {seed} {library:<6}  R² {run['r2']:.4f}  dead {run['dead']:.1%}  L0 {run['l0']:.1f}  "
              f"θ {run['threshold']:.4f}  {run['seconds']:.0f} s", flush=True)  # fmt: skip
    return runs


def one(config: SaeConfig, library: str, train: torch.Tensor, test: torch.Tensor) -> dict[str, Any]:
    """Train one autoencoder by one library, and test it."""
    order = batches(len(train), config)
    first = train[order[0]]
    learner = Learner(config, first, 1.0)
    if library == "ours":
        step = learner.step
    else:
        from benchmarks.peer import start_from, trainer  # only .venv-parity has it

        theirs = trainer(config, train.shape[1])
        start_from(theirs, learner.weights)
        count = iter(range(config.steps))
        step = lambda batch: theirs.update(next(count), batch)  # noqa: E731
    started = time.perf_counter()
    follow(f"{config.kind} seed {config.seed} {library}", step, train, order)
    elapsed = time.perf_counter() - started
    if library == "ours":
        sae, silent = learner.finish({}), learner.silence.samples
        encode, decode, threshold = sae.encode, sae.decode, float(sae.threshold)
    else:
        encode, decode, threshold = theirs.ae.encode, theirs.ae.decode, float(theirs.ae.threshold)
        silent = theirs.num_tokens_since_fired
    tested = evaluate(encode, decode, test)
    dead = float((silent >= config.dead_window).double().mean())
    about = {"kind": config.kind, "seed": config.seed, "library": library, "seconds": elapsed}
    return about | tested | {"dead": dead, "threshold": threshold}


def batches(rows: int, config: SaeConfig) -> torch.Tensor:
    """``(steps, batch)`` row numbers: epochs reshuffled, a rest too short for a batch left out."""
    rng, per_epoch = np.random.default_rng((7, config.seed)), rows // config.batch_size
    epochs = [
        rng.permutation(rows)[: per_epoch * config.batch_size].reshape(per_epoch, config.batch_size)
        for _ in range(-(-config.steps // per_epoch))
    ]
    return torch.from_numpy(np.concatenate(epochs)[: config.steps])


def follow(name: str, step: Callable[[torch.Tensor], object], train: torch.Tensor, order: torch.Tensor) -> None:
    """All steps, with a line that counts them on a terminal."""
    for number, rows in enumerate(order, start=1):
        step(train[rows])
        if sys.stderr.isatty() and (number % 20 == 0 or number == len(order)):
            print(f"\r{name}: {number} of {len(order)} steps", end="\r", file=sys.stderr, flush=True)


@torch.no_grad()
def evaluate(encode: Callable, decode: Callable, test: torch.Tensor) -> dict[str, float]:
    """R² and L0 on held-out rows by the inference rule, and the share of latents that none of them wakes."""
    error, pairs, fired = 0.0, 0, 0
    for part in test.split(4096):
        latents = encode(part)
        error += float((part - decode(latents)).pow(2).sum(dtype=torch.float64))
        pairs += int((latents > 0).sum())
        fired = (latents > 0).any(dim=0) | fired
    spread = float((test - test.mean(dim=0)).pow(2).sum(dtype=torch.float64))
    return {"r2": 1 - error / spread, "l0": pairs / len(test), "silent_in_test": 1 - float(fired.double().mean())}


if __name__ == "__main__":
    raise SystemExit(main())
