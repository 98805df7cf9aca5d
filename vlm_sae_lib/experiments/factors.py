"""Does an SAE find the factors that the pictures were drawn from? Detection of each value by the best latent.

Beside the rivals stands an upper bound: the best linear direction for each value, which was told the truth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from vlm_sae_lib.controls import directions
from vlm_sae_lib.controls.probes import LinearProbes
from vlm_sae_lib.controls.rectify import RectifiedNeurons
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.experiment import Experiment
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import RESAMPLES, SEEDS, interval_kind
from vlm_sae_lib.experiments.scattering import EXPANSIONS, KINDS, SCATTERED, rounded, scattering
from vlm_sae_lib.progress import progress
from vlm_sae_lib.scores.absorption import value_names
from vlm_sae_lib.scores.comparison import over_trainings
from vlm_sae_lib.scores.detectors import METRICS, Detected, choose_detectors, score_detectors, truth_table
from vlm_sae_lib.statistics.intervals import Estimate
from vlm_sae_lib.taxonomy import RANKS
from vlm_sae_lib.workbench import Workbench

DETECTING = (1, 4)
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
BOUND = "best linear direction, told the truth"
MAIN = " ×4"
"""The autoencoders that are held against the rivals."""


@dataclass(frozen=True, eq=False)
class Splits:
    """Activations at the main hook point and the factors of their pictures, by split."""

    train: np.ndarray
    choosing: np.ndarray
    test: np.ndarray
    train_factors: pd.DataFrame
    choosing_factors: pd.DataFrame
    test_factors: pd.DataFrame


class AlwaysYes:
    """One neuron that is equally active on all pictures: the F1 that a value's frequency alone gives."""

    n_latents = 1

    def encode_sparse(self, activations: np.ndarray) -> sp.csr_matrix:
        return sp.csr_matrix(np.ones((len(activations), 1)))


def run(bench: Workbench, found: Findings) -> None:
    """Detect every value, with ten trainings; with three, how values are split over latents and absorbed by others."""
    splits = load_splits(bench)
    wanted = {(kind, e, seed) for kind in KINDS for e in DETECTING for seed in SEEDS}
    keys = sorted(wanted | {(kind, e, seed) for kind in KINDS for e in EXPANSIONS for seed in SCATTERED})
    configs = [bench.config(kind, expansion, seed=seed) for kind, expansion, seed in keys]
    saes = dict(zip(keys, bench.saes(configs, bench.profile.main_hook_point), strict=True))
    l0 = saes["batch_top_k", 4, 0].encode_sparse(splits.train).nnz / len(splits.train)
    coders: dict[str, list[Any]] = {
        f"{kind} ×{expansion}": [saes[kind, expansion, seed] for seed in SEEDS]
        for kind in KINDS for expansion in DETECTING
    }  # fmt: skip
    coders |= {ALWAYS: [AlwaysYes()], BOUND: [probes(splits)]}
    coders |= rivals(splits.train, l0, saes["batch_top_k", 4, 0].n_latents)
    coders |= {"Matryoshka ×4, shipped": [bench.shown("main_matryoshka")]}
    detected = {
        who: [detect(coder, splits) for coder in several]
        for who, several in progress(coders.items(), "Detection", unit="dictionary")
    }
    for who, (coder, *_) in coders.items():
        neurons = splits.test.shape[1] if coder is None else coder.n_latents
        found.add(f"neurons/{who}", neurons, n=neurons, unit="neurons to choose from")
    _detection(found, detected)
    scattering(found, saes, splits, l0, GROUPS)
    found.table("sample", sample(bench.shown("main_matryoshka"), splits))


def load_splits(bench: Workbench) -> Splits:
    """Raises ``UserError`` for pictures whose factors nobody knows."""
    if not hasattr(bench.pictures("test"), "captions"):
        raise UserError("This experiment needs pictures whose factors are known; run it with the profile pocket.")
    stores = {split: bench.activations(split, bench.profile.main_hook_point) for split in ("train", "choosing", "test")}
    factors = {
        f"{split}_factors": bench.pictures(split).factors.loc[store.image_ids].reset_index(drop=True)
        for split, store in stores.items()
    }
    return Splits(**{split: directions.as_rows(store) for split, store in stores.items()}, **factors)


def probes(splits: Splits) -> LinearProbes:
    """The best linear direction for every value, fitted to the truth of the training pictures."""
    names = value_names(splits.train_factors, FACTORS)
    return LinearProbes.fit(splits.train, truth_table(splits.train_factors, names))


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
    basis = {"split": "chosen on choosing, scored on test"}
    number = detected["raw"][0].names["factor"].value_counts()
    rows, gains = [], []
    for metric, who in product(METRICS, detected):
        runs = detected[who]
        if metric == "precision" and who == BOUND:
            continue  # it is never silent, so that "when it fires" says nothing
        main = metric != "precision" and (who in (ALWAYS, BOUND, *RIVALS) or who.endswith(MAIN))
        for group, factors in GROUPS.items() if main else [("all factors", FACTORS)]:
            beside = {r: f"{metric}/{group}/{r}" for r in (ALWAYS, BOUND, *RIVALS)}
            if metric == "precision":
                del beside[BOUND]
            found.estimate(
                f"{metric}/{group}/{who}", over(runs, metric, factors), n=int(number[list(factors)].sum()),
                unit=f"mean {metric} of the values", seeds=list(SEEDS) if len(runs) > 1 else None,
                interval_kind=interval_kind(runs), controls=beside if who.endswith(MAIN) else None, **basis,
            )  # fmt: skip
        for factor in FACTORS if main and who != "PCA, cut" else ():
            rows.append({"metric": metric, "factor": factor, "who": who, "values": int(number[factor]),
                         **rounded(over(runs, metric, [factor]))})  # fmt: skip
    for who, metric, rival in product([f"{kind}{MAIN}" for kind in KINDS], METRICS[:2], (*RIVALS[:4], BOUND)):
        runs, others = detected[who], detected[rival]
        for group, factors in GROUPS.items():
            found.estimate(
                f"{metric}/{group}/{who} minus {rival}", over(runs, metric, factors, minus=others),
                n=int(number[list(factors)].sum()), unit=f"difference of mean {metric}", seeds=list(SEEDS),
                interval_kind=interval_kind(runs), **basis,
            )  # fmt: skip
        if who.startswith(KINDS[0]) and rival != BOUND:
            gains += [{"metric": metric, "factor": factor, "who": who, "rival": rival,
                       **rounded(over(runs, metric, [factor], minus=others))} for factor in FACTORS]  # fmt: skip
    found.table("detection", pd.DataFrame(rows))
    found.table("gains", pd.DataFrame(gains))


def over(runs: Sequence[Detected], metric: str, factors: Sequence[str], *, minus: Sequence[Detected] = ()) -> Estimate:
    """Mean over trainings of a metric over some factors, or its difference to another kind's, paired by seed."""
    ours, theirs = ([run.mean(metric, factors) for run in part] for part in (runs, minus))
    return over_trainings(ours, minus=theirs)


EXPERIMENT = Experiment(
    name="factors",
    title="Does the autoencoder find the factors?",
    question="How well does the best latent detect each true factor value, and are values split or absorbed?",
    paper="",
    run=run,
)
