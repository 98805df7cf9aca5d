"""Is it the SAE? The same scores for SAEs without training, on a tower without training, and for other directions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from vlm_sae_lib.controls import directions
from vlm_sae_lib.controls.reconstruction import untrained_sae
from vlm_sae_lib.controls.rectify import RectifiedNeurons
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.factors import FACTORS, GROUPS, SEEDS, Splits, load_splits, over
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import AT_LEAST, OVER_TRAININGS, RESAMPLES, scored
from vlm_sae_lib.experiments.registry import Experiment
from vlm_sae_lib.progress import progress
from vlm_sae_lib.scores.comparison import Scored, over_seeds
from vlm_sae_lib.scores.detectors import Detected, choose_detectors, score_detectors
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.scores.reconstruction import reconstruction
from vlm_sae_lib.workbench import Workbench

KIND, EXPANSION = "matryoshka_batch_top_k", 4
SAE, RANDOM_TOWER = "SAE", "SAE on an untrained tower"
RIVALS = (
    RANDOM_TOWER,
    "untrained SAE",
    "rectified raw neurons",
    "PCA",
    "PCA, unit variance",
    "ICA",
    "k-means",
    "random directions",
)
"""All at the SAE's L0: what the SAE is held against."""

OF_SEEDS = "smallest and largest of the seeds"


@dataclass(frozen=True, eq=False)
class Measured:
    """One dictionary on the test pictures: MS per scoring encoder, detection by the truth, L0 and two R².

    Attributes:
        r2: of its own decoder, NaN without one.
        readout: R² of the best linear decoder of its code, fitted on train.
    """

    ms: dict[str, Scored]
    detected: Detected
    neurons: int
    l0: float
    r2: float
    readout: float


def run(bench: Workbench, found: Findings) -> None:
    """Measure the SAE and its rivals alike, three seeds each where there is chance in them, and take differences."""
    splits = load_splits(bench)
    dictionaries = {who: [(coder, splits) for coder in several] for who, several in coders(bench, splits).items()}
    dictionaries[RANDOM_TOWER] = [on_untrained_tower(bench, seed) for seed in SEEDS]
    dictionaries["shipped SAE"] = [(bench.shown("main_matryoshka"), splits)]
    measured = {
        who: [measure(bench, coder, seen) for coder, seen in several]
        for who, several in progress(dictionaries.items(), "Dictionaries", unit="kind")
    }
    _facts(found, measured)
    _monosemanticity(bench, found, measured)
    _truth(found, measured)
    found.table("sample", sample(bench, bench.shown("main_matryoshka"), splits))


def coders(bench: Workbench, splits: Splits) -> dict[str, list[Any]]:
    """The SAE and every rival that reads the trained tower, one or one per seed, each cut to the SAE's L0 on train."""
    configs = [bench.config(KIND, EXPANSION, seed=seed) for seed in SEEDS]
    saes, train = bench.saes(configs, bench.profile.main_hook_point), splits.train
    l0 = np.mean([sae.encode_sparse(train.astype(np.float32)).nnz / len(train) for sae in saes])
    n = saes[0].n_latents
    return {
        SAE: saes,
        "untrained SAE": [untrained_sae(train, n, l0, seed=seed) for seed in SEEDS],
        "rectified raw neurons": [RectifiedNeurons.fit(train, l0)],
        "PCA": [directions.principal(train).cut(train, l0)],
        "PCA, unit variance": [directions.principal(train, whiten=True).cut(train, l0)],
        "ICA": [directions.independent(train, seed=seed).cut(train, l0) for seed in SEEDS],
        "k-means": [directions.clusters(train, n, seed=seed).cut(train, l0) for seed in SEEDS],
        "random directions": [directions.random(train, n, seed=seed).cut(train, l0) for seed in SEEDS],
    }


def on_untrained_tower(bench: Workbench, seed: int) -> tuple[Any, Splits]:
    """An SAE of the same settings, trained on the activations of the same tower before any training.

    Raises:
        UserError: a tower whose untrained twin we cannot build.
    """
    if bench.profile.tower != "pocket":
        raise UserError("An untrained twin is known of the pocket tower only; run this with the profile pocket.")
    twin = Workbench(replace(bench.profile, tower=f"pocket:random:{seed}"))
    sae = twin.sae(twin.config(KIND, EXPANSION, seed=seed), twin.profile.main_hook_point)
    return sae, load_splits(twin)


def measure(bench: Workbench, coder: Any, splits: Splits) -> Measured:
    """Everything about one dictionary; neurons and thresholds are chosen on choosing, all is scored on test."""
    codes = {split: coder.encode_sparse(getattr(splits, split).astype(np.float32))
             for split in ("train", "choosing", "test")}  # fmt: skip
    test = codes["test"]
    chosen = choose_detectors(codes["choosing"], splits.choosing_factors, FACTORS)
    rebuilds = hasattr(coder, "decode")
    return Measured(
        ms={encoder: scored(bench, test, encoder) for encoder in bench.scoring_names},
        detected=score_detectors(chosen, test, splits.test_factors, resamples=RESAMPLES),
        neurons=test.shape[1],
        l0=test.nnz / test.shape[0],
        r2=reconstruction(coder, splits.test.astype(np.float32)).r2 if rebuilds else float("nan"),
        readout=directions.linear_readout_r2(codes["train"], splits.train, test, splits.test),
    )


def sample(bench: Workbench, sae: Any, splits: Splits, *, pictures: int = 150, latents: int = 6) -> pd.DataFrame:
    """MS of an SAE's most active latents on the first test pictures alone, by the main scoring encoder."""
    code = sae.encode_sparse(splits.test[:pictures].astype(np.float32))
    picked = np.argsort(-code.getnnz(axis=0), kind="stable")[:latents]
    ms = monosemanticity_score(code[:, picked], bench.embeddings("test").array()[:pictures])
    return pd.DataFrame({"latent": picked, "pictures": pictures, "ms": ms})


def _facts(found: Findings, measured: Mapping[str, Sequence[Measured]]) -> None:
    for who, runs in measured.items():
        seeds = _seeds(runs)
        basis: dict[str, Any] = {
            "interval_kind": OF_SEEDS if seeds else None, "seeds": seeds, "split": "test", "n": runs[0].neurons,
        }  # fmt: skip
        facts: dict[str, list[Any]] = {
            "neurons": [run.neurons for run in runs],
            "L0": [run.l0 for run in runs],
            "R² of its own decoder": [run.r2 for run in runs],
            "R² of a linear decoder": [run.readout for run in runs],
        }
        for what, values in facts.items():
            if not np.isnan(values).any():
                interval = (min(values), max(values)) if seeds and what != "neurons" else None
                mean = values[0] if what == "neurons" else float(np.mean(values))
                found.add(f"{what}/{who}", mean, interval=interval, **basis)


def _monosemanticity(bench: Workbench, found: Findings, measured: Mapping[str, Sequence[Measured]]) -> None:
    rows = []
    for encoder in bench.scoring_names:
        ms = {who: [run.ms[encoder] for run in runs] for who, runs in measured.items()}
        for at_least, name in ((2, f"MS/{encoder}"), (AT_LEAST, f"MS of at least {AT_LEAST} pictures/{encoder}")):
            for who, runs in ms.items():
                estimate = over_seeds(runs, at_least)
                number = sum(int(run.kept(at_least).sum()) for run in runs)
                basis: dict[str, Any] = {"n": number, "split": "test", "unit": "mean MS"}
                basis["interval_kind"] = OVER_TRAININGS
                beside = {rival: f"{name}/{rival}" for rival in RIVALS} if who == SAE else None
                found.estimate(f"{name}/{who}", estimate, controls=beside, seeds=_seeds(runs), **basis)
                rows.append({"encoder": encoder, "at_least": at_least, "who": who, **_row(estimate)})
                if who in RIVALS:
                    difference = over_seeds(ms[SAE], at_least, minus=runs)
                    found.estimate(f"{name}/{SAE} minus {who}", difference, seeds=list(SEEDS), **basis)
    found.table("ms", pd.DataFrame(rows))


def _truth(found: Findings, measured: Mapping[str, Sequence[Measured]]) -> None:
    rows, detected = [], {who: [run.detected for run in runs] for who, runs in measured.items()}
    number = detected[SAE][0].names["factor"].value_counts()
    for who, runs in detected.items():
        for group, factors in GROUPS.items():
            basis: dict[str, Any] = {
                "interval_kind": OVER_TRAININGS, "n": int(number[list(factors)].sum()),
                "unit": "mean F1 of the values", "split": "chosen on choosing, scored on test",
            }  # fmt: skip
            beside = {rival: f"F1/{group}/{rival}" for rival in RIVALS} if who == SAE else None
            found.estimate(f"F1/{group}/{who}", over(runs, "f1", factors), controls=beside, seeds=_seeds(runs), **basis)
            if who in RIVALS:
                difference = over(detected[SAE], "f1", factors, minus=runs)
                found.estimate(f"F1/{group}/{SAE} minus {who}", difference, seeds=list(SEEDS), **basis)
        rows += [{"factor": factor, "who": who, **_row(over(runs, "f1", [factor]))} for factor in FACTORS]
    found.table("f1", pd.DataFrame(rows))


def _seeds(runs: Sequence[Any]) -> list[int] | None:
    return list(SEEDS) if len(runs) > 1 else None


def _row(estimate: Any) -> dict[str, float]:
    low, high = estimate.interval
    return {"value": round(estimate.value, 4), "low": round(low, 4), "high": round(high, 4)}


EXPERIMENT = Experiment(
    name="origins",
    title="Is it the SAE?",
    question="Does what the latents show come from training the autoencoder, from the tower, or from sparsity alone?",
    paper="",
    run=run,
)
