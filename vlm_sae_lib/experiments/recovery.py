"""How much of a known truth dictionaries recover, and how much of one training another training finds again.

Two truths: the directions that synthetic activations are sums of (`synthetic.py`), a world for each training, and the
factor values that the pictures were drawn from. Eight kinds of autoencoder, and one that never learned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats

from vlm_sae_lib.controls.reconstruction import cut_at_l0, untrained_sae
from vlm_sae_lib.experiments.experiment import Experiment
from vlm_sae_lib.experiments.factors import FACTORS, Splits, load_splits
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import POPULATIONS, SEEDS
from vlm_sae_lib.experiments.recovery_stability import Coded, record_stability
from vlm_sae_lib.experiments.rivals import EXPANSION, FROZEN, KIND, UNTRAINED
from vlm_sae_lib.experiments.scattering import rounded
from vlm_sae_lib.experiments.synthetic import World
from vlm_sae_lib.progress import progress
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.sae.training import train_saes
from vlm_sae_lib.scores.absorption import value_names
from vlm_sae_lib.scores.comparison import pictures_above_minimum
from vlm_sae_lib.scores.detectors import truth_table
from vlm_sae_lib.scores.matching import Recovered, of_directions, of_values
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.scores.reconstruction import Reconstruction, reconstruction
from vlm_sae_lib.statistics.intervals import OVER_TRAININGS, student
from vlm_sae_lib.workbench import Workbench

WORLDS = SEEDS[:5]
"""Trainings on synthetic activations, each on a world of its own."""
RELU = "ReLU, cut"
LEARNS_ALL = "Matryoshka"
"""What the autoencoders with a frozen part are otherwise."""
WHOLE: dict[str, dict[str, Any]] = {
    LEARNS_ALL: {"kind": KIND},
    "BatchTopK": {"kind": "batch_top_k"},
    "TopK": {"kind": "top_k"},
    "JumpReLU": {"kind": "jump_relu"},
    RELU: {"kind": "relu"},
}
KINDS = WHOLE | {who: {"kind": KIND, "frozen": part} for who, part in FROZEN.items()}
DIRECTIONS, FIRING, PICTURES = "synthetic, by direction", "synthetic, by firing", "pictures, by firing"
"""Two ways to match latents with the features of synthetic activations, and the one there is for pictures."""
MEASURES = {"correlation": "correlation", "share found": "found", "precision": "precision", "recall": "recall",
            "F1": "f1"}  # fmt: skip
COMPARED = ("correlation", "F1")
"""By which kinds are ranked."""
RANKED = {"all kinds": tuple(KINDS), "whole kinds": tuple(WHOLE)}
"""Which kinds are; whole are those of which every part learns."""
REBUILT = {"R²": "r2", "L0": "l0", "dead": "never_fired"}


@dataclass(frozen=True)
class Measured:
    """One dictionary against one truth: what it recovers by each way of matching, and how it rebuilds test rows."""

    recovered: Mapping[str, Recovered]
    rebuilt: Reconstruction


def run(bench: Workbench, found: Findings) -> None:
    """Recovery on synthetic activations and on pictures, whether the two rank kinds alike, stability over trainings."""
    splits = load_splits(bench)
    saes = on_pictures(bench, splits.train)
    truth = distinct_values(splits)
    pictures = {
        kind: [measure_pictures(sae, splits, truth) for sae in several]
        for kind, several in progress(saes.items(), "Pictures", unit="kind")
    }
    synthetic: dict[str, list[Measured]] = {kind: [] for kind in saes}
    at_once = []
    for seed in progress(WORLDS, "Synthetic activations", unit="world"):
        of_world, number = on_synthetic(bench, splits.train, seed)
        at_once.append(number)
        for kind, measured in of_world.items():
            synthetic[kind].append(measured)
    found.estimate(
        "synthetic/features that fire at once", student(at_once), interval_kind="Student's t over the worlds",
        n=len(splits.test), seeds=list(WORLDS), split="test", unit="features",
    )  # fmt: skip
    coded = {kind: [code(bench, sae) for sae in several] for kind, several in saes.items()}
    rows = _record(found, synthetic, (DIRECTIONS, FIRING), "synthetic")
    found.table("recovery", pd.DataFrame(rows + _record(found, pictures, (PICTURES,), "pictures")))
    rank(found, synthetic, pictures, coded)
    record_stability(found, coded, UNTRAINED)


def on_pictures(bench: Workbench, train: np.ndarray) -> dict[str, list[SparseAutoencoder]]:
    """Every kind at the main hook point, one for each seed."""
    wanted = [(settings, seed) for settings in KINDS.values() for seed in SEEDS]
    configs = [bench.config(**settings, expansion=EXPANSION, seed=seed) for settings, seed in wanted]
    trained = iter(bench.saes(configs, bench.profile.main_hook_point))
    return _finished({kind: [next(trained) for _ in SEEDS] for kind in KINDS}, train, bench.profile.k, SEEDS)


def on_synthetic(bench: Workbench, like: np.ndarray, seed: int) -> tuple[dict[str, Measured], float]:
    """Every kind, trained and measured on activations of one world, as many rows as there are pictures; and how many
    features fire in a test row."""
    world = World.draw(like, seed)
    sizes = (len(bench.activations(split, bench.profile.main_hook_point)) for split in ("train", "choosing", "test"))
    train, choosing, test = (world.sample(n, part) for part, n in enumerate(sizes, start=1))
    rows = train.activations.astype(np.float32)
    configs = [bench.config(**settings, expansion=EXPANSION, seed=seed) for settings in KINDS.values()]
    several = {kind: [sae] for kind, sae in zip(KINDS, train_saes(rows, configs), strict=True)}
    found = {}
    for kind, (sae,) in _finished(several, rows, bench.profile.k, (seed,)).items():
        chosen, scored = (sae.encode_sparse(part.activations.astype(np.float32)) for part in (choosing, test))
        recovered = {
            DIRECTIONS: of_directions(sae.w_dec.numpy(), world.directions, scored, test.fires),
            FIRING: of_values(chosen, choosing.fires, scored, test.fires),
        }
        found[kind] = _measured(sae, test.activations, recovered)
    return found, float(test.fires.sum(axis=1).mean())


def distinct_values(splits: Splits) -> pd.DataFrame:
    """The factor values to be recovered; of several that are true of the same training pictures the first."""
    names = value_names(splits.train_factors, FACTORS)
    _, first = np.unique(truth_table(splits.train_factors, names), axis=1, return_index=True)
    return names.iloc[np.sort(first)].reset_index(drop=True)


def measure_pictures(sae: SparseAutoencoder, splits: Splits, names: pd.DataFrame) -> Measured:
    """Latents matched with values on the choosing pictures, scored on test."""
    choosing, test = (sae.encode_sparse(rows.astype(np.float32)) for rows in (splits.choosing, splits.test))
    tables = truth_table(splits.choosing_factors, names), truth_table(splits.test_factors, names)
    return _measured(sae, splits.test, {PICTURES: of_values(choosing, tables[0], test, tables[1])})


def cut(sae: SparseAutoencoder, train: np.ndarray, l0: float) -> SparseAutoencoder:
    """An autoencoder without a threshold, given one: where ``l0`` latents fire per training row, on average.

    What a penalty on the L1 norm leaves active depends on the activations, so that a ReLU comes to the L0 of the others
    only so. It stays below where fewer fire without a threshold.
    """
    with torch.inference_mode():
        positive = torch.relu(sae.pre_activations(torch.as_tensor(train, dtype=torch.float32))).numpy()
    threshold = torch.tensor(cut_at_l0(positive, l0), dtype=torch.float32)
    return replace(sae, kind="batch_top_k", k=max(1, round(l0)), threshold=threshold)


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
    for where, several in ((DIRECTIONS, synthetic), (FIRING, synthetic), (PICTURES, pictures)):
        for measure in COMPARED:
            scores[f"{where}, {measure}"] = {
                kind: by_training(several[kind], where, MEASURES[measure]).tolist() for kind in KINDS
            }
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


def _finished(
    several: Mapping[str, Sequence[SparseAutoencoder]], train: np.ndarray, l0: float, seeds: Sequence[int]
) -> dict[str, list[SparseAutoencoder]]:
    """ReLU cut to the L0 of the others, and an untrained autoencoder of that L0 for each seed."""
    finished = {kind: [cut(sae, train, l0) for sae in saes] if kind == RELU else list(saes)
                for kind, saes in several.items()}  # fmt: skip
    width = finished[RELU][0].n_latents
    return finished | {UNTRAINED: [untrained_sae(train, width, l0, seed=seed) for seed in seeds]}


def _measured(sae: SparseAutoencoder, test: np.ndarray, recovered: Mapping[str, Recovered]) -> Measured:
    return Measured(recovered, reconstruction(sae, test.astype(np.float32)))


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
