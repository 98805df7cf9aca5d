"""``python -m benchmarks.book``: how long the notebooks take from nothing, also with AVX2 alone, and with company.

All are run as by ``make book``, side by side, a process of one thread each: on free cores; held to the instructions of
older processors; and while another process keeps one core busy, as a browser would. The file is
``results/book-<date>.json``. The site takes as long each time and is built once.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import torch

from benchmarks.instructions import AVX2, OWN, held_to
from vlm_sae_lib import paths
from vlm_sae_lib.files import read_json, write_json
from vlm_sae_lib.pictures.decoding import cores

HERE = Path(__file__).parent
RUN = [sys.executable, "-m", "vlm_sae_lib", "run", "--set", "seed=0"]  # a value is set: nothing is published
SITE = [sys.executable, "-m", "vlm_sae_lib", "book"]
WAYS = {"free": (OWN, nullcontext), AVX2: (AVX2, nullcontext)}
BUSY = [sys.executable, "-c", "while True: pass"]


def main() -> int:
    found: dict[str, Any] = {"schema": 1, "machine": machine()}
    path = HERE / "results" / f"book-{date.today().isoformat()}.json"
    for name, (instructions, beside) in (WAYS | {"busy": (OWN, busy)}).items():
        with beside():
            found[name] = notebooks(held_to(instructions))
        print(f"{name}: {found[name]}", flush=True)
        write_json(path, found)
    begun = time.perf_counter()
    subprocess.run(SITE, cwd=paths.root(), check=True, stdout=subprocess.DEVNULL)
    found["site"] = round(time.perf_counter() - begun, 1)
    write_json(path, found)
    print(path)
    return 0


def machine() -> dict[str, Any]:
    return {"processor": platform.processor() or platform.machine(), "cores": cores(),
            "capability": torch.backends.cpu.get_cpu_capability()}  # fmt: skip


def notebooks(environment: dict[str, str]) -> dict[str, Any]:
    """Seconds of each notebook, those of a core that it computed itself, and seconds of all together."""
    with tempfile.TemporaryDirectory() as runs:
        begun = time.perf_counter()
        subprocess.run(RUN, cwd=paths.root(), env=environment | {"VLM_SAE_RUNS": runs}, check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        return {"each": seconds_of(Path(runs)), "together": round(time.perf_counter() - begun, 1)}


def seconds_of(runs: Path) -> dict[str, dict[str, float]]:
    made = {path.name.removesuffix(".made.json"): read_json(path) for path in sorted(runs.rglob("*.made.json"))}
    return {name: {kind: one[kind] for kind in ("seconds", "processor_seconds")} for name, one in made.items()}


@contextmanager
def busy() -> Iterator[None]:
    """One core has other things to do."""
    with subprocess.Popen(BUSY, env=os.environ) as process:
        try:
            yield
        finally:
            process.kill()


if __name__ == "__main__":
    raise SystemExit(main())
