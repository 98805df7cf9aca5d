"""Training for the score (MonoLoss, arXiv 2602.12403): what it gains, at equal reconstruction, and what it costs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.experiment import Experiment
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import AT_LEAST, OVER_PICTURES, RESAMPLES
from vlm_sae_lib.experiments.score_training import (
    OWN,
    PURITIES,
    SHUFFLED,
    ZEROS,
    Compared,
    Measured,
    measure,
    with_zeros,
)
from vlm_sae_lib.experiments.step_cost import cost
from vlm_sae_lib.progress import progress
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.records.results import published, published_source
from vlm_sae_lib.scores.comparison import score
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.scores.reconstruction import reconstruction
from vlm_sae_lib.scores.truth import purity
from vlm_sae_lib.statistics.gather import gather_statistics
from vlm_sae_lib.statistics.intervals import OVER_TRAININGS, student
from vlm_sae_lib.workbench import Workbench

KINDS, EXPANSION, SEEDS = ("batch_top_k", "matryoshka_batch_top_k"), 4, (0, 1, 2)
COEFFICIENTS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""λ that are tried on the choosing pictures; the paper's own differ by kind and by how a loss is averaged."""
R2_LOST = 0.01
"""The chosen λ is the one of the highest score among those that cost no more R² than this, on the choosing pictures."""
SPARSITIES = (0.6, 0.8, 1.0, 1.3, 1.7)
"""Shares of the profile's K that draw the frontier of plain SAEs."""
GAIN, KEPT = "gain under an unseen encoder at equal R²", "R² kept"


def run(bench: Workbench, found: Findings) -> None:
    """Choose λ, train with and without over three seeds, and compare at equal K and at equal R²."""
    if not hasattr(bench.pictures("test"), "captions"):
        raise UserError("This experiment needs pictures whose factors are known; run it with the profile pocket.")
    tried = list[dict]()
    compared: dict[str, dict[str, Compared]] = {"choosing": {}, "test": {}}
    for place in ("projection", bench.profile.main_hook_point):
        for kind, coefficient in choose(bench, place, tried).items():
            found.add(
                f"{place}/{kind}/coefficient", coefficient, n=len(COEFFICIENTS), split="choosing", unit="λ",
                **_theirs(place, kind, "coefficient"),
            )  # fmt: skip
            for split, one in compare(bench, place, kind, coefficient).items():
                compared[split][f"{place}/{kind}"] = one
    effects(bench, found, compared)
    for name, one in compared["test"].items():
        record(found, name, one)
    found.table("tried", pd.DataFrame(tried))
    found.table("frontier", pd.DataFrame([row for name, one in compared["test"].items() for row in _curve(name, one)]))
    cost(bench, found)
    shipped(bench, found)


def choose(bench: Workbench, place: str, tried: list[dict]) -> dict[str, float]:
    """λ for each kind, by one SAE each on the choosing pictures; every trial is added to ``tried``."""
    store = bench.activations("choosing", place)
    keys = [(kind, coefficient) for kind in KINDS for coefficient in (0.0, *COEFFICIENTS)]
    configs = [bench.config(kind, EXPANSION, mono_coefficient=coefficient) for kind, coefficient in keys]
    for (kind, coefficient), sae in zip(keys, bench.saes(configs, place), strict=True):
        own = np.nanmean(monosemanticity_score(sae.encode_sparse(store), store.array()))
        tried.append({"place": place, "kind": kind, "coefficient": coefficient, "own": float(own),
                      "r2": reconstruction(sae, store).r2})  # fmt: skip
    return {
        kind: best_coefficient([row for row in tried if (row["place"], row["kind"]) == (place, kind)]) for kind in KINDS
    }


def best_coefficient(trials: Sequence[Mapping[str, Any]]) -> float:
    """The λ of the highest score among those within ``R2_LOST`` of λ = 0; the smallest λ where none is."""
    floor = next(row["r2"] for row in trials if row["coefficient"] == 0) - R2_LOST
    trained = [row for row in trials if row["coefficient"] > 0]
    kept = [row for row in trained if row["r2"] >= floor] or [min(trained, key=lambda row: row["coefficient"])]
    return max(kept, key=lambda row: row["own"])["coefficient"]


def compare(bench: Workbench, place: str, kind: str, coefficient: float) -> dict[str, Compared]:
    """The SAEs of all seeds, measured on the choosing and on the test pictures."""
    k = bench.profile.k
    settings = [(few, 0.0) for few in sorted({max(1, round(share * k)) for share in SPARSITIES} | {k})]
    keys = [(*setting, seed) for setting in (*settings, (k, coefficient)) for seed in SEEDS]
    saes = bench.saes([bench.config(kind, EXPANSION, k=k, mono_coefficient=c, seed=s) for k, c, s in keys], place)
    compared = {}
    for split in ("choosing", "test"):
        measured: dict[tuple[int, float], list[Measured]] = {}
        for (few, c, _), sae in progress(list(zip(keys, saes, strict=True)), f"Scoring {place}, {split}", unit="SAE"):
            measured.setdefault((few, c), []).append(measure(bench, sae, place, split))
        plain = {few: measured[few, c] for few, c in settings}
        compared[split] = Compared(k, plain, measured[k, coefficient])
    return compared


def effects(bench: Workbench, found: Findings, compared: Mapping[str, Mapping[str, Compared]]) -> None:
    """What decides the claim, on test; and the same on the pictures by which λ was chosen, and their difference."""
    basis: dict[str, Any] = {"unit": "training", "split": "test", "seeds": list(SEEDS)}
    test, encoders = compared["test"], bench.scoring_names
    for population in ("", ENOUGH):
        tables = {
            split: np.stack([one.gain_at_equal_r2(f"{encoder}{population}")
                             for one in by_name.values() for encoder in encoders], axis=1)
            for split, by_name in compared.items()
        }  # fmt: skip
        cases = [f"{name}/{encoder}" for name in test for encoder in encoders]
        neurons = sum(run.neurons[f"{encoders[0]}{population}"] for one in test.values() for run in one.trained)
        beside = _optimism(found, f"{GAIN}{population}", tables, "MS")
        found.effect(f"{GAIN}{population}", tables["test"], of="MS", n=neurons, cases=cases, controls=beside, **basis)
    tables = {split: R2_LOST - np.stack([one.r2_lost() for one in by_name.values()], axis=1)
              for split, by_name in compared.items()}  # fmt: skip
    beside = _optimism(found, KEPT, tables, "R²")
    found.effect(KEPT, tables["test"], of="R²", n=len(bench.pictures("test")), cases=list(test), controls=beside,
                 **basis)  # fmt: skip


def _optimism(found: Findings, name: str, tables: Mapping[str, np.ndarray], of: str) -> dict[str, str]:
    """The effect on the choosing pictures, and by how much it is larger there; as controls of the effect."""
    choosing, test = (tables[split].mean(axis=1) for split in ("choosing", "test"))
    basis: dict[str, Any] = {"n": len(SEEDS), "unit": of, "seeds": list(SEEDS), "interval_kind": OVER_TRAININGS}
    found.estimate(f"on choosing/{name}", student(choosing), split="choosing", **basis)
    found.estimate(f"optimism/{name}", student(choosing - test), split="choosing minus test", **basis)
    return {"on the choosing pictures": f"on choosing/{name}", "optimism": f"optimism/{name}"}


def record(found: Findings, name: str, one: Compared) -> None:
    """Everything about one kind at one place: without, with, the gain at equal K and the gain at equal R²."""
    place, kind = name.split("/")
    shared: dict[str, Any] = {"split": "test", "interval_kind": OVER_TRAININGS}
    for side, runs in (("without", one.plain[one.k]), ("with", one.trained)):
        against = {"without the loss": "without"} if side == "with" else {}
        for what in runs[0].facts:
            found.estimate(
                f"{name}/{what}/{side}", student([run.facts[what] for run in runs]), n=len(runs), seeds=list(SEEDS),
                controls={word: f"{name}/{what}/{other}" for word, other in against.items()}, **shared,
                **_theirs(place, kind, what, side),
            )  # fmt: skip
        for what in runs[0].scores:
            controls = {word: f"{name}/{what}/{other}" for word, other in against.items()}
            if f"{what}{SHUFFLED}" in runs[0].scores:
                controls["the same firing rates, dealt blindly"] = f"{name}/{what}{SHUFFLED}/{side}"
            found.estimate(
                f"{name}/{what}/{side}", student([run.scores[what] for run in runs]), seeds=list(SEEDS),
                n=sum(run.neurons[what] for run in runs), controls=controls, **shared,
                **_theirs(place, kind, what, side),
            )  # fmt: skip
    for what in (what for what in one.trained[0].scores if SHUFFLED not in what):
        controls = {f"{word} the loss": f"{name}/{what}/{word}" for word in ("without", "with")}
        neurons = sum(run.neurons[what] for run in one.trained)
        for how, gain in (("equal K", one.gain_at_equal_k(what)), ("equal R²", one.gain_at_equal_r2(what))):
            defined = [seed for seed, value in zip(SEEDS, gain, strict=True) if not np.isnan(value)]
            found.estimate(
                f"{name}/{what}/gain at {how}", student(gain), n=neurons, controls=controls, seeds=defined, **shared
            )


def _curve(name: str, one: Compared) -> list[dict[str, Any]]:
    """One row for each point of the figure: the plain SAEs of each K, and those trained for the score."""
    place, kind = name.split("/")
    rows = []
    for k, loss, runs in (*((k, False, runs) for k, runs in one.plain.items()), (one.k, True, one.trained)):
        row = {"place": place, "kind": kind, "k": k, "loss": loss, "R²": np.mean([run.facts["R²"] for run in runs])}
        for what in (what for what in runs[0].scores if SHUFFLED not in what and ENOUGH not in what):
            value, (low, high) = student([run.scores[what] for run in runs])
            row |= {what: value, f"{what}, low": low, f"{what}, high": high}
        rows.append(row)
    return rows


def _theirs(place: str, kind: str, what: str, loss: str = "with") -> dict[str, Any]:
    """MonoLoss's number for BatchTopK on CLIP's projection and ImageNet, as near as theirs comes to ours."""
    names = {"coefficient": "coefficient", "R²": "r2", ZEROS: "mono_score",
             "species purity": "purity", "weighted species purity": "weighted_purity"}  # fmt: skip
    if place != "projection" or kind != "batch_top_k" or what not in names:
        return {}
    where = {"dataset": "ImageNet", "sae": kind, "encoder": "CLIP", "loss": loss, "statistic": names[what]}
    return {"paper_value": published("monoloss", **where), "source": published_source("monoloss", **where)}


def shipped(bench: Workbench, found: Findings) -> None:
    """Scores by the own inputs and purities of the SAEs that come with the book, and of single latents by hash."""
    store = bench.activations("test", bench.profile.main_hook_point)
    factors = bench.pictures("test").factors.loc[store.image_ids]
    rows = []
    for name in ("main_batch_top_k", "main_matryoshka"):
        sae = bench.shown(name)
        latents = sae.encode_sparse(store)
        own = score(latents, store.array(), resamples=RESAMPLES)
        found.estimate(
            f"shipped/{name}/{OWN}", own.mean(), interval_kind=OVER_PICTURES, n=int(own.kept().sum()), split="test"
        )
        found.add(f"shipped/{name}/{ZEROS}", with_zeros(own.ms), n=len(own.ms), split="test")
        pure = {what: purity(latents, factors, column, weighted=w) for what, (column, w) in PURITIES.items()}
        top = gather_statistics(store, bench.embeddings(), sae).statistics.top_images()
        for latent in np.flatnonzero((own.pictures >= AT_LEAST) & (own.pictures <= 4 * AT_LEAST))[:4]:
            rows.append({
                "sae": name, "hash": sae.hash, "latent": int(latent), "top pictures": top[latent][:4].tolist(),
                OWN: float(own.ms[latent]), **{what: float(values[latent]) for what, values in pure.items()},
            })  # fmt: skip
    found.table("single latents", pd.DataFrame(rows))


EXPERIMENT = Experiment(
    name="monoloss",
    title="Can an SAE be trained for the score?",
    question="Does training for monosemanticity raise it under encoders that training never saw, at equal R²?",
    paper="",
    run=run,
)
