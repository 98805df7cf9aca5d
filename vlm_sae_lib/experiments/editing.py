"""Taking a value out of activations through its latents: does it go, and does the rest stay; part of `probing`."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from vlm_sae_lib.controls.disentangling import BOTH, CAUSE, ISOLATION, answers, cause_and_isolation, entailed
from vlm_sae_lib.controls.erasure import contribution, of_length, others_that_fire, project_out
from vlm_sae_lib.controls.probes import LinearProbes
from vlm_sae_lib.controls.sparse_probes import SparseProbes, choose_latents
from vlm_sae_lib.experiments.factors import GROUPS, Splits, over
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import RESAMPLES, SEEDS, interval_kind
from vlm_sae_lib.progress import progress
from vlm_sae_lib.scores.detectors import Detected, truth_table

EDITED = (1, 5)
"""Latents that are chosen for each value, of which those that speak for it are switched off."""
INSTEAD, DIRECTION = "others instead", "best linear direction projected out"
WHAT = (CAUSE, ISOLATION, BOTH)
LENGTH = "length of the edit, as a share of the activation's"

Push = Callable[[Int[np.ndarray, " n"]], Float[np.ndarray, "n d"]]
"""What is taken off each picture's activation, for the row of ``names`` that is taken out of each."""


class Reader:
    """The dense probe of the training pictures, and what it answers on test before and after an edit."""

    def __init__(self, splits: Splits, names: pd.DataFrame) -> None:
        self.names, self.rows = names, splits.test
        self.probes = LinearProbes.fit(splits.train, truth_table(splits.train_factors, names))
        self.readings = splits.test @ self.probes.weights + self.probes.bias
        self.before = answers(self.readings, names)
        self.truth = truth_table(splits.test_factors, names)
        self.entails = entailed(splits.train_factors, names)
        self.scale = np.linalg.norm(splits.test - splits.train.mean(axis=0), axis=1)

    def after(self, push: Push, *, resamples: int = 1) -> tuple[Detected, float]:
        """Cause and isolation of an edit of every value, and its mean length beside the activation's."""
        found, lengths = {}, []
        for factor in self.before:
            own = np.flatnonzero(self.names["factor"] == factor)
            off = push(own[self.truth[:, own].argmax(axis=1)])
            found[factor] = answers(self.readings - off @ self.probes.weights, self.names)
            lengths.append(float((np.linalg.norm(off, axis=1) / self.scale).mean()))
        scored = cause_and_isolation(
            self.before, found, self.truth, self.names, self.entails, resamples=resamples
        )
        return scored, float(np.mean(lengths))


def editing(found: Findings, saes: Mapping[str, Sequence[Any]], splits: Splits, names: pd.DataFrame) -> None:
    """Switch off the latents of each value, as many others, or project out the direction that was told the value."""
    reader = Reader(splits, names)
    edits: dict[str, list[tuple[Detected, float]]] = {}
    for (who, several), k in progress([*product(saes.items(), EDITED)], "Edits", unit="kind"):
        for sae, seed in zip(several, SEEDS, strict=False):
            chosen = speaking(sae, splits, truth_table(splits.choosing_factors, names), k)
            ours, theirs = latent_pushes(sae, splits.test, chosen, seed)
            edits.setdefault(f"{who}, {k}", []).append(reader.after(ours))
            edits.setdefault(f"{who}, {k} {INSTEAD}", []).append(reader.after(theirs))
    edits[DIRECTION] = [reader.after(direction_push(splits, names), resamples=RESAMPLES)]
    for factor, said in reader.before.items():
        share = reader.truth[np.arange(len(said)), said].mean()
        found.add(f"answered rightly before any edit/{factor}", float(share), n=len(said), split="test")
    _record(found, edits, list(saes))


def speaking(sae: Any, splits: Splits, truth: Bool[np.ndarray, "n n_values"], k: int) -> Int[np.ndarray, "n_values k"]:
    """Of k latents that are chosen for each value on choosing, those that speak for it; -1 for the others."""
    code = sae.encode_sparse(splits.choosing.astype(np.float32))
    return SparseProbes.fit(code, truth, choose_latents(code, truth, k)).speaking_for()


def latent_pushes(
    sae: Any, rows: np.ndarray, chosen: Int[np.ndarray, "n_values k"], seed: int
) -> tuple[Push, Push]:
    """What the latents of a value add to each picture; and what as many others that fire on it add, made as long."""
    code = sae.encode_sparse(rows.astype(np.float32)).toarray().astype(np.float64)
    decoder, rng = sae.w_dec.numpy().astype(np.float64), np.random.default_rng(seed)

    def ours(value: np.ndarray) -> np.ndarray:
        return contribution(code, decoder, chosen[value])

    def theirs(value: np.ndarray) -> np.ndarray:
        others = others_that_fire(code, chosen[value], rng)
        return of_length(contribution(code, decoder, others), ours(value))

    return ours, theirs


def direction_push(splits: Splits, names: pd.DataFrame) -> Push:
    """What lies along the best linear direction of a value beyond the mean; told the truth of the choosing pictures,
    so that it is not the very direction by which the probe reads."""
    told = LinearProbes.fit(splits.choosing, truth_table(splits.choosing_factors, names))
    mean = splits.choosing.mean(axis=0)

    def push(value: np.ndarray) -> np.ndarray:
        off = np.zeros_like(splits.test)
        for one in np.unique(value):
            shown = splits.test[value == one]
            if told.weights[:, one].any():
                off[value == one] = shown - project_out(shown, told.weights[:, [one]].T, mean)
        return off

    return push


def _record(found: Findings, edits: Mapping[str, list[tuple[Detected, float]]], kinds: Sequence[str]) -> None:
    scored = {who: [run for run, _ in several] for who, several in edits.items()}
    number = scored[DIRECTION][0].names["factor"].value_counts()
    basis: dict[str, Any] = {"split": "latents chosen on choosing, probes fitted on train, scored on test"}
    rows = []
    for who, runs in scored.items():
        seeds = list(SEEDS[: len(runs)]) if len(runs) > 1 else None
        found.add(f"{LENGTH}/{who}", float(np.mean([length for _, length in edits[who]])), n=len(runs), seeds=seeds,
                  split="test")  # fmt: skip
        for what, (group, factors) in product(WHAT, GROUPS.items()):
            estimate = over(runs, what, factors)
            beside = {r: f"{what}/{group}/{r}" for r in (f"{who} {INSTEAD}", DIRECTION)}
            found.estimate(
                f"{what}/{group}/{who}", estimate, n=int(number[list(factors)].sum()), unit="mean share, of the values",
                seeds=seeds, interval_kind=interval_kind(runs), controls=beside if f"{who} {INSTEAD}" in edits else {},
                **basis,
            )  # fmt: skip
            rows.append({"what": what, "group": group, "who": who, "value": round(estimate.value, 4),
                         "low": estimate.interval.low, "high": estimate.interval.high})  # fmt: skip
    for (place, who), k, what in product(enumerate(kinds), EDITED, WHAT):
        for rival in (f"{who}, {k} {INSTEAD}", DIRECTION, *(f"{other}, {k}" for other in kinds[place + 1 :])):
            found.estimate(
                f"{what}/all factors/{who}, {k} minus {rival}",
                over(scored[f"{who}, {k}"], what, GROUPS["all factors"], minus=scored[rival]), n=int(number.sum()),
                unit="difference of mean shares", seeds=list(SEEDS), interval_kind=interval_kind(SEEDS), **basis,
            )  # fmt: skip
    undefined = {what: int(np.isnan(scored[DIRECTION][0].scores[what]).sum()) for what in WHAT[:2]}
    for what, many in undefined.items():
        found.add(f"values of undefined {what}", many, n=int(number.sum()), unit="values", split="test")
    found.table("edits", pd.DataFrame(rows))
