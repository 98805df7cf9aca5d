"""How a value is scattered over latents: split among several, or absorbed by finer ones; part of `factors`.

Three trainings of each width: a wide autoencoder is dear, and no claim rests on these numbers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vlm_sae_lib.controls import directions
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import OVER_TRAININGS
from vlm_sae_lib.progress import progress
from vlm_sae_lib.scores.absorption import absorption, splitting
from vlm_sae_lib.scores.detectors import firing
from vlm_sae_lib.statistics.intervals import Estimate, student
from vlm_sae_lib.taxonomy import RANKS

KINDS, RANDOM = ("matryoshka_batch_top_k", "batch_top_k"), "random directions"
EXPANSIONS, SCATTERED = (1, 2, 4, 8), (0, 1, 2)
OWN = "latents of precision 0.8 per value"
BASIS: dict[str, Any] = {
    "split": "chosen on choosing, scored on test", "seeds": list(SCATTERED), "interval_kind": OVER_TRAININGS,
}  # fmt: skip


def scattering(
    found: Findings, saes: Mapping[tuple, Any], splits: Any, l0: float, groups: Mapping[str, Sequence[str]]
) -> None:
    """Splitting and absorption at each expansion factor, Matryoshka against BatchTopK, and random directions.

    Args:
        saes: by ``(kind, expansion, seed)``.
        splits: activations and factors, as of `factors.load_splits`.
        l0: of the random directions.
        groups: factors that are averaged, by name; "all factors" holds all.
    """
    split, absorbed, facts = {}, {}, (splits.choosing_factors, splits.test_factors)
    for expansion in progress(EXPANSIONS, "Splitting and absorption", unit="width"):
        width = saes[KINDS[0], expansion, 0].n_latents
        cut = [directions.random(splits.train, width, seed=seed).cut(splits.train, l0) for seed in SCATTERED]
        for kind in (*KINDS, RANDOM):
            several = cut if kind == RANDOM else [saes[kind, expansion, seed] for seed in SCATTERED]
            fires = [[firing(c.encode_sparse(rows.astype(np.float32))) for rows in (splits.choosing, splits.test)]
                     for c in several]  # fmt: skip
            split[kind, expansion] = [
                splitting(a, facts[0], b, facts[1], groups["all factors"]) for a, b in fires
            ]  # fmt: skip
            if kind in KINDS:
                absorbed[kind, expansion] = [
                    absorption(a, facts[0], b, facts[1], RANKS[:-1], RANKS[-1]) for a, b in fires
                ]
    _splitting(found, split, groups)
    _absorption(found, absorbed)


def by_training(runs: Sequence[pd.DataFrame], what: str, kept: Any = slice(None)) -> np.ndarray:
    """Mean of a column's defined values in each training's table; NaN where it has none."""
    columns = [run[what].to_numpy(dtype=np.float64)[kept] for run in runs]
    return np.array([np.nanmean(c) if (~np.isnan(c)).any() else np.nan for c in columns])


def rounded(estimate: Estimate) -> dict[str, float]:
    """An estimate as columns of a table."""
    parts = (estimate.value, *estimate.interval)
    return dict(zip(("value", "low", "high"), (round(part, 4) for part in parts), strict=True))


def _splitting(
    found: Findings, split: Mapping[tuple, list[pd.DataFrame]], groups: Mapping[str, Sequence[str]]
) -> None:
    rows = []
    for (kind, expansion), runs in split.items():
        for group, factors in groups.items():
            kept = runs[0]["factor"].isin(factors).to_numpy()
            for what in ("latents", "recall", "union_recall"):
                estimate = student(by_training(runs, what, kept))
                rows.append({"kind": kind, "expansion": expansion, "group": group, "what": what,
                             "values": int(kept.sum()), **rounded(estimate)})  # fmt: skip
                if group != "all factors" and what == "latents":
                    control = {RANDOM: f"own latents/{group}/{RANDOM} ×{expansion}"} if kind in KINDS else None
                    found.estimate(f"own latents/{group}/{kind} ×{expansion}", estimate, n=int(kept.sum()), unit=OWN,
                                   controls=control, **BASIS)  # fmt: skip
    found.table("splitting", pd.DataFrame(rows))
    for group, factors in groups.items():
        kept = split[KINDS[0], 1][0]["factor"].isin(factors).to_numpy()
        for kind in (*KINDS, RANDOM):
            wide, narrow = (by_training(split[kind, e], "latents", kept) for e in (EXPANSIONS[-1], EXPANSIONS[0]))
            found.estimate(f"own latents/{group}/{kind} ×8 minus ×1", student(wide - narrow), n=int(kept.sum()),
                           unit=OWN, **BASIS)  # fmt: skip


def _absorption(found: Findings, absorbed: Mapping[tuple, list[pd.DataFrame]]) -> None:
    rows = []
    for expansion in EXPANSIONS:
        means = {}
        for kind in KINDS:
            runs, name = absorbed[kind, expansion], f"absorption ×{expansion}/{kind}"
            with_main = sum(int((r["main"] >= 0).sum()) for r in runs)
            found.add(f"{name}/coarse values with a main latent", with_main, n=sum(map(len, runs)),
                      seeds=list(SCATTERED), split="choosing", unit="values of all seeds")  # fmt: skip
            for run in runs:
                run["excess"] = run["concentration"] - run["by_chance"]
            for what in ("recall", "absorbed", "concentration", "by_chance", "excess"):
                means[kind, what] = by_training(runs, what)
                estimate, n = student(means[kind, what]), sum(int(r[what].notna().sum()) for r in runs)
                rows.append({"kind": kind, "expansion": expansion, "what": what, "n": n, **rounded(estimate)})
                if expansion == 4:
                    dealt = {"own latents dealt to other children": f"{name}/by_chance"}
                    found.estimate(f"{name}/{what}", estimate, n=n, controls=dealt if what == "concentration" else None,
                                   **BASIS)  # fmt: skip
        for what in ("absorbed", "excess", "recall"):
            both = [part[what].notna() for kind in KINDS for part in absorbed[kind, expansion]]
            found.estimate(f"absorption ×{expansion}/Matryoshka minus BatchTopK/{what}",
                           student(means[KINDS[0], what] - means[KINDS[1], what]), n=int(sum(both).sum()),
                           **BASIS)  # fmt: skip
    found.table("absorption", pd.DataFrame(rows))
