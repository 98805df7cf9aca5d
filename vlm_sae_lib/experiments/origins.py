"""Is it the SAE? The same scores for SAEs without training, on a tower without training, and for other directions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from vlm_sae_lib.controls import directions
from vlm_sae_lib.controls.codes import at_rates, before_the_cut
from vlm_sae_lib.experiments import rivals
from vlm_sae_lib.experiments.experiment import Experiment
from vlm_sae_lib.experiments.factors import FACTORS, GROUPS, Splits, load_splits, over
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import POPULATIONS, RESAMPLES, SEEDS, interval_kind
from vlm_sae_lib.experiments.rivals import AT_ONE_CUT, RIVALS, SAE, Fitted
from vlm_sae_lib.progress import progress
from vlm_sae_lib.scores.comparison import Scored, by_training, over_seeds, over_trainings, score
from vlm_sae_lib.scores.detectors import Detected, choose_detectors, score_detectors
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.scores.reconstruction import reconstruction
from vlm_sae_lib.statistics.intervals import OVER_TRAININGS, Estimate, student
from vlm_sae_lib.workbench import Workbench

ONE_CUT, RATES = "MS", "MS at equal rates"
"""Two ways to be as sparse: one threshold for all directions, or direction by direction the rates of the latents."""
READ_OUT = 3
"""Seeds for which a linear decoder is fitted, the costliest part."""
BINS = {
    "2 to 9": (2, 9), "10 to 29": (10, 29), "30 to 99": (30, 99), "100 to 299": (100, 299),
    "300 and more": (300, np.inf),
}  # fmt: skip
"""Of the pictures on which a neuron fires: what a score is at a rate, whoever fires."""


@dataclass(frozen=True, eq=False)
class Measured:
    """One dictionary on the test pictures, at the SAE's L0: MS per scoring encoder, detection by the truth, two R².

    Attributes:
        r2: of its own decoder, NaN without one.
        readout: R² of the best linear decoder of its code, fitted on train; NaN where none was fitted.
    """

    ms: dict[str, Scored]
    detected: Detected
    neurons: int
    l0: float
    r2: float
    readout: float


def run(bench: Workbench, found: Findings) -> None:
    """Measure the SAE and its rivals alike, ten seeds each where there is chance in them, and take differences."""
    splits = load_splits(bench)
    fitted = rivals.dictionaries(bench, splits, SEEDS)
    measured = {
        who: [measure(bench, *one, draws=RESAMPLES if len(several) == 1 else 1, reads=i < READ_OUT)
              for i, one in enumerate(several)]
        for who, several in progress(fitted.items(), "Dictionaries", unit="kind")
    }  # fmt: skip
    equal = equal_rates(bench, fitted)
    gains(bench, found, equal)
    _facts(found, measured)
    at_one_cut = {who: [run.ms for run in runs] for who, runs in measured.items()}
    rows = [*_monosemanticity(bench, found, ONE_CUT, at_one_cut), *_monosemanticity(bench, found, RATES, equal)]
    found.table("ms", pd.DataFrame(rows))
    _by_firing(bench, found, equal)
    _truth(found, measured)
    found.table("sample", sample(bench, bench.shown("main_matryoshka"), splits))


def measure(bench: Workbench, coder: Any, splits: Splits, *, draws: int = RESAMPLES, reads: bool = True) -> Measured:
    """Everything about one dictionary; neurons and thresholds are chosen on choosing, all is scored on test.

    Args:
        draws: of the pictures. One will do where other trainings tell how sure a mean is.
        reads: fit a linear decoder to its code.
    """
    codes = {split: coder.encode_sparse(getattr(splits, split).astype(np.float32))
             for split in ("train", "choosing", "test")}  # fmt: skip
    test, readout = codes["test"], directions.linear_readout_r2
    chosen = choose_detectors(codes["choosing"], splits.choosing_factors, FACTORS)
    return Measured(
        ms=_scored(bench, test, draws),
        detected=score_detectors(chosen, test, splits.test_factors, resamples=draws),
        neurons=test.shape[1],
        l0=test.nnz / test.shape[0],
        r2=reconstruction(coder, splits.test.astype(np.float32)).r2 if hasattr(coder, "decode") else float("nan"),
        readout=readout(codes["train"], splits.train, test, splits.test) if reads else float("nan"),
    )


def equal_rates(bench: Workbench, fitted: Mapping[str, Sequence[Fitted]]) -> dict[str, list[dict[str, Scored]]]:
    """MS of the SAE of each seed, and of each rival cut to the firing rates that its latents have on test.

    One that is without chance is cut anew for each seed's rates.
    """
    codes = [sae.encode_sparse(splits.test.astype(np.float32)) for sae, splits in fitted[SAE]]
    found = {SAE: [_scored(bench, code) for code in codes]}
    for who in progress(RIVALS, "At equal rates", unit="kind"):
        several = list(fitted[who]) if len(fitted[who]) > 1 else [fitted[who][0]] * len(codes)
        found[who] = [
            _scored(bench, at_rates(before_the_cut(coder, splits.test), code.getnnz(axis=0)))
            for code, (coder, splits) in zip(codes, several, strict=True)
        ]
    return found


def gains(bench: Workbench, found: Findings, equal: Mapping[str, Sequence[Mapping[str, Scored]]]) -> None:
    """What decides the claim: for each rival, training and encoder the mean MS of the latents minus the rival's."""
    encoders = bench.scoring_names
    for at_least, population in POPULATIONS:
        number = sum(int(run[encoders[0]].kept(at_least).sum()) for run in equal[SAE])
        for rival in RIVALS:
            values = [_differences(equal, rival, encoder, at_least) for encoder in encoders]
            found.effect(
                f"gain over {rival}{population}", np.stack(values, axis=1), unit="training", of="MS", n=number,
                split="test", cases=encoders, seeds=list(SEEDS),
            )  # fmt: skip


def sample(bench: Workbench, sae: Any, splits: Splits, *, pictures: int = 150, latents: int = 6) -> pd.DataFrame:
    """MS of an SAE's most active latents on the first test pictures alone, by the main scoring encoder."""
    code = sae.encode_sparse(splits.test[:pictures].astype(np.float32))
    picked = np.argsort(-code.getnnz(axis=0), kind="stable")[:latents]
    ms = monosemanticity_score(code[:, picked], bench.embeddings("test").array()[:pictures])
    return pd.DataFrame({"latent": picked, "pictures": pictures, "ms": ms})


def _scored(bench: Workbench, code: sp.csr_matrix, draws: int = 1) -> dict[str, Scored]:
    return {
        encoder: score(code, bench.embeddings("test", encoder).array(), resamples=draws)
        for encoder in bench.scoring_names
    }


def _differences(
    runs: Mapping[str, Sequence[Mapping[str, Scored]]], rival: str, encoder: str, at_least: int
) -> np.ndarray:
    """The SAE's mean MS minus the rival's, training by training."""
    ours, theirs = ([run[encoder].moved(at_least) for run in runs[who]] for who in (SAE, rival))
    return by_training(ours, minus=theirs)


def _facts(found: Findings, measured: Mapping[str, Sequence[Measured]]) -> None:
    for who, runs in measured.items():
        found.add(f"neurons/{who}", runs[0].neurons, n=runs[0].neurons, split="test")
        facts: dict[str, list[float]] = {
            "L0": [run.l0 for run in runs],
            "R² of its own decoder": [run.r2 for run in runs],
            "R² of a linear decoder": [run.readout for run in runs[:READ_OUT]],
        }
        for what, values in facts.items():
            if not np.isnan(values).any():
                interval = student(values).interval if len(values) > 1 else None
                found.add(
                    f"{what}/{who}", float(np.mean(values)), interval=interval, n=runs[0].neurons, split="test",
                    interval_kind=OVER_TRAININGS if interval else None, seeds=_seeds(values),
                )  # fmt: skip


def _monosemanticity(
    bench: Workbench, found: Findings, how: str, ms: Mapping[str, Sequence[Mapping[str, Scored]]]
) -> list[dict[str, Any]]:
    """Mean MS of everybody who is as sparse in one of the two ways, and the SAE's minus each rival's."""
    rows = []
    for encoder in bench.scoring_names:
        for at_least, population in POPULATIONS:
            name = f"{how}{population}/{encoder}"
            for who, several in ms.items():
                runs = [run[encoder] for run in several]
                number = sum(int(run.kept(at_least).sum()) for run in runs)
                estimate = over_seeds(runs, at_least)
                basis: dict[str, Any] = {"n": number, "split": "test", "unit": "mean MS"}
                against = [other for other in AT_ONE_CUT if other in ms] if who == SAE else ()
                found.estimate(
                    f"{name}/{who}", estimate, controls={rival: f"{name}/{rival}" for rival in against},
                    interval_kind=interval_kind(runs), seeds=_seeds(runs), **basis,
                )  # fmt: skip
                rows.append({"how": how, "encoder": encoder, "at_least": at_least, "who": who, **_row(estimate)})
                if who in AT_ONE_CUT:
                    found.estimate(
                        f"{name}/{SAE} minus {who}", student(_differences(ms, who, encoder, at_least)),
                        interval_kind=OVER_TRAININGS, seeds=list(SEEDS), **basis,
                    )  # fmt: skip
    return rows


def _by_firing(bench: Workbench, found: Findings, equal: Mapping[str, Sequence[Mapping[str, Scored]]]) -> None:
    """Mean MS by how often a neuron fires, at equal rates: what rarity alone is worth, and what beyond it."""
    rows, (rarest, *_, busiest) = [], BINS
    for encoder in bench.scoring_names:
        for who, several in equal.items():
            ends = [
                [_inside(run[encoder], *BINS[pictures]).moved(2) for run in several] for pictures in (rarest, busiest)
            ]
            found.estimate(
                f"MS by firing/{encoder}/{who}/{rarest} minus {busiest}", over_trainings(ends[0], minus=ends[1]),
                interval_kind=OVER_TRAININGS, n=len(several), seeds=list(SEEDS), split="test", unit="mean MS",
            )  # fmt: skip
            for pictures, (low, high) in BINS.items():
                runs = [_inside(run[encoder], low, high) for run in several]
                number = sum(int(run.kept().sum()) for run in runs)
                estimate = over_seeds(runs)
                found.estimate(
                    f"MS by firing/{encoder}/{who}/{pictures}", estimate, interval_kind=OVER_TRAININGS, n=number,
                    seeds=list(SEEDS), split="test", unit=f"mean MS of those that fire on {pictures} pictures",
                )  # fmt: skip
                basis = {"encoder": encoder, "who": who, "pictures": pictures, "neurons": number}
                rows.append(basis | _row(estimate))
    found.table("by firing", pd.DataFrame(rows))


def _inside(run: Scored, low: float, high: float) -> Scored:
    kept = (run.pictures >= low) & (run.pictures <= high)
    return Scored(run.ms[kept], run.draws[:, kept], run.pictures[kept])


def _truth(found: Findings, measured: Mapping[str, Sequence[Measured]]) -> None:
    rows, detected = [], {who: [run.detected for run in runs] for who, runs in measured.items()}
    number = detected[SAE][0].names["factor"].value_counts()
    for who, runs in detected.items():
        for group, factors in GROUPS.items():
            basis: dict[str, Any] = {
                "n": int(number[list(factors)].sum()), "unit": "mean F1 of the values",
                "split": "chosen on choosing, scored on test",
            }  # fmt: skip
            found.estimate(
                f"F1/{group}/{who}", over(runs, "f1", factors), interval_kind=interval_kind(runs), seeds=_seeds(runs),
                controls={rival: f"F1/{group}/{rival}" for rival in AT_ONE_CUT} if who == SAE else None, **basis,
            )  # fmt: skip
            if who in AT_ONE_CUT:
                found.estimate(
                    f"F1/{group}/{SAE} minus {who}", over(detected[SAE], "f1", factors, minus=runs),
                    interval_kind=OVER_TRAININGS, seeds=list(SEEDS), **basis,
                )  # fmt: skip
        rows += [{"factor": factor, "who": who, **_row(over(runs, "f1", [factor]))} for factor in FACTORS]
    found.table("f1", pd.DataFrame(rows))


def _seeds(runs: Sequence[Any]) -> list[int] | None:
    return list(SEEDS[: len(runs)]) if len(runs) > 1 else None


def _row(estimate: Estimate) -> dict[str, float]:
    low, high = estimate.interval
    return {"value": round(estimate.value, 4), "low": round(low, 4), "high": round(high, 4)}


EXPERIMENT = Experiment(
    name="origins",
    title="Is it the SAE?",
    question="Does what the latents show come from training the autoencoder, from the tower, or from sparsity alone?",
    paper="",
    run=run,
)
