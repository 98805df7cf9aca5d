"""A probe that could learn the habitat in place of the class, with the habitat's latents switched off; in `probing`.

Each class is shown in one habitat alone, a different one for each, and tested there and in all the others. Every way to
pair them is taken in turn, so that each test picture is seen once where the two go together and otherwise where they do
not.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from vlm_sae_lib.controls.erasure import as_busy, project_out
from vlm_sae_lib.controls.probes import LinearProbes
from vlm_sae_lib.experiments.factors import Splits
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import SEEDS
from vlm_sae_lib.progress import progress
from vlm_sae_lib.scores.detectors import truth_table
from vlm_sae_lib.scores.truth import detection_scores
from vlm_sae_lib.statistics.intervals import OVER_TRAININGS, RESAMPLES, bootstrap_mean, student

CORE, SPURIOUS = "class", "habitat"
NAMED = 5
"""Latents for each habitat: those of the best F1 on choosing."""
OFF, OTHERS, LATE = "habitat latents off", "as many others off", "habitat latents off when tested only"
NOTHING, FAIR = "nothing off", "nothing off, any habitat in training"
DIRECTIONS, MEANS = "habitat directions projected out", "differences of habitat means projected out"
"""The best direction to read a habitat by is not the one along which the pictures of habitats differ most; to take a
habitat out, the second is the stronger rival."""
TOGETHER, APART = "together", "apart"
OVER_PICTURES = f"{RESAMPLES} bootstrap draws of the pictures"


class Worlds:
    """Pictures of the commonest classes, and every pairing of each class with a habitat of its own.

    Attributes:
        train, test: which rows show one of the classes.
        truth: (n_train, n_classes) of those rows.
    """

    def __init__(self, splits: Splits) -> None:
        habitats = np.unique(splits.train_factors[SPURIOUS].astype(str))
        common = splits.train_factors[CORE].astype(str).value_counts().sort_index().sort_values(
            ascending=False, kind="stable"
        )  # fmt: skip
        self.classes = np.sort(common.index.to_numpy()[: len(habitats)])
        self.train, self.test = (
            np.isin(f[CORE].astype(str), self.classes) for f in (splits.train_factors, splits.test_factors)
        )
        ours, theirs = splits.train_factors[self.train], splits.test_factors[self.test]
        self.truth = ours[CORE].astype(str).to_numpy()[:, None] == self.classes
        self.wanted = np.searchsorted(self.classes, theirs[CORE].astype(str))
        self._pairing = [
            (np.searchsorted(habitats, f[SPURIOUS].astype(str)) - np.searchsorted(self.classes, f[CORE].astype(str)))
            % len(habitats)
            for f in (ours, theirs)
        ]
        self.pairings = range(len(habitats))

    def seen(self, pairing: int) -> Bool[np.ndarray, " n_train"]:
        """The training pictures whose class is in its own habitat."""
        return self._pairing[0] == pairing

    def as_many(self, pairing: int) -> Bool[np.ndarray, " n_train"]:
        """As many training pictures of each class, whatever the habitat."""
        rng, drawn = np.random.default_rng(pairing), np.zeros(len(self.truth), dtype=bool)
        for shown in self.truth.T:
            rows = np.flatnonzero(shown)
            drawn[rng.choice(rows, (shown & self.seen(pairing)).sum(), replace=False)] = True
        return drawn

    def probes(self, rows: np.ndarray, *, fair: bool = False) -> list[LinearProbes]:
        """The probes for class of each pairing, fitted on the rows of ``train``."""
        kept = [self.as_many(pairing) if fair else self.seen(pairing) for pairing in self.pairings]
        return [LinearProbes.fit(rows[some], self.truth[some]) for some in kept]

    def right(self, probes: Sequence[LinearProbes], rows: np.ndarray) -> dict[str, Float[np.ndarray, " n_test"]]:
        """For each test picture how often its class is said, by the probe of its own pairing and by the others."""
        said = np.stack([(rows @ p.weights + p.bias).argmax(axis=1) == self.wanted for p in probes])
        own = self._pairing[1] == np.arange(len(probes))[:, None]
        return {TOGETHER: said[own.argmax(axis=0), np.arange(said.shape[1])] * 1.0,
                APART: (said & ~own).sum(axis=0) / (len(probes) - 1)}  # fmt: skip


def shortcuts(found: Findings, saes: Mapping[str, Sequence[Any]], splits: Splits) -> None:
    """Accuracy in both worlds: with everything, without the habitat's latents, or as many others, or its directions."""
    worlds = Worlds(splits)
    train, test = splits.train[worlds.train], splits.test[worlds.test]
    shortcut = worlds.probes(train)
    alone = {NOTHING: worlds.right(shortcut, test)}
    for what, directions in habitat_directions(splits).items():
        without = [project_out(rows, directions, splits.choosing.mean(axis=0)) for rows in (train, test)]
        alone[what] = worlds.right(worlds.probes(without[0]), without[1])
    alone[FAIR] = worlds.right(worlds.probes(train, fair=True), test)
    trained: dict[str, list[dict[str, np.ndarray]]] = {}
    number: dict[str, list[int]] = {}
    for who, several in progress(saes.items(), "Shortcuts", unit="kind"):
        for sae, seed in zip(several, SEEDS, strict=False):
            named = habitat_latents(sae, splits)
            others = _stand_ins(sae, splits, named, seed)
            for what, latents in ((OFF, named), (OTHERS, others)):
                rows = [switched_off(sae, part, latents) for part in (train, test)]
                trained.setdefault(f"{who}, {what}", []).append(worlds.right(worlds.probes(rows[0]), rows[1]))
            late = worlds.right(shortcut, switched_off(sae, test, named))
            trained.setdefault(f"{who}, {LATE}", []).append(late)
            number.setdefault(who, []).append(len(named))
    _record(found, alone, trained, list(saes), len(test))
    for who, many in number.items():
        found.estimate(f"habitat latents/{who}", student(many), interval_kind=OVER_TRAININGS, split="choosing",
                       n=len(many), seeds=list(SEEDS[: len(many)]), unit="latents switched off")  # fmt: skip


def habitat_latents(sae: Any, splits: Splits) -> Int[np.ndarray, " k"]:
    """The latents that detect the habitats best on choosing, `NAMED` for each; one may be named by two."""
    code = sae.encode_sparse(splits.choosing.astype(np.float32))
    scores = detection_scores(code, splits.choosing_factors, [SPURIOUS])
    ranked = scores.sort_values(["best_f1", "neuron"], ascending=[False, True], kind="stable")
    live = ranked[ranked["precision"].notna()]
    return np.unique(live.groupby("value").head(NAMED)["neuron"])


def switched_off(sae: Any, rows: Float[np.ndarray, "n d"], latents: Int[np.ndarray, " k"]) -> Float[np.ndarray, "n d"]:
    """Activations decoded without some latents, the autoencoder's error added back."""
    code = sae.encode_sparse(rows.astype(np.float32))[:, latents]
    return rows - np.asarray(code @ sae.w_dec.numpy()[latents].astype(np.float64))


def _stand_ins(sae: Any, splits: Splits, named: np.ndarray, seed: int) -> Int[np.ndarray, " k"]:
    rates = sae.encode_sparse(splits.choosing.astype(np.float32)).getnnz(axis=0)
    return as_busy(rates, named, rates > 0, np.random.default_rng(seed))


def habitat_directions(splits: Splits) -> dict[str, Float[np.ndarray, "n_habitats d"]]:
    """Told the truth of the choosing pictures: the best linear directions, and the differences between the habitats'
    means, which span one dimension less."""
    values = np.unique(splits.choosing_factors[SPURIOUS].astype(str))
    shown = truth_table(splits.choosing_factors, pd.DataFrame({"factor": SPURIOUS, "value": values}))
    means = np.stack([splits.choosing[rows].mean(axis=0) for rows in shown.T])
    return {DIRECTIONS: LinearProbes.fit(splits.choosing, shown).weights.T, MEANS: means[1:] - means[:1]}


def _record(
    found: Findings,
    alone: Mapping[str, Mapping[str, np.ndarray]],
    trained: Mapping[str, Sequence[Mapping[str, np.ndarray]]],
    kinds: Sequence[str],
    n: int,
) -> None:
    rows = []
    for world in (TOGETHER, APART):
        basis: dict[str, Any] = {"n": n, "unit": "share of the answers", "split": "test"}
        estimates = {}
        for what, right in alone.items():
            estimates[what] = bootstrap_mean(right[world])
            found.estimate(f"accuracy {world}/{what}", estimates[what], interval_kind=OVER_PICTURES, **basis)
        means = {what: np.array([right[world].mean() for right in runs]) for what, runs in trained.items()}
        for what, values in means.items():
            estimates[what] = student(values)
            beside = {NOTHING: f"accuracy {world}/{NOTHING}"}
            found.estimate(f"accuracy {world}/{what}", estimates[what], interval_kind=OVER_TRAININGS,
                           seeds=list(SEEDS[: len(values)]), controls=beside, **basis)  # fmt: skip
        for who in kinds:
            ours = means[f"{who}, {OFF}"]
            against = {OTHERS: means[f"{who}, {OTHERS}"], LATE: means[f"{who}, {LATE}"]}
            against |= {what: right[world].mean() for what, right in alone.items()}
            for rival, theirs in against.items():
                found.estimate(f"accuracy {world}/{who}, {OFF} minus {rival}", student(ours - theirs),
                               interval_kind=OVER_TRAININGS, seeds=list(SEEDS[: len(ours)]), **basis)  # fmt: skip
        rows += [{"world": world, "what": what, "value": e.value, "low": e.interval.low, "high": e.interval.high}
                 for what, e in estimates.items()]  # fmt: skip
    found.table("shortcuts", pd.DataFrame(rows))
