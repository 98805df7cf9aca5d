"""``python -m benchmarks``: the table on the screen, and ``benchmarks/results/<date>.json``.

``--instructions avx2`` holds all to those of older processors, to a file of its own, ``avx2-<date>.json``.
"""

import argparse
import json
import platform
import subprocess
import time
from collections.abc import Iterator
from datetime import date
from importlib import import_module
from pathlib import Path

import torch

from benchmarks import here
from benchmarks.ceilings import measure
from benchmarks.floors import with_floor
from benchmarks.instructions import AVX2, OWN, hold
from benchmarks.timing import Row
from vlm_sae_lib.files import read_json, write_json
from vlm_sae_lib.machine.allocator import keep_freed_memory

HERE = Path(__file__).parent
SUITES = ("scoring", "training", "collection", "steering", "similarity", "growth")
SUITES_OF = {OWN: SUITES, AVX2: ("scoring", "training", "collection", "similarity")}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=(*SUITES, "here"),
                        help="a suite, may be given several times; or `here`: the few rows for this machine")
    parser.add_argument("--parity", default=".venv-parity/bin/python", help="the Python that has dictionary_learning")
    parser.add_argument("--instructions", choices=(OWN, AVX2), default=OWN, help="this machine's (default), or avx2")
    arguments = parser.parse_args()
    hold(arguments.instructions)
    keep_freed_memory()
    started = time.perf_counter()
    if "here" in (arguments.only or ()):
        return here.show()
    path = HERE / "results" / f"{file_name(arguments.instructions)}.json"
    rows = {suite: [] for suite in SUITES}
    if path.exists():  # today's other suites stay
        rows |= read_json(path)["rows"]
    machine = {"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads(),
               "capability": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__,
               "python": platform.python_version()}  # fmt: skip
    ceilings = measure()
    print(ceilings, flush=True)
    for suite in arguments.only or SUITES_OF[arguments.instructions]:
        print(f"\n{suite}", flush=True)
        rows[suite] = []
        for row in _rows(suite, arguments.parity):
            row.facts = with_floor(row.facts, ceilings)
            rows[suite].append(row.as_dict())
            print(f"  {row}", flush=True)
        write_json(path, {"schema": 1, "machine": machine, "ceilings": ceilings.as_dict(), "rows": rows})
    ceilings = ceilings.or_better(measure())
    print(f"\n{ceilings}")
    for row in (row for some in rows.values() for row in some):
        row["facts"] = with_floor(row["facts"], ceilings)
    write_json(path, {"schema": 1, "machine": machine, "ceilings": ceilings.as_dict(), "rows": rows})
    print(f"\n{time.perf_counter() - started:.0f} s: {path}")
    return 0


def file_name(instructions: str) -> str:
    return ("" if instructions == OWN else f"{instructions}-") + date.today().isoformat()


def _rows(suite: str, parity: str) -> Iterator[Row]:
    if suite != "training":
        yield from import_module(f"benchmarks.{suite}").run()
        return
    done = subprocess.run([parity, "-m", "benchmarks.training"], cwd=HERE.parent, check=True, stdout=subprocess.PIPE)
    yield from (Row(**found) for found in json.loads(done.stdout))


if __name__ == "__main__":
    raise SystemExit(main())
