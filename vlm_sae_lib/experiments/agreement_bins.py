"""Agreement by bins of the difference in MS (paper Fig. 4, Tab. A1), and how fast it grows from bin to bin."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import AT_LEAST
from vlm_sae_lib.experiments.pools import OBSERVERS, Neurons, Study
from vlm_sae_lib.records.results import published
from vlm_sae_lib.scores import alignment
from vlm_sae_lib.scores.alignment import WIDTH, bin_of, prefers_first, shares_by_bin
from vlm_sae_lib.statistics.intervals import OVER_TRAININGS, student

PAPER_ENCODERS = ("DINOv2 ViT-B", "CLIP ViT-B")
"""Whose part the two scoring encoders play."""

Chooser = Callable[[Neurons, Int[np.ndarray, "n 2"]], Bool[np.ndarray, " n"]]


def every(neurons: Neurons, pairs: Int[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
    """The plan's population (a)."""
    return np.ones(len(pairs), dtype=bool)


def active(neurons: Neurons, pairs: Int[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
    """The plan's population (b): pairs of two neurons of at least ten test pictures."""
    return (neurons.facts["pictures"].to_numpy()[pairs] >= AT_LEAST).all(axis=1)


SUBSETS: dict[str, Chooser] = {"": every, f"neurons of at least {AT_LEAST} pictures, ": active}


def decided(study: Study, observer: str, choose: Chooser = every) -> Int[np.ndarray, "n 2"]:
    """The pairs of a subset between which an observer sees a difference."""
    neurons, pairs = study
    truth = neurons.facts[observer].to_numpy()[pairs]
    return pairs[choose(neurons, pairs) & (truth[:, 0] != truth[:, 1])]


def same_side(
    values: Float[np.ndarray, " n_neurons"], truth: Float[np.ndarray, " n_neurons"], pairs: Int[np.ndarray, "n 2"]
) -> Bool[np.ndarray, " n"]:
    """Whether two numbers of the neurons prefer the same one of each pair."""
    return prefers_first(*values[pairs.T]) == prefers_first(*truth[pairs.T])


def record_bins(found: Findings, studies: Sequence[Study], encoders: Sequence[str], seeds: Sequence[int]) -> None:
    """The paper's Table A1: bins of either encoder's difference, alignment of both; the main encoder's as results."""
    papers = dict(zip(encoders, PAPER_ENCODERS, strict=True))
    tables = []
    for binned_by, observer, encoder in product(encoders, OBSERVERS, encoders):
        table = aligned_by_bin(studies, binned_by, encoder, observer)
        where = {"binned_by": papers[binned_by], "scoring_encoder": papers[encoder]}
        table["paper"] = [_paper_bin(low, **where) for low in table["bin_low"]]
        tables.append(table.assign(binned_by=binned_by, encoder=encoder, observer=observer))
    found.table("bins", pd.concat(tables))
    encoder, first = encoders[0], next(iter(OBSERVERS))
    where = {"binned_by": papers[encoder], "scoring_encoder": papers[encoder]}
    basis: dict[str, Any] = {
        "interval_kind": OVER_TRAININGS, "seeds": list(seeds), "split": "train top pictures, test MS",
    }  # fmt: skip
    for subset, choose in SUBSETS.items():
        for row in aligned_by_bin(studies, encoder, encoder, first, choose).itertuples():
            paper = None if subset else _paper_bin(row.bin_low, **where)
            found.add(
                f"{encoder}/{first}/{subset}difference {row.bin_low:.1f} to {row.bin_high:.1f}", row.alignment,
                interval=(row.low, row.high), n=row.pairs, unit="share of pairs", paper_value=paper,
                source="v3 Fig. 4 and Table A1" if paper is not None else None, **basis,
            )  # fmt: skip
        for observer in OBSERVERS:
            slopes = [_slope(study, encoder, observer, choose) for study in studies]
            found.estimate(
                f"{encoder}/{observer}/{subset}slope over the difference", student(slopes), **basis,
                n=sum(len(decided(study, observer, choose)) for study in studies),
                unit=f"share of pairs for each {WIDTH} of MS",
            )  # fmt: skip


def aligned_by_bin(
    studies: Sequence[Study], binned_by: str, encoder: str, observer: str, choose: Chooser = every
) -> pd.DataFrame:
    """Per bin of one encoder's difference, how often another's MS prefers the neuron that the observer prefers.

    ``bin_low, bin_high, pairs`` of all studies; ``alignment``, the mean of the studies that have such pairs, with
    Student's t over them as ``low, high`` (NaN for one alone); and ``smallest, largest`` of the studies: what the
    neurons of one training would have said.
    """
    runs: dict[int, list[float]] = {}
    pairs_of: Counter = Counter()
    for study in studies:
        aligned, bins = _binned(study, binned_by, encoder, observer, choose)
        pairs_of.update(bins[bins >= 0].tolist())
        for number, share in shares_by_bin(aligned, bins).items():
            runs.setdefault(number, []).append(share)
    rows = []
    for number in sorted(runs):
        mean = student(runs[number])
        edges = round(number * WIDTH, 6), round((number + 1) * WIDTH, 6)
        rows.append((*edges, pairs_of[number], mean.value, *mean.interval, min(runs[number]), max(runs[number])))
    columns = ["bin_low", "bin_high", "pairs", "alignment", "low", "high", "smallest", "largest"]
    return pd.DataFrame(rows, columns=columns)


def _binned(
    study: Study, binned_by: str, encoder: str, observer: str, choose: Chooser
) -> tuple[Bool[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Of each pair that counts, whether MS prefers the observer's neuron, and its bin."""
    neurons, pairs = study[0], decided(study, observer, choose)
    pairs = pairs[~np.isnan(neurons.ms[encoder][pairs]).any(axis=1)]
    truth = neurons.facts[observer].to_numpy()
    return same_side(neurons.ms[encoder], truth, pairs), bin_of(*neurons.ms[binned_by][pairs.T])


def _slope(study: Study, encoder: str, observer: str, choose: Chooser) -> float:
    """Least squares over one training's bins of enough pairs, each weighted alike; NaN for fewer than two bins."""
    aligned, bins = _binned(study, encoder, encoder, observer, choose)
    shares = shares_by_bin(aligned, bins, alignment.AT_LEAST)
    return float(np.polyfit(list(shares), list(shares.values()), 1)[0]) if len(shares) > 1 else float("nan")


def _paper_bin(low: float, **where: str) -> float | None:
    if low >= 0.9 or (where["binned_by"] == PAPER_ENCODERS[1] and low >= 0.5):
        return None
    return published("user_study", bin_low=low, statistic="alignment", **where)
