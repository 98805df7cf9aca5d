"""Monosemanticity of Matryoshka levels (paper v3 Tab. A8, and v1's), beside groups of a plain SAE by frequency."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.hierarchy_latents import HOOK_POINT, MATRYOSHKA, PLAIN, SORTED, by_level, count, paper, row
from vlm_sae_lib.experiments.measure import AT_LEAST, OVER_TRAININGS, SEEDS
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.scores import levels
from vlm_sae_lib.statistics.gather import gather_statistics
from vlm_sae_lib.statistics.intervals import of_trainings, student
from vlm_sae_lib.workbench import Workbench

PAPER_ENCODERS = ("DINOv2 ViT-B", "CLIP ViT-B")
"""The paper's scoring encoders of v3 and of v1, beside ours of the same rank."""
EXTREMES = {"best": np.nanmax, "worst": np.nanmin}


def monosemanticity(bench: Workbench, found: Findings, saes: Mapping[tuple, Any], sizes: Sequence[int]) -> None:
    """MS per level under both encoders, on test pictures, of the SAEs ``(kind, seed)``."""
    level, n_levels, rows = levels.levels_of(sizes), len(sizes), []
    store = bench.activations("test", HOOK_POINT)
    for encoder, theirs in zip(bench.scoring_names, PAPER_ENCODERS, strict=False):
        embeddings = bench.embeddings("test", encoder)
        ours, plain = (
            [gather_statistics(store, embeddings, saes[kind, seed]).statistics for seed in SEEDS]
            for kind in (MATRYOSHKA, PLAIN)
        )
        rungs = [levels.frequency_levels(part.firing_rate(), sizes) for part in plain]
        ms, plain_ms = ([part.monosemanticity() for part in kind] for kind in (ours, plain))
        often, plain_often = (
            [np.where(part.firing_count() >= AT_LEAST, part.monosemanticity(), np.nan) for part in kind]
            for kind in (ours, plain)
        )
        basis: dict[str, Any] = {"seeds": list(SEEDS), "split": "test", "interval_kind": OVER_TRAININGS}
        enough = by_level(often, [level] * len(SEEDS), n_levels)
        groups = by_level(plain_ms, rungs, n_levels)
        for i, values in enumerate(by_level(ms, [level] * len(SEEDS), n_levels)):
            name, control = f"MS/{encoder}/level {i}", f"MS/{encoder}/{SORTED}/level {i}"
            mean, by_frequency = of_trainings(values), of_trainings(groups[i])
            where, n = {"level": i, "scoring_encoder": theirs}, sum(map(count, values))
            found.estimate(control, by_frequency, n=sum(map(count, groups[i])), unit="MS", **basis)
            found.estimate(f"{name}/mean", mean, controls={SORTED: control}, n=n, unit="MS", **basis,
                           **paper(**where, statistic="mean"))  # fmt: skip
            found.estimate(f"{name}/mean of at least {AT_LEAST} pictures", of_trainings(enough[i]),
                           n=sum(map(count, enough[i])), unit="MS", **basis)  # fmt: skip
            for what, reduce in EXTREMES.items():
                each = [float(reduce(v)) for v in values if count(v)]
                found.estimate(f"{name}/{what}", student(each), n=n, unit="MS", **basis,
                               **paper(**where, statistic=what))  # fmt: skip
            found.add(f"{name}/undefined", sizes[i] * len(SEEDS) - n, n=sizes[i] * len(SEEDS),
                      unit="latents of all seeds", seeds=list(SEEDS), split="test")  # fmt: skip
            for who, estimate in (("levels", mean), ("frequency", by_frequency)):
                rows.append({"encoder": encoder, "who": who, "level": i, **row(estimate)})
        for whom, scores, other in (("", ms, plain_ms), (ENOUGH, often, plain_often)):
            runs, others = [(v, level) for v in scores], list(zip(other, rungs, strict=True))
            slope, name = {"n": sum(map(count, scores)), "unit": "MS per level", **basis}, f"MS slope/{encoder}"
            control = f"{name}/{SORTED}{whom}"
            found.estimate(control, levels.trend_over_seeds(others), **slope)
            found.estimate(f"{name}/beyond frequency{whom}", levels.trend_over_seeds(runs, minus=others), **slope)
            found.estimate(name + whom, levels.trend_over_seeds(runs), **slope, controls={SORTED: control})
    found.table("ms", pd.DataFrame(rows))
