"""How MS, R² and L0 move with K (paper Tab. A11, Fig. 5b), beside codes as sparse that mean nothing.

Matryoshka SAEs of ×1 at the projection, as in the paper. The pocket tower is narrower than the paper's, so K stands
here as the same number and also as the same share of the width. A smaller K rebuilds less; so MS is also compared at
equal R².
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vlm_sae_lib.controls.codes import random_directions
from vlm_sae_lib.controls.reconstruction import sae_r2
from vlm_sae_lib.controls.rectify import RectifiedNeurons
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import AT_LEAST, OVER_PICTURES, OVER_TRAININGS, scored
from vlm_sae_lib.experiments.registry import Experiment
from vlm_sae_lib.hooks import PROJECTION
from vlm_sae_lib.records.results import published, published_source
from vlm_sae_lib.scores.comparison import Scored, over_seeds, over_trainings
from vlm_sae_lib.scores.reconstruction import reconstruction
from vlm_sae_lib.workbench import Workbench

SEEDS, PAPER_KS, PAPER_WIDTH = (0, 1, 2), (1, 10, 20, 50), 768
KINDS = {"Matryoshka": "matryoshka_batch_top_k", "BatchTopK": "batch_top_k"}
MAIN, WIDER = "Matryoshka", "Matryoshka ×4"
CONTROLS = ("random directions", "rectified, cut")
PAPER_ENCODERS = ("DINOv2 ViT-B", "CLIP ViT-B")
ENOUGH = f" of at least {AT_LEAST} pictures"
SEEDS_APART = "smallest and largest of the seeds"
MATCHED = "200 bootstrap draws, of the seeds first and then of the pictures; R² as measured"
SHARE = "{source}, K = {k} of {width}: the same share of the width"


def run(bench: Workbench, found: Findings) -> None:
    """MS of SAEs of every K with its controls, R² and L0; then the two kinds, and two widths, at equal R²."""
    train, test = (bench.activations(split, PROJECTION) for split in ("train", "test"))
    raw = test.array().numpy()
    ks = every_k(raw.shape[1])
    plan = [(kind, k, 1, seed) for kind in KINDS for k in ks for seed in SEEDS]
    plan += [(MAIN, bench.profile.k, 4, seed) for seed in SEEDS]
    configs = [bench.config(KINDS[kind], width, k=k, seed=seed) for kind, k, width, seed in plan]
    saes: dict[tuple[str, int], list[Any]] = {}
    for (kind, k, width, _), sae in zip(plan, bench.saes(configs, PROJECTION), strict=True):
        saes.setdefault((WIDER if width == 4 else kind, k), []).append(sae)
    rebuilt = {who: [sae_r2(sae, test) for sae in runs] for who, runs in saes.items()}
    kinds: dict[tuple[str, int], list[Any]] = {}
    for (kind, k), runs in saes.items():
        kinds[kind, k] = [sae.encode_sparse(test) for sae in runs]
        if kind == MAIN:
            reports = [reconstruction(sae, test) for sae in runs]
            _record_rebuilt(found, k, raw.shape[1], reports, rebuilt[kind, k])
            l0 = reconstruction(runs[0], train).l0
            pairs = zip(kinds[kind, k], SEEDS, strict=True)
            kinds["random directions", k] = [random_directions(raw, code, seed) for code, seed in pairs]
            kinds["rectified, cut", k] = [RectifiedNeurons.fit(train, l0).encode_sparse(raw)]
    rows = []
    for encoder, paper in zip(bench.scoring_names, PAPER_ENCODERS, strict=True):
        parts = {who: [scored(bench, code, encoder) for code in runs] for who, runs in kinds.items()}
        _record_raw(found, encoder, paper, scored(bench, raw, encoder))
        for (kind, k), runs in parts.items():
            if kind in (MAIN, *CONTROLS):
                rows.append(_record_scores(found, encoder, kind, k, raw.shape[1], runs, paper))
        for k in ks:
            _record_differences(found, f"{encoder}/K = {k}", {kind: runs for (kind, at), runs in parts.items()
                                                             if at == k})  # fmt: skip
        if encoder == bench.scoring_names[0]:
            _record_matched(found, encoder, parts, rebuilt, ks)
    found.table("spread", pd.DataFrame(rows))


def every_k(width: int) -> list[int]:
    """The paper's K, and what has the same share of our width, smallest first."""
    return sorted({k for paper in PAPER_KS for k in (paper, share_of(paper, width)) if k <= width})


def share_of(paper_k: int, width: int) -> int:
    """The K that is to ``width`` what the paper's is to its own; at least 1."""
    return max(1, round(paper_k * width / PAPER_WIDTH))


def paper_value(k: int, width: int, **where: Any) -> dict[str, Any]:
    """The paper's number for K; or, if it has none, for the K of the same share of its width."""
    if k in PAPER_KS:
        return {
            "paper_value": published("sparsity", k=k, **where),
            "source": published_source("sparsity", k=k, **where),
        }
    paper_k = next(each for each in PAPER_KS if share_of(each, width) == k)
    source = SHARE.format(source=published_source("sparsity", k=paper_k, **where), k=paper_k, width=PAPER_WIDTH)
    return {"paper_value": published("sparsity", k=paper_k, **where), "source": source}


def _basis(runs: Sequence[Any]) -> dict[str, Any]:
    kind = OVER_TRAININGS if len(runs) > 1 else OVER_PICTURES
    return {"interval_kind": kind, "seeds": list(SEEDS[: len(runs)]), "split": "test"}


def _record_rebuilt(found: Findings, k: int, width: int, reports: Sequence[Any], drawn: Sequence[Any]) -> None:
    basis = {"n": reports[0].rows, "split": "test", "seeds": list(SEEDS)}
    paper = paper_value(k, width, statistic="r2_percent")
    paper["paper_value"] /= 100
    r2 = over_trainings([(each.value, each.replicates) for each in drawn])
    found.estimate(f"R²/K = {k}", r2, interval_kind=OVER_TRAININGS.replace("200", "500"), **basis, **paper)
    spans = {
        "R² in the paper's form": [each.r2_paper for each in reports],
        "L0": [each.l0 for each in reports],
        "never fired": [each.never_fired for each in reports],
    }
    for what, values in spans.items():
        known = paper_value(k, width, statistic="l0") if what == "L0" else {}
        found.add(f"{what}/K = {k}", np.mean(values), interval=(min(values), max(values)), interval_kind=SEEDS_APART,
                  **basis, **known)  # fmt: skip


def _record_raw(found: Findings, encoder: str, paper: str, raw: Scored) -> None:
    where = {"k": "none", "scoring_encoder": paper, "statistic": "mean"}
    found.estimate(
        f"{encoder}/raw", raw.mean(), n=len(raw.ms), unit="MS", **_basis([raw]),
        paper_value=published("sparsity", **where), source=published_source("sparsity", **where),
    )  # fmt: skip


def _record_scores(
    found: Findings, encoder: str, kind: str, k: int, width: int, runs: Sequence[Scored], paper: str
) -> dict[str, Any]:
    """Both means as results; best, worst and spread, means over the seeds, as a row beside the paper's."""
    where = {"scoring_encoder": paper}
    row: dict[str, Any] = {"encoder": encoder, "what": kind, "k": k}
    for least, suffix in ((2, ""), (AT_LEAST, ENOUGH)):
        mean = over_seeds(runs, least)
        controls = {word: f"{encoder}/{word}/K = {k}/mean{suffix}" for word in CONTROLS} if kind == MAIN else {}
        known = paper_value(k, width, statistic="mean", **where) if kind == MAIN and not suffix else {}
        found.estimate(
            f"{encoder}/{kind}/K = {k}/mean{suffix}", mean, n=sum(int(run.kept(least).sum()) for run in runs),
            unit="MS", controls=controls | ({"raw": f"{encoder}/raw"} if controls else {}), **_basis(runs), **known,
        )  # fmt: skip
        row |= {f"{name}{suffix}": value for name, value in zip(("mean", "low", "high"), _flat(mean), strict=True)}
    defined = [run.ms[run.kept()] for run in runs]
    statistics: dict[str, Callable[[np.ndarray], Any]] = {
        "best": np.max, "worst": np.min, "std": lambda ms: ms.std(ddof=1), "defined": len,
    }  # fmt: skip
    for name, statistic in statistics.items():
        row[name] = round(float(np.mean([statistic(ms) for ms in defined if len(ms) > 1])), 4)
    row["active enough"] = round(float(np.mean([run.kept(AT_LEAST).sum() for run in runs])), 1)
    if kind == MAIN:
        for name in ("mean", "best", "worst", "std"):
            row[f"paper's {name}"] = paper_value(k, width, statistic=name, **where)["paper_value"]
    return row


def _record_differences(found: Findings, where: str, parts: dict[str, Sequence[Scored]]) -> None:
    for control in CONTROLS:
        found.estimate(
            f"{where}/{MAIN} minus {control}", over_seeds(parts[MAIN], AT_LEAST, minus=parts[control]), unit="MS",
            n=sum(int(run.kept(AT_LEAST).sum()) for run in parts[MAIN]), **_basis(parts[MAIN]),
        )  # fmt: skip


def _record_matched(found: Findings, encoder: str, parts: dict, rebuilt: dict, ks: Sequence[int]) -> None:
    """The Matryoshka SAEs' MS, interpolated between neighbouring K to the R² of another SAE, minus that SAE's MS.

    Nothing where no K of theirs rebuilds as much, or as little.
    """
    others = [who for who in parts if who[0] in ("BatchTopK", WIDER)]
    points = []
    for kind, k in [*((MAIN, k) for k in ks), *others]:
        mean = over_seeds(parts[kind, k], AT_LEAST)
        r2 = float(np.mean([each.value for each in rebuilt[kind, k]]))
        points.append({"what": kind, "k": k, "r2": round(r2, 4)} | dict(zip(("mean", "low", "high"), _flat(mean),
                                                                          strict=True)))  # fmt: skip
    found.table("by R²", pd.DataFrame(points))
    for kind, k in others:
        target = [each.value for each in rebuilt[kind, k]]
        ours = []
        for seed in range(len(SEEDS)):
            path = sorted((rebuilt[MAIN, each][seed].value, parts[MAIN, each][seed].moved(AT_LEAST)) for each in ks)
            ours.append(at_r2(path, float(np.mean(target))))
        if not any(np.isnan(value) for value, _ in ours):
            theirs = [run.moved(AT_LEAST) for run in parts[kind, k]]
            found.estimate(
                f"{encoder}/at equal R²/{MAIN} ×1 minus {kind}, K = {k}", over_trainings(ours, minus=theirs),
                interval_kind=MATCHED, unit="MS", seeds=list(SEEDS), split="test",
                n=sum(int(run.kept(AT_LEAST).sum()) for run in parts[kind, k]),
            )  # fmt: skip


def at_r2(path: Sequence[tuple[float, tuple[float, np.ndarray]]], target: float) -> tuple[float, np.ndarray]:
    """A mean and its draws, linear in R² between the two neighbours of ``target``; NaN outside the path.

    Args:
        path: (R², (mean, draws)) in rising R².
    """
    r2 = [each for each, _ in path]
    draws = np.stack([moved for _, (_, moved) in path])
    if not r2[0] <= target <= r2[-1]:
        return float("nan"), np.full(draws.shape[1], np.nan)
    right = min(max(int(np.searchsorted(r2, target)), 1), len(r2) - 1)
    share = (target - r2[right - 1]) / (r2[right] - r2[right - 1])
    values = [value for _, (value, _) in path]
    return (
        float((1 - share) * values[right - 1] + share * values[right]),
        (1 - share) * draws[right - 1] + share * draws[right],
    )


def _flat(estimate: Any) -> tuple[float, float, float]:
    value, (low, high) = estimate
    return round(value, 4), round(low, 4), round(high, 4)


EXPERIMENT = Experiment(
    name="sparsity",
    title="How sparse should it be?",
    question="How do MS and reconstruction move with K, and is a sparse code that means nothing as monosemantic?",
    paper="Tab. A11, Fig. 5b",
    run=run,
)
