"""What a few latents hold, and what goes when they are switched off; against dictionaries that need no training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from vlm_sae_lib.controls import directions
from vlm_sae_lib.controls.directions import Directions
from vlm_sae_lib.controls.probes import LinearProbes
from vlm_sae_lib.controls.sparse_probes import SparseProbes, best_thresholds, choose_latents
from vlm_sae_lib.experiments.editing import editing
from vlm_sae_lib.experiments.experiment import Experiment
from vlm_sae_lib.experiments.factors import FACTORS, GROUPS, Splits, load_splits, over
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import RESAMPLES, SEEDS, interval_kind
from vlm_sae_lib.experiments.scrambled_tower import scrambled_tower
from vlm_sae_lib.experiments.shortcuts import shortcuts
from vlm_sae_lib.progress import progress
from vlm_sae_lib.scores.absorption import value_names
from vlm_sae_lib.scores.comparison import by_training
from vlm_sae_lib.scores.detectors import Detected, score_detectors, truth_table
from vlm_sae_lib.statistics.intervals import student
from vlm_sae_lib.workbench import Workbench

LATENTS = (1, 2, 5)
MATRYOSHKA, BATCH_TOP_K, FROZEN = "Matryoshka", "BatchTopK", "frozen decoder"
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    MATRYOSHKA: ("matryoshka_batch_top_k", {}),
    BATCH_TOP_K: ("batch_top_k", {}),
    FROZEN: ("matryoshka_batch_top_k", {"frozen": "decoder"}),
}
LEARNED = (MATRYOSHKA, BATCH_TOP_K)
EXPANSION = 4
RAW, PCA, K_MEANS, RANDOM = "raw neurons", "principal components", "k-means", "random directions"
CUT = ", cut"
"""Rectified and cut to the L0 of the autoencoders; without it, projections of either sign."""
RIVALS = (FROZEN, RAW, PCA, K_MEANS, K_MEANS + CUT, RANDOM, RANDOM + CUT)
BOUND = "all activations"
METRICS = {"F1": "f1", "AUROC": "auroc"}
SPLIT = "latents chosen on choosing, probes fitted on train, scored on test"

Code = Callable[[np.ndarray], Any]
"""Activations ``(n, d)`` to a code ``(n, n_latents)``, dense or sparse."""


def run(bench: Workbench, found: Findings) -> None:
    """Probe every value with few latents; take values out through latents; shortcuts; a tower that was shuffled."""
    splits = load_splits(bench)
    names = value_names(splits.train_factors, FACTORS)
    saes = {
        who: bench.saes([bench.config(kind, EXPANSION, seed=seed, **settings) for seed in SEEDS],
                        bench.profile.main_hook_point)
        for who, (kind, settings) in KINDS.items()
    }  # fmt: skip
    probing(found, saes, splits, names)
    editing(found, saes, splits, names)
    shortcuts(found, saes, splits)
    scrambled_tower(bench, found, saes[MATRYOSHKA], splits.test)


def probing(found: Findings, saes: Mapping[str, Sequence[Any]], splits: Splits, names: pd.DataFrame) -> None:
    """Detection of every value by 1, 2 and 5 latents of each dictionary, and by all activations."""
    kinds: dict[str, list[Code]] = {who: [sae.encode_sparse for sae in several] for who, several in saes.items()}
    sae = saes[MATRYOSHKA][0]
    kinds |= rivals(splits.train, sae.n_latents, mean_l0(saes[MATRYOSHKA], splits.train))
    scored: dict[str, list[list[tuple[Detected, Detected]]]] = {}
    for who, several in progress(kinds.items(), "Probes", unit="dictionary"):
        draws = RESAMPLES if len(several) == 1 else 1
        scored[who] = [few_latents(code, splits, names, draws) for code in several]
    probes = LinearProbes.fit(splits.train, truth_table(splits.train_factors, names))
    choosing, test = (rows @ probes.weights + probes.bias for rows in (splits.choosing, splits.test))
    _record(found, scored, scores(choosing, test, splits, names, RESAMPLES)[0])


def rivals(train: np.ndarray, n_latents: int, l0: float) -> dict[str, list[Code]]:
    """Neurons and directions that no autoencoder learned; whole, and as sparse as the autoencoder."""
    def centres(seed: int) -> Directions:
        return directions.clusters(train, n_latents, seed=seed)

    def drawn(seed: int) -> Directions:
        return directions.random(train, n_latents, seed=seed)

    pca = directions.principal(train)
    one_side = Directions(pca.mean, pca.directions[: len(pca.directions) // 2])
    found: dict[str, list[Code]] = {RAW: [lambda rows: rows], PCA: [either_sign(one_side)]}
    for who, make in ((K_MEANS, centres), (RANDOM, drawn)):
        fits = [make(seed) for seed in SEEDS]
        found[who] = [either_sign(fit) for fit in fits]
        found[who + CUT] = [fit.cut(train, l0).encode_sparse for fit in fits]
    return found


def either_sign(fit: Directions) -> Code:
    """Projections as they are: a probe may use a direction for what lies on its other side."""
    return replace(fit, threshold=-np.inf).encode


def mean_l0(saes: Sequence[Any], train: np.ndarray) -> float:
    """Active latents per training picture, averaged over trainings."""
    return float(np.mean([sae.encode_sparse(train.astype(np.float32)).nnz / len(train) for sae in saes]))


def few_latents(code: Code, splits: Splits, names: pd.DataFrame, draws: int) -> list[tuple[Detected, Detected]]:
    """For each number of `LATENTS` how well the best probe of so many detects each value, on test and on choosing."""
    train, choosing, test = (code(rows.astype(np.float32)) for rows in (splits.train, splits.choosing, splits.test))
    learned, told = (truth_table(facts, names) for facts in (splits.train_factors, splits.choosing_factors))
    chosen = choose_latents(choosing, told, max(LATENTS))
    several = SparseProbes.fit_first(train, learned, chosen, LATENTS)
    return [scores(probes.read(choosing), probes.read(test), splits, names, draws) for probes in several]


def scores(
    choosing: np.ndarray, test: np.ndarray, splits: Splits, names: pd.DataFrame, draws: int
) -> tuple[Detected, Detected]:
    """F1 and AUROC of readings ``(n, n_values)`` on test, with the thresholds of choosing; and the F1 there."""
    own, told = np.arange(len(names)), truth_table(splits.choosing_factors, names)
    bars = best_thresholds(choosing, told)
    said = choosing > bars
    with np.errstate(invalid="ignore"):  # a value that nobody shows, and that is never said
        f1 = 2 * (said & told).sum(axis=0) / (said.sum(axis=0) + told.sum(axis=0))
    chosen = names.assign(f1=own, auroc=own, precision=-1, threshold=bars)
    on_test = score_detectors(chosen, test, splits.test_factors, resamples=draws)
    return on_test, Detected(names, {"f1": f1}, {"f1": f1[None]})


def _record(
    found: Findings, scored: Mapping[str, Sequence[Sequence[tuple[Detected, Detected]]]], bound: Detected
) -> None:
    number, rows = bound.names["factor"].value_counts(), []
    everything = GROUPS["all factors"]
    tests = {
        (who, k): [run[place][0] for run in runs] for who, runs in scored.items() for place, k in enumerate(LATENTS)
    }
    tests[BOUND, 0] = [bound]
    for (metric, key), ((who, k), runs) in product(METRICS.items(), tests.items()):
        for group, factors in GROUPS.items():
            estimate, name = over(runs, key, factors), _name(metric, k, group)
            beside = {rival: f"{name}/{rival}" for rival in RIVALS if rival != who} if who in LEARNED else {}
            found.estimate(
                f"{name}/{who}", estimate, n=int(number[list(factors)].sum()), unit=f"mean {metric} of the values",
                seeds=list(SEEDS) if len(runs) > 1 else None, interval_kind=interval_kind(runs), controls=beside,
                split=SPLIT,
            )  # fmt: skip
            rows.append({"metric": metric, "latents": k, "group": group, "who": who, "value": estimate.value,
                         "low": estimate.interval.low, "high": estimate.interval.high})  # fmt: skip
    for (metric, key), who, k in product(METRICS.items(), LEARNED, LATENTS):
        for rival in (*RIVALS, BOUND):
            theirs = tests[rival, 0 if rival == BOUND else k]
            found.estimate(
                f"{_name(metric, k, 'all factors')}/{who} minus {rival}",
                over(tests[who, k], key, everything, minus=theirs), n=int(number.sum()), seeds=list(SEEDS),
                unit=f"difference of mean {metric}", interval_kind=interval_kind(SEEDS), split=SPLIT,
            )  # fmt: skip
    for who, (place, k) in product(LEARNED, enumerate(LATENTS)):
        ours, held_out = ([run[place][part].mean("f1", everything) for run in scored[who]] for part in (1, 0))
        found.estimate(
            f"optimism of {k}/{who}", student(by_training(ours, minus=held_out)), n=int(number.sum()),
            unit="mean F1 on choosing minus on test", seeds=list(SEEDS), interval_kind=interval_kind(SEEDS),
            split="choosing and test",
        )  # fmt: skip
    found.table("probes", pd.DataFrame(rows))


def _name(metric: str, k: int, group: str) -> str:
    return f"{metric} of {k or 'all'}/{group}"


EXPERIMENT = Experiment(
    name="probing",
    title="What do a few latents hold?",
    question="Do a few latents hold a value, and does it go, and nothing else, when they are switched off?",
    paper="",
    run=run,
)
