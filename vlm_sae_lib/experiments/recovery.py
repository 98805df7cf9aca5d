"""How much of a known truth dictionaries recover, and how much of one training another training finds again.

Two truths: the directions that synthetic activations are sums of (`synthetic.py`), a world for each training, and the
factor values that the pictures were drawn from. Eight kinds of autoencoder; as a control one that never learned; as an
upper bound linear directions that were told the truth.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from vlm_sae_lib.experiments.experiment import Experiment
from vlm_sae_lib.experiments.factors import load_splits
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import POPULATIONS, SEEDS
from vlm_sae_lib.experiments.recovery_kinds import (
    BOUND,
    DIRECTIONS,
    FIRING,
    KINDS,
    LEARNS_ALL,
    PICTURES,
    WHOLE,
    Measured,
    bound,
    known_directions,
    known_values,
    measure,
    on_pictures,
    on_synthetic,
)
from vlm_sae_lib.experiments.recovery_stability import Coded, record_stability
from vlm_sae_lib.experiments.rivals import FROZEN, UNTRAINED
from vlm_sae_lib.experiments.scattering import rounded
from vlm_sae_lib.progress import progress
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.scores.comparison import pictures_above_minimum
from vlm_sae_lib.scores.matching import Recovered
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.statistics.intervals import OVER_TRAININGS, student
from vlm_sae_lib.workbench import Workbench

WORLDS = SEEDS[:5]
"""Trainings on synthetic activations, each on a world of its own."""
MEASURES = {
    "correlation": "correlation", "share found": "found", "precision": "precision", "recall": "recall", "F1": "f1",
}  # fmt: skip
"""Fields of what is recovered, by what they are called."""
COMPARED = ("correlation", "F1")
"""By which kinds are ranked."""
RANKED = {"all kinds": tuple(KINDS), "whole kinds": tuple(WHOLE)}
"""Which kinds are; whole are those of which every part learns."""
REBUILT = {"R²": "r2", "L0": "l0", "dead": "never_fired"}


def run(bench: Workbench, found: Findings) -> None:
    """Recovery on synthetic activations and on pictures, whether the two rank kinds alike, stability over trainings."""
    values = known_values(load_splits(bench))
    saes = on_pictures(bench, values)
    pictures = {
        kind: [measure(sae, values) for sae in several]
        for kind, several in progress(saes.items(), "Pictures", unit="kind")
    }
    synthetic: dict[str, list[Measured]] = {kind: [] for kind in saes}
    worlds = [known_directions(values.rows, seed) for seed in WORLDS]
    for seed, world in zip(WORLDS, progress(worlds, "Synthetic activations", unit="world"), strict=True):
        for kind, sae in on_synthetic(bench, world, seed).items():
            synthetic[kind].append(measure(sae, world))
    found.estimate(
        "synthetic/features that fire at once", student([world.truth["test"].sum(axis=1).mean() for world in worlds]),
        interval_kind="Student's t over the worlds", n=len(values.rows["test"]), seeds=list(WORLDS), split="test",
        unit="features",
    )  # fmt: skip
    rows = [*_record(found, synthetic, (DIRECTIONS, FIRING), "synthetic"),
            *_record(found, pictures, (PICTURES,), "pictures"),
            *_record_bound(found, synthetic, [bound(world) for world in worlds], FIRING),
            *_record_bound(found, pictures, [bound(values)], PICTURES)]  # fmt: skip
    found.table("recovery", pd.DataFrame(rows))
    coded = {kind: [code(bench, sae) for sae in several] for kind, several in saes.items()}
    rank(found, synthetic, pictures, coded)
    record_stability(found, coded, UNTRAINED)


def code(bench: Workbench, sae: SparseAutoencoder) -> Coded:
    """What stability is held against: the test pictures on which each latent fires, and its MS by each encoder."""
    latents = sae.encode_sparse(bench.activations("test", bench.profile.main_hook_point))
    ms = {name: monosemanticity_score(latents, bench.embeddings("test", name).array()) for name in bench.scoring_names}
    return Coded(sae.w_dec.numpy(), ms, pictures_above_minimum(latents))


def rank(
    found: Findings,
    synthetic: Mapping[str, Sequence[Measured]],
    pictures: Mapping[str, Sequence[Measured]],
    coded: Mapping[str, Sequence[Coded]],
) -> None:
    """Spearman's rank correlation over the kinds, training by training: two truths, and MS with each.

    The one that never learned has no part in it: to come last by every measure would make any two agree.
    """
    scores: dict[str, dict[str, list[float]]] = {}
    for way, what in product((DIRECTIONS, FIRING, PICTURES), COMPARED):
        several = pictures if way == PICTURES else synthetic
        scores[f"{way}, {what}"] = {kind: by_training(several[kind], way, MEASURES[what]).tolist() for kind in KINDS}
    encoders = list(coded[UNTRAINED][0].ms)
    by_ms = [f"MS, {encoder}{population}" for encoder, (_, population) in product(encoders, POPULATIONS)]
    for name, (encoder, (least, _)) in zip(by_ms, product(encoders, POPULATIONS), strict=True):
        scores[name] = {kind: [mean_ms(one, encoder, least) for one in coded[kind]] for kind in KINDS}
    pairs = [(f"{way}, {what}", f"{PICTURES}, {what}") for way in (DIRECTIONS, FIRING) for what in COMPARED]
    pairs += [(name, f"{PICTURES}, {what}") for name in by_ms for what in COMPARED]
    for (first, second), which in product(pairs, RANKED):
        kinds = RANKED[which]
        ours, theirs = (_by_training(scores[of], kinds) for of in (first, second))
        each = [_spearman(*both) for both in zip(ours, theirs, strict=False)]  # there are fewer of synthetic ones
        found.estimate(
            f"ranks/{which}/{first} with {second}", student(each), interval_kind=OVER_TRAININGS, n=len(kinds),
            unit="rank correlation over the kinds", seeds=list(SEEDS[: len(each)]), split="test",
        )  # fmt: skip


def mean_ms(run: Coded, encoder: str, least: int) -> float:
    """Mean MS of the latents that lie above their minimum on so many pictures."""
    return float(np.mean(kept)) if len(kept := run.ms[encoder][run.pictures >= least]) else float("nan")


def _by_training(scores: Mapping[str, Sequence[float]], kinds: Sequence[str]) -> list[list[float]]:
    return [list(column) for column in zip(*(scores[kind] for kind in kinds), strict=True)]


def _spearman(a: Sequence[float], b: Sequence[float]) -> float:
    return float(stats.spearmanr(a, b).statistic) if len(set(a)) > 1 < len(set(b)) else float("nan")


def _record(
    found: Findings, measured: Mapping[str, Sequence[Measured]], ways: Sequence[str], world: str
) -> list[dict[str, Any]]:
    rows = []
    for kind in (UNTRAINED, *KINDS):  # the control first: the others are held against it
        runs = measured[kind]
        basis: dict[str, Any] = {"interval_kind": OVER_TRAININGS, "seeds": list(SEEDS[: len(runs)])}
        for way, (what, name) in product(ways, MEASURES.items()):
            each, control = (by_training(several, way, name) for several in (runs, measured[UNTRAINED]))
            basis |= {"n": runs[0].recovered[way].pairs, "split": _split(way)}
            found.estimate(f"{way}/{what}/{kind}", student(each), **basis)
            rows.append({"way": way, "what": what, "kind": kind, **rounded(student(each))})
            if kind != UNTRAINED and what in COMPARED:
                found.estimate(f"{way}/{what}/{kind} minus {UNTRAINED}", student(each - control), **basis)
        basis |= {"n": runs[0].rebuilt.rows, "split": "test"}
        for what, name in REBUILT.items():
            estimate = student([getattr(run.rebuilt, name) for run in runs])
            found.estimate(f"{world}/{what}/{kind}", estimate, **basis)
            rows.append({"way": world, "what": what, "kind": kind, **rounded(estimate)})
    for way, what, frozen in product(ways, COMPARED, FROZEN):
        ours, theirs = (by_training(measured[kind], way, MEASURES[what]) for kind in (LEARNS_ALL, frozen))
        found.estimate(
            f"{way}/{what}/{LEARNS_ALL} minus {frozen}", student(ours - theirs), interval_kind=OVER_TRAININGS,
            n=measured[frozen][0].recovered[way].pairs, seeds=list(SEEDS[: len(ours)]), split=_split(way),
        )  # fmt: skip
    return rows


def _record_bound(
    found: Findings, measured: Mapping[str, Sequence[Measured]], bounds: Sequence[Recovered], way: str
) -> list[dict[str, Any]]:
    """The upper bound, and how far the autoencoder that the others are variants of stays below it."""
    rows = []
    for what, name in MEASURES.items():
        values = np.array([getattr(one, name) for one in bounds])
        basis: dict[str, Any] = {"n": bounds[0].pairs, "split": _split(way)}
        if len(values) > 1:
            found.estimate(f"{way}/{what}/{BOUND}", student(values), interval_kind=OVER_TRAININGS,
                           seeds=list(WORLDS), **basis)  # fmt: skip
        else:  # there is no chance in it, once the pictures are given
            found.add(f"{way}/{what}/{BOUND}", float(values[0]), **basis)
        rows.append({"way": way, "what": what, "kind": BOUND, **rounded(student(values))})
        if what in COMPARED:
            gap = by_training(measured[LEARNS_ALL], way, name) - values
            found.estimate(f"{way}/{what}/{LEARNS_ALL} minus {BOUND}", student(gap), interval_kind=OVER_TRAININGS,
                           seeds=list(SEEDS[: len(gap)]), **basis)  # fmt: skip
    return rows


def _split(way: str) -> str:
    return "test" if way == DIRECTIONS else "matched on choosing, scored on test"


def by_training(runs: Sequence[Measured], way: str, name: str) -> np.ndarray:
    """What each training recovers by a way of matching."""
    return np.array([getattr(run.recovered[way], name) for run in runs])


EXPERIMENT = Experiment(
    name="recovery",
    title="Do autoencoders recover what is there?",
    question="How much of a known truth do dictionaries recover, and does a second training find the same latents?",
    paper="",
    run=run,
)
