"""``python -m benchmarks --only here``: a few rows of the page on the reader's machine, without peers."""

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import scoring, training
from benchmarks.instructions import AVX2, OWN, like_here
from benchmarks.timing import WIDTH, seconds, side_by_side
from vlm_sae_lib.files import read_json
from vlm_sae_lib.pocket.world import PocketPictures
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score

RESULTS = Path(__file__).parent / "results"
RUNS = 3
LIKE = {
    OWN: "This processor sums products of eight bits in hardware: hold it against the first column.",
    AVX2: "This processor has no such sums, or is held to do without: hold it against the second column.",
}
PICTURES = 2000


def show() -> int:
    """Print each row as it is measured, beside what the page shows."""
    published = {name: published_seconds(name) for name in (OWN, AVX2)}
    print(f"{LIKE[like_here()]}\n\n{'':<{WIDTH}} {'here':>9} {'VNNI':>9} {'AVX2':>9}", flush=True)
    for work, do in rows():
        taken, _ = side_by_side(do, runs=RUNS)
        there = (published[name].get(work) for name in (OWN, AVX2))
        cells = [statistics.median(taken), *there]
        print(f"{work:<{WIDTH}} " + " ".join(f"{seconds(cell) if cell else '–':>9}" for cell in cells), flush=True)
    print(f"{'pictures painted a second by one core':<{WIDTH}} {painted():9,.0f}")
    return 0


def rows() -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is timed, in the words of the page."""
    for size in (training.SMALLER, training.VIT_L):
        for share in (0.0, 0.1):
            kind, parts = "matryoshka_batch_top_k", size.batches()
            once = training.our_steps(kind, share, size, parts)
            for _ in range(training.WARM):
                once()
            yield training.work(kind, share, size), once
    pictures, latents, dim, k = scoring.MIDDLE
    code, unit = scoring.sparse_code(pictures, latents, k), scoring.unit_rows(pictures, dim)
    yield f"MS, {scoring.size_of(*scoring.MIDDLE)}", lambda: monosemanticity_score(code, unit)


def painted() -> float:
    """A second of this process's processor time."""
    list(PocketPictures(PICTURES, 1))  # habitats and bodies are drawn once
    before = time.process_time()
    list(PocketPictures(PICTURES, 2))
    return PICTURES / (time.process_time() - before)


def published_seconds(instructions: str) -> dict[str, float]:
    """Median seconds of each row of the newest results; of none where there are none."""
    start = "" if instructions == OWN else f"{instructions}-"
    files = sorted(RESULTS.glob(f"{start}[0-9]*.json"))
    found = read_json(files[-1])["rows"] if files else {}
    return {row["work"]: row["ours_median"] for some in found.values() for row in some}
