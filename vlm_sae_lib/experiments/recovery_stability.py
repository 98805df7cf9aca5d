"""How much of a dictionary another training finds again, and which latents; part of `recovery`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import stats

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import AT_LEAST, SEEDS
from vlm_sae_lib.experiments.scattering import rounded
from vlm_sae_lib.progress import progress
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.scores.matching import NEAR, stability
from vlm_sae_lib.statistics.intervals import student
from vlm_sae_lib.statistics.jackknife import OVER_PAIRS, pseudo_values

BINS = {
    "2 to 9": (2, 9), "10 to 29": (10, 29), "30 to 99": (30, 99), "100 to 299": (100, 299),
    "300 and more": (300, np.inf),
}  # fmt: skip
"""Of the test pictures on which a latent fires."""
POPULATIONS = ((0, ""), (AT_LEAST, ENOUGH))
"""Every latent, as each has a direction; and the plan's second population."""
DEFINED = 2
"""Pictures on which a latent must fire to have an MS."""
COSINE, SHARE = "mean cosine", f"share above {NEAR}"


@dataclass(frozen=True, eq=False)
class Coded:
    """One training's latents: decoder directions, MS by each scoring encoder, and on how many pictures each fires."""

    decoder: Float[np.ndarray, "n_latents d"]
    ms: Mapping[str, Float[np.ndarray, " n_latents"]]
    pictures: Int[np.ndarray, " n_latents"]


Cosines = Mapping[tuple[int, int], Float[np.ndarray, " n_latents"]]
"""For trainings (i, j) the cosine of each latent of i with its match in j."""
Statistic = Callable[[Coded, Float[np.ndarray, " n_latents"]], float]
"""Of one training's latents and their cosines with another's."""


def record_stability(found: Findings, coded: Mapping[str, Sequence[Coded]], control: str) -> None:
    """Matched cosines of every pair of trainings of a kind: their mean, the share above `NEAR`, and with what they go.

    Args:
        control: the kind that never learned, against which the others are held.
    """
    values, rows, bins = {}, [], []
    for kind in progress([control, *(kind for kind in coded if kind != control)], "Stability", unit="kind"):
        runs, cosines = coded[kind], matched_cosines(coded[kind])
        basis: dict[str, Any] = {"interval_kind": OVER_PAIRS, "seeds": list(SEEDS[: len(runs)]), "split": "test"}
        for least, population in POPULATIONS:
            number = sum(int((run.pictures >= least).sum()) for run in runs)
            for what, summary in ((COSINE, np.mean), (SHARE, _share)):
                name = f"stability/{what}{population}"
                values[name, kind] = over_pairs(runs, cosines, _summarise(summary, least))
                estimate = student(values[name, kind])
                found.estimate(f"{name}/{kind}", estimate, n=number, unit=what, **basis)
                rows.append({"what": what, "at_least": least, "kind": kind, **rounded(estimate)})
                if kind != control:
                    gain = student(values[name, kind] - values[name, control])
                    found.estimate(f"{name}/{kind} minus {control}", gain, n=number, unit=what, **basis)
            _goes_with(found, kind, runs, cosines, max(least, DEFINED), population, **basis)
        bins += _by_firing(found, kind, runs, cosines, **basis)
    found.table("stability", pd.DataFrame(rows))
    found.table("stability by firing", pd.DataFrame(bins))


def matched_cosines(runs: Sequence[Coded]) -> Cosines:
    """The cosines of all pairs of trainings, both ways."""
    cosines = {}
    for i, j in combinations(range(len(runs)), 2):
        cosines[i, j], cosines[j, i] = stability(runs[i].decoder, runs[j].decoder)
    return cosines


def over_pairs(
    runs: Sequence[Coded], cosines: Cosines, statistic: Statistic
) -> Float[np.ndarray, " n_trainings"]:
    """Pseudo-values of a statistic of one training's latents and their cosines with another's, over all pairs."""
    table = np.zeros((len(runs), len(runs)))
    for (i, j), row in cosines.items():
        table[i, j] = statistic(runs[i], row)
    return pseudo_values(table)


def partial_spearman(a: np.ndarray, b: np.ndarray, given: np.ndarray) -> float:
    """Rank correlation of two lists beyond what both share with a third."""
    ab, ac, bc = (_rank_correlation(*pair) for pair in ((a, b), (a, given), (b, given)))
    left = np.sqrt((1 - ac**2) * (1 - bc**2))
    return (ab - ac * bc) / left if left > 0 else float("nan")


def _summarise(summary: Callable[[np.ndarray], Any], low: float, high: float = np.inf) -> Statistic:
    """A summary of the cosines of the latents that fire on so many pictures; NaN where none does."""

    def statistic(run: Coded, row: np.ndarray) -> float:
        kept = (run.pictures >= low) & (run.pictures <= high)
        return float(summary(row[kept])) if kept.any() else float("nan")

    return statistic


def _goes_with(
    found: Findings, kind: str, runs: Sequence[Coded], cosines: Cosines, least: int, population: str, **basis: Any
) -> None:
    """Rank correlations over a training's latents: stability with how often they fire, with MS, and with both."""
    number = sum(int((run.pictures >= least).sum()) for run in runs)
    statistics: dict[str, Callable[..., float]] = {
        "frequency": lambda run, row, kept: _rank_correlation(row[kept], run.pictures[kept])
    }
    for encoder in runs[0].ms:
        statistics[f"MS, {encoder}"] = lambda run, row, kept, by=encoder: _rank_correlation(row[kept], run.ms[by][kept])
        statistics[f"MS beyond frequency, {encoder}"] = lambda run, row, kept, by=encoder: partial_spearman(
            row[kept], run.ms[by][kept], run.pictures[kept]
        )
    for what, of_kept in statistics.items():

        def statistic(run: Coded, row: np.ndarray, of_kept: Callable[..., float] = of_kept) -> float:
            kept = run.pictures >= least
            return of_kept(run, row, kept) if kept.sum() > 2 else float("nan")

        found.estimate(
            f"stability with {what}{population}/{kind}", student(over_pairs(runs, cosines, statistic)), n=number,
            unit="rank correlation over the latents", **basis,
        )  # fmt: skip


def _by_firing(
    found: Findings, kind: str, runs: Sequence[Coded], cosines: Cosines, **basis: Any
) -> list[dict[str, Any]]:
    rows = []
    for pictures, (low, high) in BINS.items():
        number = sum(int(((run.pictures >= low) & (run.pictures <= high)).sum()) for run in runs)
        estimate = student(over_pairs(runs, cosines, _summarise(_share, low, high)))
        found.estimate(f"stability by firing/{kind}/{pictures}", estimate, n=number, unit=SHARE, **basis)
        rows.append({"kind": kind, "pictures": pictures, "latents": number, **rounded(estimate)})
    return rows


def _share(row: np.ndarray) -> float:
    return float(np.mean(row > NEAR))


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(stats.spearmanr(a, b).statistic) if np.ptp(a) and np.ptp(b) else float("nan")
