"""Rare neurons and MS at the last layer: all neurons in order, and mean MS by how many pictures they are active on."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.layer_effects import MAIN, Parts
from vlm_sae_lib.experiments.measure import SEEDS, interval_kind, sorted_curve
from vlm_sae_lib.hooks import PROJECTION
from vlm_sae_lib.scores.comparison import Scored, over_seeds
from vlm_sae_lib.statistics.intervals import Estimate

ACTIVITY = (2, 3, 5, 10, 20, 30, 50, 75, 100)
"""Least numbers of pictures for the minimum-activity curve."""
BINS = (2, 5, 10, 20, 40, 80, 160, 320, 10**9)
"""Edges of the bins of firing: on how many test pictures a neuron lies above its minimum."""
COMPARED = (MAIN, f"random for {MAIN}", "rectified, cut")


def record_activity(found: Findings, parts: Parts) -> None:
    """Sorted curves; mean MS by least number of pictures and by bin of it, with the controls in the same bins."""
    curves = {what: parts[what] for what in parts if what == "raw" or what.startswith(("Matryoshka", "rectified, cut"))}
    curves[f"random for {MAIN}"] = parts[f"random for {MAIN}"]
    found.table("curves", pd.DataFrame([
        {"what": what, "rank": round(rank, 1), "ms": round(ms, 3)} for what, runs in curves.items()
        for rank, ms in _ranked(sorted_curve(runs[0].ms, 40), int(runs[0].kept().sum()))
    ]))  # fmt: skip
    least, binned = [], []
    for what in COMPARED:
        runs = parts[what]
        for pictures in ACTIVITY:
            mean, n = over_seeds(runs, pictures), np.mean([run.kept(pictures).sum() for run in runs])
            least.append({"what": what, "pictures": pictures, "neurons": round(float(n), 4), **_rounded(mean)})
        for low, high in zip(BINS, BINS[1:], strict=False):
            inside = [_inside(run, low, high) for run in runs]
            mean, n = over_seeds(inside), np.mean([len(run.ms) for run in inside])
            binned.append({"what": what, "from": low, "below": high, "neurons": round(float(n), 4), **_rounded(mean)})
    found.table("least activity", pd.DataFrame(least))
    found.table("by firing", pd.DataFrame(binned))
    for pictures in ACTIVITY:
        for other in COMPARED[1:]:
            found.estimate(
                f"{PROJECTION}/{MAIN} minus {other}, active on {pictures}",
                over_seeds(parts[MAIN], pictures, minus=parts[other]), unit="MS", split="test", seeds=list(SEEDS),
                n=sum(int(run.kept(pictures).sum()) for run in parts[MAIN]), interval_kind=interval_kind(parts[MAIN]),
            )  # fmt: skip


def _inside(run: Scored, low: int, high: int) -> Scored:
    """The neurons that lie above their minimum on ``low`` to below ``high`` pictures."""
    kept = run.kept(low) & (run.pictures < high)
    return Scored(run.ms[kept], run.draws[:, kept], run.pictures[kept])


def _ranked(curve: Sequence[float], neurons: int) -> list[tuple[float, float]]:
    """A sorted curve with the rank of each point among all defined neurons, from 1."""
    return list(zip(np.linspace(1, max(neurons, 1), len(curve)), curve, strict=True))


def _rounded(estimate: Estimate) -> dict[str, float]:
    rounded = (round(float(value), 4) for value in (estimate.value, *estimate.interval))
    return dict(zip(("mean", "low", "high"), rounded, strict=True))
