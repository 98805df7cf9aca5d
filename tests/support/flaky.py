"""``make test-flaky``: the notebooks' outputs come out every time, on busy cores and on a plain processor, too.

Each time everything is made from nothing, in a folder of its own. The last time the processor's wide instructions are
switched off: the trained weights must have other bytes then, or nothing was tried, and the outputs must pass all the
same.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vlm_sae_lib import paths
from vlm_sae_lib.files import file_hash

NBVAL = [
    "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "--nbval", "--nbval-current-env", "--nbval-sanitize-with",
    "tests/nbval_sanitize.cfg", "--nbval-cell-timeout", "1800", "notebooks",
]  # fmt: skip
PLAIN = {"ATEN_CPU_CAPABILITY": "default"}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that do nothing but take time."""
    spinning = [multiprocessing.get_context("spawn").Process(target=_spin, daemon=True) for _ in range(processes)]
    for process in spinning:
        process.start()
    try:
        yield
    finally:
        for process in spinning:
            process.kill()


def _spin() -> None:
    while True:
        pass


def passes(runs: Path, **environment: str) -> bool:
    """Whether the committed outputs of all notebooks come out, with everything made in ``runs``."""
    own = {"VLM_SAE_RUNS": str(runs), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "PYTHONHASHSEED": "0"}
    command = [sys.executable, *NBVAL]
    return subprocess.run(command, cwd=paths.root(), env={**os.environ, **own, **environment}).returncode == 0


def weights(runs: Path) -> dict[str, str]:
    """The hash of each trained SAE's weights, by what it was trained from."""
    return {file.parent.name: file_hash(file) for file in sorted(runs.glob("pocket/saes/*/sae_weights.safetensors"))}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="how often, before the plain one (default: 10)")
    parser.add_argument("--busy", type=int, default=3, help="how many of them on busy cores (default: 3)")
    chosen = parser.parse_args(arguments)
    failed, known = 0, None
    for number in range(1, chosen.times + 2):
        plain, on_busy = number > chosen.times, chosen.times - chosen.busy < number <= chosen.times
        what = "plain processor" if plain else "busy cores" if on_busy else "as they are"
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder, busy(os.cpu_count() or 1 if on_busy else 0):
            passed = passes(Path(folder), **PLAIN if plain else {})
            made = weights(Path(folder))
        known = known or made
        same = sum(made.get(name) == hash for name, hash in known.items())
        if plain and same == len(known):
            passed = False
            print("the weights are the same bytes without wide instructions: nothing was tried")
        if not plain and made != known:
            passed = False
            print(f"{len(known) - same} of {len(known)} trained SAEs have other bytes than the first time")
        failed += not passed
        print(f"{number}: {what}, {'passed' if passed else 'FAILED'}, {time.monotonic() - start:.0f} s, "
              f"{same} of {len(known)} SAEs the same bytes as the first time", flush=True)  # fmt: skip
    print(f"{chosen.times + 1 - failed} of {chosen.times + 1} passed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
