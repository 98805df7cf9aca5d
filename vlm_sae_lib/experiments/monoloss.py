"""Training for the score (MonoLoss, arXiv 2602.12403): what it gains, at equal reconstruction, and what it costs."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vlm_sae_lib.controls.codes import shuffled_code
from vlm_sae_lib.controls.frontier import Point, above_frontier
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import AT_LEAST, OVER_PICTURES, OVER_TRAININGS, RESAMPLES, scored
from vlm_sae_lib.experiments.registry import Experiment
from vlm_sae_lib.progress import progress
from vlm_sae_lib.records.results import published, published_source
from vlm_sae_lib.sae import SaeConfig, SparseAutoencoder
from vlm_sae_lib.sae.training.learner import Learner
from vlm_sae_lib.scores.comparison import Scored, over_trainings, score
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.scores.reconstruction import reconstruction
from vlm_sae_lib.scores.truth import purity
from vlm_sae_lib.statistics.gather import gather_statistics
from vlm_sae_lib.statistics.intervals import Interval
from vlm_sae_lib.workbench import Workbench

KINDS, EXPANSION, SEEDS = ("batch_top_k", "matryoshka_batch_top_k"), 4, (0, 1, 2)
COEFFICIENTS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""λ that are tried on the choosing pictures; the paper's own differ by kind and by how a loss is averaged."""
R2_LOST = 0.01
"""The chosen λ is the one of the highest score among those that cost no more R² than this, on the choosing pictures."""
SPARSITIES = (0.6, 0.8, 1.0, 1.3, 1.7)
"""Shares of the profile's K that draw the frontier of plain SAEs."""
OWN = "own inputs"
"""MonoLoss scores by the SAE's own input vectors, not by an encoder that the SAE has never seen."""
ZEROS = "own inputs with zeros"
"""The same, averaged as MonoLoss does: a latent that has no score counts as zero."""
OFTEN, SHUFFLED = f"at least {AT_LEAST} pictures", ", shuffled"
PURITIES = {
    "species purity": ("species", False), "weighted species purity": ("species", True), "class purity": ("class", False)
}  # fmt: skip
REPEATS, STEPS_TIMED, WARM_UP = 7, 30, 5
OVER_NEURONS = f"{RESAMPLES} bootstrap draws, of the seeds first and then of the neurons, middle 95 %"
OF_SEEDS = "smallest and largest of the seeds"


@dataclass(frozen=True, eq=False)
class Measured:
    """One SAE on the test pictures.

    Attributes:
        facts: R², L0, how many latents never fire, how often the middle one of the others does.
        points: scores by name, each with the R².
        neurons: by the same names, how many neurons the score is a mean over.
    """

    facts: Mapping[str, float]
    points: Mapping[str, Point]
    neurons: Mapping[str, int]


def run(bench: Workbench, found: Findings) -> None:
    """Choose λ, train with and without over three seeds, and compare at equal K and at equal R²."""
    if not hasattr(bench.pictures("test"), "captions"):
        raise UserError("This experiment needs pictures whose factors are known; run it with the profile pocket.")
    tried, curves = list[dict](), list[dict]()
    for place in ("projection", bench.profile.main_hook_point):
        chosen = choose(bench, place, tried)
        for kind, measured in compare(bench, place, chosen).items():
            found.add(
                f"{place}/{kind}/coefficient", chosen[kind], n=len(COEFFICIENTS), split="choosing", unit="λ",
                **_theirs(place, kind, "coefficient"),
            )  # fmt: skip
            record(found, f"{place}/{kind}", measured, bench.profile.k)
            curves += [_curve_row(place, kind, k, coefficient, runs) for (k, coefficient), runs in measured.items()]
    found.table("tried", pd.DataFrame(tried))
    found.table("frontier", pd.DataFrame(curves))
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


def compare(
    bench: Workbench, place: str, chosen: Mapping[str, float]
) -> dict[str, dict[tuple[int, float], list[Measured]]]:
    """By kind, and by (k, λ): the measured SAEs of all seeds."""
    ks = sorted({max(1, round(share * bench.profile.k)) for share in SPARSITIES} | {bench.profile.k})
    settings = {kind: [*((k, 0.0) for k in ks), (bench.profile.k, chosen[kind])] for kind in KINDS}
    keys = [(kind, *setting, seed) for kind in KINDS for setting in settings[kind] for seed in SEEDS]
    configs = [bench.config(kind, EXPANSION, k=k, mono_coefficient=c, seed=seed) for kind, k, c, seed in keys]
    measured: dict[str, dict[tuple[int, float], list[Measured]]] = {kind: {} for kind in KINDS}
    saes = bench.saes(configs, place)
    for (kind, k, coefficient, _), sae in progress(list(zip(keys, saes, strict=True)), f"Scoring {place}", unit="SAE"):
        measured[kind].setdefault((k, coefficient), []).append(measure(bench, sae, place))
    return measured


def measure(bench: Workbench, sae: SparseAutoencoder, place: str) -> Measured:
    """All scores of one SAE on the test pictures."""
    store = bench.activations("test", place)
    latents = sae.encode_sparse(store)
    fires = np.asarray((latents > 0).sum(axis=0)).ravel()
    fit = reconstruction(sae, store)
    ms = {encoder: scored(bench, latents, encoder) for encoder in bench.scoring_names}
    ms[OWN] = score(latents, store.array(), resamples=RESAMPLES)
    found: dict[str, tuple[float, np.ndarray, int]] = {}
    for encoder, kind in ms.items():
        found[encoder] = (*kind.moved(2), int(kind.kept().sum()))
        found[f"{encoder}, {OFTEN}"] = (*kind.moved(AT_LEAST), int(kind.kept(AT_LEAST).sum()))
    found[ZEROS] = with_zeros(ms[OWN])
    factors = bench.pictures("test").factors.loc[store.image_ids]
    often = fires >= AT_LEAST
    for name, (column, weighted) in PURITIES.items():
        for code, word in ((latents, ""), (shuffled_code(latents), SHUFFLED)):
            values = purity(code, factors, column, weighted=weighted)[often]
            found[f"{name}{word}"] = (*_over_neurons(values), int(often.sum()))
    rate = float(np.median(fires[fires > 0])) / len(store) if fires.any() else float("nan")
    return Measured(
        facts={"R²": fit.r2, "L0": fit.l0, "dead latents": int((fires == 0).sum()), "firing rate": rate},
        points={name: Point(fit.r2, value, draws) for name, (value, draws, _) in found.items()},
        neurons={name: count for name, (_, _, count) in found.items()},
    )


def with_zeros(own: Scored) -> tuple[float, np.ndarray, int]:
    """Mean score where a latent without one counts as zero, its draws, and the number of latents."""
    value, draws = own.moved(2)
    share = own.kept().mean()
    return (float(value * share), draws * share, len(own.ms)) if share else (0.0, np.zeros(len(draws)), len(own.ms))


def _over_neurons(values: np.ndarray) -> tuple[float, np.ndarray]:
    if not len(values):
        return float("nan"), np.full(RESAMPLES, np.nan)
    rng = np.random.default_rng(0)
    return float(values.mean()), rng.choice(values, size=(RESAMPLES, len(values))).mean(axis=1)


def record(found: Findings, name: str, measured: Mapping[tuple[int, float], Sequence[Measured]], k: int) -> None:
    """Everything about one kind at one place: without, with, the gain at equal K and the gain at equal R²."""
    place, kind = name.split("/")
    frontier = {setting: runs for (setting, coefficient), runs in measured.items() if coefficient == 0}
    trained = next(runs for (_, coefficient), runs in measured.items() if coefficient > 0)
    shared: dict[str, Any] = {"seeds": list(SEEDS), "split": "test"}
    for side, runs in (("without", frontier[k]), ("with", trained)):
        against = {"without the loss": "without"} if side == "with" else {}
        for what in runs[0].facts:
            values = [run.facts[what] for run in runs]
            found.add(
                f"{name}/{what}/{side}", np.mean(values), interval=(min(values), max(values)), interval_kind=OF_SEEDS,
                n=len(runs), controls={word: f"{name}/{what}/{other}" for word, other in against.items()}, **shared,
                **_theirs(place, kind, what, side),
            )  # fmt: skip
        for what in (what for what in runs[0].points if OFTEN not in what):
            controls = {word: f"{name}/{what}/{other}" for word, other in against.items()}
            if f"{what}{SHUFFLED}" in runs[0].points:
                controls["the same firing rates, dealt blindly"] = f"{name}/{what}{SHUFFLED}/{side}"
            found.estimate(
                f"{name}/{what}/{side}", over_trainings(_draws(runs, what)), interval_kind=_over(what),
                n=sum(run.neurons[what] for run in runs), controls=controls, **shared,
                **_theirs(place, kind, what, side),
            )  # fmt: skip
    for what in (what for what in trained[0].points if SHUFFLED not in what):
        plain = what.removesuffix(f", {OFTEN}")
        controls = {f"{word} the loss": f"{name}/{plain}/{word}" for word in ("without", "with")}
        neurons = sum(run.neurons[what] for run in trained)
        if plain == what:
            gain = over_trainings(_draws(trained, what), minus=_draws(frontier[k], what))
            found.estimate(
                f"{name}/{what}/gain at equal K",
                gain,
                interval_kind=_over(what),
                n=neurons,
                controls=controls,
                **shared,
            )
        line = {setting: [run.points[what] for run in runs] for setting, runs in frontier.items()}
        found.estimate(
            f"{name}/{what}/gain at equal R²", above_frontier([run.points[what] for run in trained], line),
            interval_kind=f"{_over(what)}; R² goes with the seeds", n=neurons, controls=controls, **shared,
        )  # fmt: skip


def _draws(runs: Sequence[Measured], what: str) -> list[tuple[float, np.ndarray]]:
    return [(run.points[what].value, run.points[what].draws) for run in runs]


def _over(what: str) -> str:
    return OVER_NEURONS if "purity" in what else OVER_TRAININGS


def _curve_row(place: str, kind: str, k: int, coefficient: float, runs: Sequence[Measured]) -> dict[str, Any]:
    row = {"place": place, "kind": kind, "k": k, "coefficient": coefficient}
    row["R²"] = float(np.mean([run.facts["R²"] for run in runs]))
    for what in (what for what in runs[0].points if "," not in what):
        value, (low, high) = over_trainings(_draws(runs, what))
        row |= {what: value, f"{what}, low": low, f"{what}, high": high}
    return row


def _theirs(place: str, kind: str, what: str, loss: str = "with") -> dict[str, Any]:
    """MonoLoss's number for BatchTopK on CLIP's projection and ImageNet, as near as theirs comes to ours."""
    names = {"coefficient": "coefficient", "R²": "r2", ZEROS: "mono_score",
             "species purity": "purity", "weighted species purity": "weighted_purity"}  # fmt: skip
    if place != "projection" or kind != "batch_top_k" or what not in names:
        return {}
    where = {"dataset": "ImageNet", "sae": kind, "encoder": "CLIP", "loss": loss, "statistic": names[what]}
    return {"paper_value": published("monoloss", **where), "source": published_source("monoloss", **where)}


def cost(bench: Workbench, found: Findings) -> None:
    """Time of a training step with the loss over that of one without, both taken in turns on the same batches."""
    rows = bench.activations("train", "projection").array()
    for kind in (*KINDS, "jump_relu"):
        config = bench.config(kind, EXPANSION)
        ratios = step_ratios(rows, config, replace(config, mono_coefficient=COEFFICIENTS[0]))
        found.add(
            f"cost/{kind}", float(np.median(ratios)), interval=Interval(min(ratios), max(ratios)), n=REPEATS,
            interval_kind=f"smallest and largest of {REPEATS} repeats of {STEPS_TIMED} steps",
            unit="ratio, this machine", **_cost_of_theirs(),
        )  # fmt: skip


def _cost_of_theirs() -> dict[str, Any]:
    where = {"statistic": "epoch_time_ratio"}
    return {"paper_value": published("monoloss", **where), "source": published_source("monoloss", **where)}


def step_ratios(rows: np.ndarray | Tensor, plain: SaeConfig, trained: SaeConfig) -> list[float]:
    """For each repeat the time of some steps under one config over that under the other."""
    batch = torch.from_numpy(np.ascontiguousarray(rows[: plain.batch_size], dtype=np.float32))
    scale = float(batch.pow(2).sum(dim=1).mean().sqrt())
    learners = [Learner(config, batch, scale) for config in (plain, trained)]
    spent = np.zeros((REPEATS, 2))
    for step in range(-WARM_UP, REPEATS * STEPS_TIMED):
        for side, learner in enumerate(learners):
            before = time.perf_counter()
            learner.step(batch)
            if step >= 0:
                spent[step // STEPS_TIMED, side] += time.perf_counter() - before
    return (spent[:, 1] / spent[:, 0]).tolist()


def shipped(bench: Workbench, found: Findings) -> None:
    """Scores by the own inputs and purities of the SAEs that come with the book, and of single latents by hash."""
    store = bench.activations("test", bench.profile.main_hook_point)
    factors = bench.pictures("test").factors.loc[store.image_ids]
    rows = []
    for name in ("main_batch_top_k", "main_matryoshka"):
        sae = bench.shown(name)
        latents = sae.encode_sparse(store)
        own = score(latents, store.array(), resamples=RESAMPLES)
        zeros, _, latents_of_it = with_zeros(own)
        found.estimate(
            f"shipped/{name}/{OWN}", own.mean(), interval_kind=OVER_PICTURES, n=int(own.kept().sum()), split="test"
        )
        found.add(f"shipped/{name}/{ZEROS}", zeros, n=latents_of_it, split="test")
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
