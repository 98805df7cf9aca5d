"""How MS, R² and L0 move with K (paper Tab. A11, Fig. 5b), beside codes as sparse that mean nothing.

Matryoshka SAEs of ×1 at the projection, as in the paper. The pocket tower is narrower than the paper's, so K stands
here as the same number and also as the same share of the width. A smaller K rebuilds less; so MS is also compared at
equal R².
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vlm_sae_lib.controls.codes import random_directions
from vlm_sae_lib.controls.rectify import RectifiedNeurons
from vlm_sae_lib.experiments.experiment import Experiment
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import (
    AT_LEAST,
    POPULATIONS,
    SEEDS,
    interval_kind,
    means,
    scored,
    scored_runs,
    slopes,
)
from vlm_sae_lib.hooks import PROJECTION
from vlm_sae_lib.records.results import published, published_source
from vlm_sae_lib.scores.comparison import Scored, over_seeds
from vlm_sae_lib.scores.reconstruction import Reconstruction, reconstruction
from vlm_sae_lib.statistics.intervals import Estimate, student
from vlm_sae_lib.workbench import Workbench

PAPER_KS, PAPER_WIDTH = (1, 10, 20, 50), 768
KINDS = {"Matryoshka": "matryoshka_batch_top_k", "BatchTopK": "batch_top_k"}
MAIN, WIDER = "Matryoshka", "Matryoshka ×4"
FROZEN = "a frozen decoder"
"""The main kind, with a decoder that never learns (arXiv 2602.14111)."""
SETTINGS: dict[str, dict[str, Any]] = {kind: {"kind": key} for kind, key in KINDS.items()}
SETTINGS |= {FROZEN: SETTINGS[MAIN] | {"frozen": "decoder"}}
CONTROLS = ("random directions", "rectified, cut", FROZEN)
PAPER_ENCODERS = ("DINOv2 ViT-B", "CLIP ViT-B")
SHARE = "{source}, K = {k} of {width}: the same share of the width"

Parts = Mapping[tuple[str, int], Sequence[Scored]]
"""The scores by kind of neuron and K, one for each seed."""


def run(bench: Workbench, found: Findings) -> None:
    """MS of SAEs of every K with its controls, R² and L0, and the plan's slopes; then the two kinds, and two widths, at
    equal R²."""
    train, test = (bench.activations(split, PROJECTION) for split in ("train", "test"))
    raw = test.array().numpy()
    ks = every_k(raw.shape[1])
    plan = [(kind, k, 1, seed) for kind in KINDS for k in ks for seed in SEEDS]
    plan += [(MAIN, bench.profile.k, 4, seed) for seed in SEEDS]
    plan += [(FROZEN, k, 1, seed) for k in ks for seed in SEEDS]
    configs = [bench.config(**SETTINGS[kind], expansion=width, k=k, seed=seed) for kind, k, width, seed in plan]
    saes: dict[tuple[str, int], list[Any]] = {}
    for (kind, k, width, _), sae in zip(plan, bench.saes(configs, PROJECTION), strict=True):
        saes.setdefault((WIDER if width == 4 else kind, k), []).append(sae)
    rebuilt = {who: [reconstruction(sae, test) for sae in runs] for who, runs in saes.items()}
    kinds: dict[tuple[str, int], list[Any]] = {}
    for (kind, k), runs in saes.items():
        kinds[kind, k] = [sae.encode_sparse(test) for sae in runs]
        if kind == MAIN:
            _record_rebuilt(found, k, raw.shape[1], rebuilt[kind, k])
            l0s = [reconstruction(sae, train).l0 for sae in runs]
            pairs = zip(kinds[kind, k], SEEDS, strict=True)
            kinds["random directions", k] = [random_directions(raw, code, seed) for code, seed in pairs]
            kinds["rectified, cut", k] = [RectifiedNeurons.fit(train, l0).encode_sparse(raw) for l0 in l0s]
    rows, cases = [], {}
    for encoder, paper in zip(bench.scoring_names, PAPER_ENCODERS, strict=True):
        parts = {who: scored_runs(bench, runs, encoder) for who, runs in kinds.items()}
        cases[encoder] = parts
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
    _record_effects(found, cases, ks)


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
    return {"interval_kind": interval_kind(runs), "seeds": list(SEEDS[: len(runs)]), "split": "test"}


def _record_effects(found: Findings, cases: Mapping[str, Parts], ks: Sequence[int]) -> None:
    """The slope of the mean MS over log2(1 / K), and what is left of it beyond each control of the same seed."""
    for at_least, suffix in POPULATIONS:
        gross, *others = (
            [slopes(-np.log2(ks), np.stack([means(parts[kind, k], at_least) for k in ks])) for parts in cases.values()]
            for kind in (MAIN, *CONTROLS)
        )
        runs = [run for k in ks for run in next(iter(cases.values()))[MAIN, k]]
        columns: dict[str, Any] = {"slope over sparsity": gross}
        columns |= {f"slope over sparsity beyond {control}": np.subtract(gross, other)
                    for control, other in zip(CONTROLS, others, strict=True)}  # fmt: skip
        for name, by_case in columns.items():
            found.effect(
                name + suffix, np.transpose(by_case), unit="training", of="MS for each halving of K",
                n=sum(int(run.kept(at_least).sum()) for run in runs), split="test", cases=tuple(cases),
                seeds=list(SEEDS),
            )  # fmt: skip


def _record_rebuilt(found: Findings, k: int, width: int, reports: Sequence[Reconstruction]) -> None:
    basis = {"n": reports[0].rows, **_basis(reports)}
    papers = {name: paper_value(k, width, statistic=name) for name in ("r2_percent", "l0")}
    papers["r2_percent"]["paper_value"] /= 100
    values = {
        "R²": ([each.r2 for each in reports], papers["r2_percent"]),
        "R² in the paper's form": ([each.r2_paper for each in reports], {}),
        "L0": ([each.l0 for each in reports], papers["l0"]),
        "never fired": ([each.never_fired for each in reports], {}),
    }
    for what, (each, known) in values.items():
        found.estimate(f"{what}/K = {k}", student(each), **basis, **known)


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
    for least, suffix in POPULATIONS:
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


def _record_differences(found: Findings, where: str, parts: Mapping[str, Sequence[Scored]]) -> None:
    for control in CONTROLS:
        for least, suffix in POPULATIONS:
            found.estimate(
                f"{where}/{MAIN} minus {control}{suffix}", over_seeds(parts[MAIN], least, minus=parts[control]),
                unit="MS", n=sum(int(run.kept(least).sum()) for run in parts[MAIN]), **_basis(parts[MAIN]),
            )  # fmt: skip


def _record_matched(
    found: Findings, encoder: str, parts: Parts, rebuilt: Mapping[tuple[str, int], Sequence[Reconstruction]],
    ks: Sequence[int],
) -> None:  # fmt: skip
    """The Matryoshka SAEs' MS, interpolated between neighbouring K to the R² of another SAE of the same seed, minus
    that SAE's MS.

    Nothing where in any seed no K of theirs rebuilds as much, or as little.
    """
    others = [who for who in parts if who[0] in ("BatchTopK", WIDER)]
    points = []
    for kind, k in [*((MAIN, k) for k in ks), *others]:
        row: dict[str, Any] = {"what": kind, "k": k}
        row["r2"] = round(float(np.mean([each.r2 for each in rebuilt[kind, k]])), 4)
        for least, suffix in POPULATIONS:
            mean = over_seeds(parts[kind, k], least)
            row |= {f"{name}{suffix}": value for name, value in zip(("mean", "low", "high"), _flat(mean), strict=True)}
        points.append(row)
    found.table("by R²", pd.DataFrame(points))
    paths = [[rebuilt[MAIN, k][place].r2 for k in ks] for place in range(len(SEEDS))]
    for least, suffix in POPULATIONS:
        scores = np.stack([means(parts[MAIN, k], least) for k in ks], axis=1)
        for kind, k in others:
            targets = [each.r2 for each in rebuilt[kind, k]]
            ours = np.array([at_r2(*each) for each in zip(paths, scores, targets, strict=True)])
            if not np.isnan(ours).any():
                found.estimate(
                    f"{encoder}/at equal R²{suffix}/{MAIN} ×1 minus {kind}, K = {k}",
                    student(ours - means(parts[kind, k], least)), unit="MS",
                    n=sum(int(run.kept(least).sum()) for run in parts[kind, k]), **_basis(parts[kind, k]),
                )  # fmt: skip


def at_r2(r2: Sequence[float], values: Sequence[float], target: float) -> float:
    """A value on the line between its two neighbours of ``target``, by their R²; NaN outside the line's ends."""
    order = np.argsort(r2)
    return float(np.interp(target, np.asarray(r2)[order], np.asarray(values)[order], left=np.nan, right=np.nan))


def _flat(estimate: Estimate) -> tuple[float, float, float]:
    value, (low, high) = estimate
    return round(value, 4), round(low, 4), round(high, 4)


EXPERIMENT = Experiment(
    name="sparsity",
    title="How sparse should it be?",
    question="How do MS and reconstruction move with K, and is a sparse code that means nothing as monosemantic?",
    paper="Tab. A11, Fig. 5b",
    run=run,
)
