"""Does an SAE find the factors that the pictures were drawn from? Detection, splitting and absorption, by the truth."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from vlm_sae_lib.controls import directions
from vlm_sae_lib.controls.rectify import RectifiedNeurons
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import OVER_TRAININGS, RESAMPLES
from vlm_sae_lib.experiments.registry import Experiment
from vlm_sae_lib.progress import progress
from vlm_sae_lib.scores.absorption import absorption, splitting, value_draws
from vlm_sae_lib.scores.comparison import over_trainings
from vlm_sae_lib.scores.detectors import METRICS, Detected, choose_detectors, firing, score_detectors, truth_table
from vlm_sae_lib.statistics.intervals import Estimate
from vlm_sae_lib.taxonomy import RANKS
from vlm_sae_lib.workbench import Workbench

KINDS, SEEDS = ("matryoshka_batch_top_k", "batch_top_k"), (0, 1, 2)
EXPANSIONS, DETECTING = (1, 2, 4, 8), (1, 4)
FACTORS = (*RANKS, "colour", "pattern", "habitat")
GROUPS = {
    "all factors": FACTORS,
    "coarse ranks": RANKS[:4],
    "fine ranks": RANKS[4:],
    "colour, pattern, habitat": FACTORS[7:],
}
"""Kingdom to order are the coarse ranks, family to species the fine ones."""
RIVALS = ("raw", "rectified", "rectified, cut", "PCA", "PCA, cut", "random directions, cut")
ALWAYS = "always yes"
MAIN = " ×4"
"""The autoencoders that are held against the rivals."""
OVER_VALUES = f"{RESAMPLES} bootstrap draws, of the seeds first and then of the values, middle 95 %"


@dataclass(frozen=True, eq=False)
class Splits:
    """Activations at the main hook point and the factors of the two splits."""

    train: np.ndarray
    choosing: np.ndarray
    test: np.ndarray
    choosing_factors: pd.DataFrame
    test_factors: pd.DataFrame


class AlwaysYes:
    """One neuron that is equally active on all pictures: the F1 that a value's frequency alone gives."""

    n_latents = 1

    def encode_sparse(self, activations: np.ndarray) -> sp.csr_matrix:
        return sp.csr_matrix(np.ones((len(activations), 1)))


def run(bench: Workbench, found: Findings) -> None:
    """Detect every value, and see how values are split over latents and absorbed by finer ones."""
    splits = load_splits(bench)
    keys = [(kind, expansion, seed) for kind in KINDS for expansion in EXPANSIONS for seed in SEEDS]
    configs = [bench.config(kind, expansion, seed=seed) for kind, expansion, seed in keys]
    saes = dict(zip(keys, bench.saes(configs, bench.profile.main_hook_point), strict=True))
    l0 = saes["batch_top_k", 4, 0].encode_sparse(splits.train).nnz / len(splits.train)
    coders: dict[str, list[Any]] = {
        f"{kind} ×{expansion}": [saes[kind, expansion, seed] for seed in SEEDS]
        for kind in KINDS for expansion in DETECTING
    }  # fmt: skip
    coders |= {ALWAYS: [AlwaysYes()]} | rivals(splits.train, l0, saes["batch_top_k", 4, 0].n_latents)
    coders |= {"Matryoshka ×4, shipped": [bench.shown("main_matryoshka")]}
    detected = {
        who: [detect(coder, splits) for coder in several]
        for who, several in progress(coders.items(), "Detection", unit="dictionary")
    }
    for who, (coder, *_) in coders.items():
        neurons = splits.test.shape[1] if coder is None else coder.n_latents
        found.add(f"neurons/{who}", neurons, n=neurons, unit="neurons to choose from")
    _detection(found, detected)
    _scattering(found, saes, splits, l0)
    found.table("sample", sample(bench.shown("main_matryoshka"), splits))


def load_splits(bench: Workbench) -> Splits:
    """Raises ``UserError`` for pictures whose factors nobody knows."""
    if not hasattr(bench.pictures("test"), "captions"):
        raise UserError("This experiment needs pictures whose factors are known; run it with the profile pocket.")
    stores = {split: bench.activations(split, bench.profile.main_hook_point) for split in ("train", "choosing", "test")}
    factors = {
        split: bench.pictures(split).factors.loc[stores[split].image_ids].reset_index(drop=True)
        for split in ("choosing", "test")
    }
    return Splits(**{split: directions.as_rows(store) for split, store in stores.items()},
                  choosing_factors=factors["choosing"], test_factors=factors["test"])  # fmt: skip


def rivals(train: np.ndarray, l0: float, n_latents: int) -> dict[str, list[Any]]:
    """What the SAE is held against: neurons and directions, whole and cut to the SAE's L0; None are the raw neurons."""
    pca = directions.principal(train)
    random = [directions.random(train, n_latents, seed=seed).cut(train, l0) for seed in SEEDS]
    fits = [None, RectifiedNeurons.fit(train), RectifiedNeurons.fit(train, l0), pca, pca.cut(train, l0)]
    return dict(zip(RIVALS, [*([fit] for fit in fits), random], strict=True))


def detect(coder: Any, splits: Splits) -> Detected:
    """Choose a neuron for each value on the choosing pictures, and score it on the test pictures."""
    choosing, test = (
        rows if coder is None else coder.encode_sparse(rows.astype(np.float32))
        for rows in (splits.choosing, splits.test)
    )
    chosen = choose_detectors(choosing, splits.choosing_factors, FACTORS)
    return score_detectors(chosen, test, splits.test_factors, resamples=RESAMPLES)


def sample(sae: Any, splits: Splits, *, pictures: int = 200, every: int = 25) -> pd.DataFrame:
    """A few chosen latents of an SAE: on how many of the first test pictures each is right, wrong, wrongly silent."""
    code = sae.encode_sparse(splits.choosing.astype(np.float32))
    chosen = choose_detectors(code, splits.choosing_factors, FACTORS).iloc[::every].reset_index(drop=True)
    first = sae.encode_sparse(splits.test[:pictures].astype(np.float32)).toarray()[:, chosen["f1"]]
    said, truth = first > chosen["threshold"].to_numpy(), truth_table(splits.test_factors[:pictures], chosen)
    counts = {"right": said & truth, "wrong": said & ~truth, "silent": ~said & truth}
    rows = chosen.rename(columns={"f1": "latent"})[["factor", "value", "latent", "threshold"]]
    return rows.assign(pictures=pictures, **{name: part.sum(axis=0) for name, part in counts.items()})


def _detection(found: Findings, detected: Mapping[str, list[Detected]]) -> None:
    basis = {"interval_kind": OVER_TRAININGS, "split": "chosen on choosing, scored on test"}
    number = detected["raw"][0].names["factor"].value_counts()
    rows, gains = [], []
    for metric in METRICS:
        for who, runs in detected.items():
            main = metric != "precision" and (who in (ALWAYS, *RIVALS) or who.endswith(MAIN))
            for group, factors in GROUPS.items() if main else [("all factors", FACTORS)]:
                found.estimate(
                    f"{metric}/{group}/{who}", over(runs, metric, factors), n=int(number[list(factors)].sum()),
                    unit=f"mean {metric} of the values", seeds=list(SEEDS) if len(runs) > 1 else None, **basis,
                    controls={r: f"{metric}/{group}/{r}" for r in (ALWAYS, *RIVALS)} if who.endswith(MAIN) else None,
                )  # fmt: skip
            for factor in FACTORS if main and who != "PCA, cut" else ():
                rows.append({"metric": metric, "factor": factor, "who": who, "values": int(number[factor]),
                             **_rounded(over(runs, metric, [factor]))})  # fmt: skip
    for who, metric, rival in product([f"{kind}{MAIN}" for kind in KINDS], METRICS[:2], RIVALS[:4]):
        runs, others = detected[who], detected[rival]
        for group, factors in GROUPS.items():
            found.estimate(
                f"{metric}/{group}/{who} minus {rival}", over(runs, metric, factors, minus=others),
                n=int(number[list(factors)].sum()), unit=f"difference of mean {metric}", seeds=list(SEEDS), **basis,
            )  # fmt: skip
        gains += [{"metric": metric, "factor": factor, "who": who, "rival": rival,
                   **_rounded(over(runs, metric, [factor], minus=others))}
                  for factor in FACTORS if who.startswith(KINDS[0])]  # fmt: skip
    found.table("detection", pd.DataFrame(rows))
    found.table("gains", pd.DataFrame(gains))


def over(runs: Sequence[Detected], metric: str, factors: Sequence[str], *, minus: Sequence[Detected] = ()) -> Estimate:
    """Mean over seeds of a metric over some factors, or its difference to another kind's, paired by draw."""
    ours, theirs = ([run.mean(metric, factors) for run in part] for part in (runs, minus))
    return over_trainings(ours, minus=theirs)


def _scattering(found: Findings, saes: Mapping[tuple, Any], splits: Splits, l0: float) -> None:
    """Splitting and absorption at each expansion factor, Matryoshka against BatchTopK, and random directions."""
    rows, split, absorbed = [], {}, {}
    for expansion in progress(EXPANSIONS, "Splitting and absorption", unit="width"):
        width = saes[KINDS[0], expansion, 0].n_latents
        cut = [directions.random(splits.train, width, seed=seed).cut(splits.train, l0) for seed in SEEDS]
        for kind in (*KINDS, "random directions"):
            several = cut if kind == "random directions" else [saes[kind, expansion, seed] for seed in SEEDS]
            fires = [[firing(c.encode_sparse(rows.astype(np.float32))) for rows in (splits.choosing, splits.test)]
                     for c in several]  # fmt: skip
            facts = splits.choosing_factors, splits.test_factors
            split[kind, expansion] = [splitting(a, facts[0], b, facts[1], FACTORS) for a, b in fires]
            if kind in KINDS:
                absorbed[kind, expansion] = [
                    absorption(a, facts[0], b, facts[1], RANKS[:-1], RANKS[-1]) for a, b in fires
                ]
    basis: dict[str, Any] = {
        "split": "chosen on choosing, scored on test", "seeds": list(SEEDS), "interval_kind": OVER_VALUES,
    }  # fmt: skip
    for (kind, expansion), runs in split.items():
        for group, factors in GROUPS.items():
            kept = runs[0]["factor"].isin(factors).to_numpy()
            for what in ("latents", "recall", "union_recall"):
                estimate = over_trainings([value_draws(r[what].to_numpy()[kept], resamples=RESAMPLES) for r in runs])
                rows.append({"kind": kind, "expansion": expansion, "group": group, "what": what,
                             "values": int(kept.sum()), **_rounded(estimate)})  # fmt: skip
                if group != "all factors" and what == "latents":
                    control = {"random directions": f"own latents/{group}/random directions ×{expansion}"}
                    found.estimate(f"own latents/{group}/{kind} ×{expansion}", estimate, n=int(kept.sum()),
                                   unit="latents of precision 0.8 per value", **basis,
                                   controls=control if kind in KINDS else None)  # fmt: skip
    found.table("splitting", pd.DataFrame(rows))
    for group, factors in GROUPS.items():
        kept = split[KINDS[0], 1][0]["factor"].isin(factors).to_numpy()
        for kind in KINDS:
            wide, narrow = ([value_draws(r["latents"].to_numpy()[kept], resamples=RESAMPLES) for r in split[kind, e]]
                            for e in (EXPANSIONS[-1], EXPANSIONS[0]))  # fmt: skip
            found.estimate(f"own latents/{group}/{kind} ×8 minus ×1", over_trainings(wide, minus=narrow),
                           n=int(kept.sum()), unit="latents of precision 0.8 per value", **basis)  # fmt: skip
    _absorption(found, absorbed, basis)


def _absorption(found: Findings, absorbed: Mapping[tuple, list[pd.DataFrame]], basis: dict[str, Any]) -> None:
    rows = []
    for expansion in EXPANSIONS:
        draws = {}
        for kind in KINDS:
            runs, name = absorbed[kind, expansion], f"absorption ×{expansion}/{kind}"
            with_main = sum(int((r["main"] >= 0).sum()) for r in runs)
            found.add(f"{name}/coarse values with a main latent", with_main, n=sum(map(len, runs)), seeds=list(SEEDS),
                      split="choosing", unit="values of all seeds")  # fmt: skip
            for run in runs:
                run["excess"] = run["concentration"] - run["by_chance"]
            for what in ("recall", "absorbed", "concentration", "by_chance", "excess"):
                draws[kind, what] = _defined(value_draws(r[what].to_numpy(), resamples=RESAMPLES) for r in runs)
                estimate, n = over_trainings(draws[kind, what]), sum(int(r[what].notna().sum()) for r in runs)
                rows.append({"kind": kind, "expansion": expansion, "what": what, "n": n, **_rounded(estimate)})
                if expansion == 4:
                    dealt = {"own latents dealt to other children": f"{name}/by_chance"}
                    found.estimate(f"{name}/{what}", estimate, n=n, **basis,
                                   controls=dealt if what == "concentration" else None)  # fmt: skip
        for what in ("absorbed", "excess", "recall"):
            both = [part[what].notna() for kind in KINDS for part in absorbed[kind, expansion]]
            found.estimate(f"absorption ×{expansion}/Matryoshka minus BatchTopK/{what}",
                           over_trainings(draws[KINDS[0], what], minus=draws[KINDS[1], what]),
                           n=int(sum(both).sum()), **basis)  # fmt: skip
    found.table("absorption", pd.DataFrame(rows))


def _defined(runs: Iterable[tuple[float, np.ndarray]]) -> list[tuple[float, np.ndarray]]:
    """The seeds in which a statistic is defined; one without a value, if it is so in none."""
    runs = list(runs)
    return [run for run in runs if not np.isnan(run[0])] or runs[:1]


def _rounded(estimate: Estimate) -> dict[str, float]:
    parts = (estimate.value, *estimate.interval)
    return dict(zip(("value", "low", "high"), (round(part, 4) for part in parts), strict=True))


EXPERIMENT = Experiment(
    name="factors",
    title="Does the autoencoder find the factors?",
    question="How well does the best latent detect each true factor value, and are values split or absorbed?",
    paper="",
    run=run,
)
