"""Do different neurons answer to different pictures (paper v3 App. G), and would as few share by chance?

As in the paper the sixteen pictures come from the training pictures, and a neuron whose sixteenth activation is zero is
left out. Three chances are held against the learned neurons: sets dealt blindly; sets dealt so that each picture stands
in as many of them as in the learned ones; and neurons of random directions that fire as often. Few latents have sixteen
pictures at all here, so that how many could be compared is a result beside each share.
"""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.stats import hypergeom

from vlm_sae_lib.controls.codes import random_directions
from vlm_sae_lib.experiments.experiment import Experiment
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import SEEDS
from vlm_sae_lib.hooks import PROJECTION
from vlm_sae_lib.records.results import published, published_source
from vlm_sae_lib.scores.uniqueness import UniquenessReport, uniqueness
from vlm_sae_lib.statistics.intervals import OVER_TRAININGS, student
from vlm_sae_lib.statistics.neurons import NeuronStatistics
from vlm_sae_lib.workbench import Workbench

KIND, EXPANSION, DRAWS, TOP = "matryoshka_batch_top_k", 16, 10, 16
"""The paper's SAE; blind and popular sets are dealt ``DRAWS`` times for each of its seeds."""
DEALS = f"smallest and largest of {DRAWS} dealings for each seed"
"""The span of what is dealt by chance; means over trainings have Student's t."""
CHANCES = ("blind sets", "equally popular pictures", "random directions")
BAR = 0.001
"""The paper's claim, as a share of pairs (book/analysis_plan.md)."""
BELOW = "share of pairs below one in a thousand"
EVERY_PAIR = 10**7
SAMPLE, SAMPLED = 300, 12
"""Test pictures, and busiest latents of the shipped SAE, of the sample that tests recompute slowly."""


def run(bench: Workbench, found: Findings) -> None:
    """What share of pairs of neurons shares top pictures, and how many; learned ones and three chances."""
    train = bench.activations("train", PROJECTION)
    rows, ids = train.array().numpy(), np.asarray(train.image_ids)
    learned, chances = list[UniquenessReport](), {name: list[UniquenessReport]() for name in CHANCES}
    saes = bench.saes([bench.config(KIND, EXPANSION, seed=seed) for seed in SEEDS], PROJECTION)
    for seed, sae in zip(SEEDS, saes, strict=True):
        code = sae.encode_sparse(train)
        top, last = top_pictures(code, ids)
        report = uniqueness(top, last, most_similar=EVERY_PAIR)
        learned.append(report)
        sets = top[report.neurons]
        for draw in range(DRAWS):
            rng = np.random.default_rng([seed, draw])
            blind = random_sets(len(sets), TOP, len(train), rng)
            chances["blind sets"].append(uniqueness(blind, most_similar=EVERY_PAIR))
            chances["equally popular pictures"].append(uniqueness(deal_again(sets, rng), most_similar=EVERY_PAIR))
        other, other_last = top_pictures(random_directions(rows, code, seed), ids)
        chances["random directions"].append(uniqueness(other, other_last, most_similar=EVERY_PAIR))
    _record_compared(found, saes[0].n_latents, learned, chances["random directions"])
    _record(found, learned, chances, len(train))
    _record_effects(found, learned, chances["random directions"])
    found.table("jaccard", pd.DataFrame([
        point for name, reports in {"learned": learned, **chances}.items() for point in _curve(name, reports)
    ]))  # fmt: skip
    _record_sample(found, bench)


def top_pictures(
    code: Any, ids: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, "n_neurons 16"], Float[np.ndarray, " n_neurons"]]:
    """Ids of every neuron's sixteen top pictures, and its sixteenth activation (0 where it fires on fewer)."""
    statistics = NeuronStatistics(code.shape[1], 1, TOP)
    statistics.update(code, np.ones((len(ids), 1)), ids)
    return statistics.top_images(), statistics.top_activations()[:, -1]


def random_sets(neurons: int, k: int, pictures: int, rng: np.random.Generator) -> Int[np.ndarray, "neurons k"]:
    """As many sets of k different pictures, drawn blindly."""
    return np.array([rng.choice(pictures, k, replace=False) for _ in range(neurons)], dtype=int).reshape(neurons, k)


def deal_again(sets: Int[np.ndarray, "neurons k"], rng: np.random.Generator) -> Int[np.ndarray, "neurons k"]:
    """The same pictures dealt anew: each stands in as many sets as before, and in none of them twice.

    A picture that meets itself in a set changes places with a random one of another, until none does.
    """
    dealt = rng.permutation(sets.ravel()).reshape(sets.shape)
    while True:
        order = np.argsort(dealt, axis=1, kind="stable")
        ranked = np.take_along_axis(dealt, order, axis=1)
        row, place = np.nonzero(ranked[:, 1:] == ranked[:, :-1])
        if len(row) == 0:
            return dealt
        column = order[row, place + 1]
        for i, j in zip(row, column, strict=True):
            a, b = rng.integers(sets.shape[0]), rng.integers(sets.shape[1])
            if dealt[i, j] not in dealt[a] and dealt[a, b] not in dealt[i]:
                dealt[i, j], dealt[a, b] = dealt[a, b], dealt[i, j]


def share_above(report: UniquenessReport, bar: float) -> float:
    return report.pairs_above(bar) / report.pairs if report.pairs else float("nan")


def shared(report: UniquenessReport) -> float:
    """Mean number of top pictures that two neurons have in common: of 16, where the similarity is J, 32 J / (1 + J)."""
    if not report.pairs:
        return float("nan")
    return sum(number * 2 * TOP * value / (1 + value) for value, number in report.counts.items()) / report.pairs


def with_twin(report: UniquenessReport) -> float:
    """Share of the neurons that have another one with which they share most of their pictures."""
    twins = {neuron for a, b, value in report.most_similar if value > 0.5 for neuron in (a, b)}
    return len(twins) / report.neurons_kept if report.neurons_kept else float("nan")


STATISTICS = {
    "share of pairs above 0": (lambda report: share_above(report, 0.0), "share of pairs"),
    "share of pairs above 0.5": (lambda report: share_above(report, 0.5), "share of pairs"),
    "shared pictures per pair": (shared, "pictures of 16"),
    "neurons with a twin": (with_twin, "share of neurons"),
}


def _record_compared(
    found: Findings, neurons: int, learned: list[UniquenessReport], random: list[UniquenessReport]
) -> None:
    """How many neurons there are, and how many have too few pictures to be compared with any other."""
    found.add("neurons", neurons, n=len(learned), split="train", paper_value=published("uniqueness",
              statistic="neurons"), source=published_source("uniqueness", statistic="neurons"))  # fmt: skip
    left_out = {"statistic": "neurons_dropped"}
    for ending, reports in {"": learned, "/random directions": random}.items():
        dropped = [neurons - report.neurons_kept for report in reports]
        of_paper: dict[str, Any] = {} if ending else {
            "paper_value": published("uniqueness", **left_out), "source": published_source("uniqueness", **left_out),
        }  # fmt: skip
        basis: dict[str, Any] = {
            "interval_kind": OVER_TRAININGS, "n": neurons, "split": "train", "seeds": list(SEEDS[: len(reports)]),
        }  # fmt: skip
        name, share = f"neurons left out{ending}", f"share of neurons compared{ending}"
        found.estimate(name, student(dropped), unit="neurons", **basis, **of_paper)
        found.estimate(share, student([1 - number / neurons for number in dropped]), unit="share of neurons", **basis)


def _record(
    found: Findings, learned: list[UniquenessReport], chances: dict[str, list[UniquenessReport]], pictures: int
) -> None:
    """Each statistic of the learned neurons and of each chance; and their difference, training by training."""
    blind = hypergeom(pictures, TOP, TOP)
    exact = {"share of pairs above 0": blind.sf(0), "share of pairs above 0.5": blind.sf(2 * TOP // 3),
             "shared pictures per pair": blind.mean()}  # fmt: skip
    basis: dict[str, Any] = {"split": "train", "seeds": list(SEEDS[: len(learned)])}
    pairs = sum(report.pairs for report in learned)
    for name, (statistic, unit) in STATISTICS.items():
        ours = np.array([statistic(report) for report in learned])
        controls = {chance: f"{name}/{chance}" for chance in CHANCES}
        if name in exact:
            controls["blind sets, exact"] = f"{name}/blind sets, exact"
            found.add(f"{name}/blind sets, exact", float(exact[name]), unit=unit, split="train",
                      n=learned[0].pairs)  # fmt: skip
        for chance, reports in chances.items():
            values = np.array([statistic(report) for report in reports])
            by_training = values.reshape(len(learned), -1).mean(axis=1)  # a training's dealings are one answer
            dealt = len(reports) > len(learned)
            mean, interval = student(by_training)
            found.add(
                f"{name}/{chance}", mean, interval=(values.min(), values.max()) if dealt else interval, unit=unit,
                interval_kind=DEALS if dealt else OVER_TRAININGS, n=sum(report.pairs for report in reports), **basis,
            )  # fmt: skip
            found.estimate(f"{name} minus {chance}", student(ours - by_training), interval_kind=OVER_TRAININGS,
                           unit=unit, n=pairs, **basis)  # fmt: skip
        paper = dict[str, Any]()
        if name.startswith("share of pairs above"):
            where = {"statistic": f"pairs_above_{name.rpartition(' ')[2]}"}
            paper["paper_value"] = published("uniqueness", **where) / published("uniqueness", statistic="pairs")
            paper["source"] = published_source("uniqueness", **where)
        found.estimate(name, student(ours), interval_kind=OVER_TRAININGS, unit=unit, n=pairs, controls=controls,
                       **basis, **paper)  # fmt: skip


def _record_effects(found: Findings, learned: list[UniquenessReport], random: list[UniquenessReport]) -> None:
    """The plan's: by how much the share of pairs stays below one in a thousand, as a share of that; the same of random
    directions, and how much of it is beyond them, stand beside."""
    below = {who: np.array([(BAR - share_above(report, 0.5)) / BAR for report in reports])
             for who, reports in (("latents", learned), ("random directions", random))}  # fmt: skip
    basis: dict[str, Any] = {
        "unit": "training", "of": "share of one in a thousand", "split": "train", "seeds": list(SEEDS[: len(learned)]),
    }  # fmt: skip
    pairs, others = (sum(report.pairs for report in reports) for reports in (learned, random))
    found.effect(f"{BELOW}, random directions", below["random directions"], n=others, **basis)
    found.effect(f"{BELOW} beyond random directions", below["latents"] - below["random directions"], n=pairs, **basis)
    found.effect(BELOW, below["latents"], n=pairs, **basis,
                 controls={"random directions": f"effect/{BELOW}, random directions"})  # fmt: skip


def _curve(name: str, reports: list[UniquenessReport]) -> list[dict]:
    """Share of pairs above each bar: its mean, smallest and largest."""
    points = []
    for bar in np.linspace(0, 0.9, 10):
        shares = [share_above(report, float(bar)) for report in reports]
        points.append({"what": name, "above": round(float(bar), 2), "share": float(np.mean(shares)),
                       "low": min(shares), "high": max(shares)})  # fmt: skip
    return points


def _record_sample(found: Findings, bench: Workbench) -> None:
    """Jaccard similarities of all pairs of a few latents of the shipped SAE, small enough to recompute by hand."""
    sae, store = bench.shown("main_matryoshka"), bench.activations("test", bench.profile.main_hook_point)
    found.input("sae/main_matryoshka", sae.hash)
    code = sae.encode_sparse(store[:SAMPLE])
    busiest = np.sort(np.argsort(-code.getnnz(axis=0), kind="stable")[:SAMPLED])
    top, _ = top_pictures(code, np.arange(SAMPLE))
    pairs = uniqueness(top[busiest], most_similar=EVERY_PAIR).most_similar
    found.table("sample", pd.DataFrame(
        [{"latent": int(busiest[a]), "other": int(busiest[b]), "jaccard": value} for a, b, value in pairs],
        columns=["latent", "other", "jaccard"],
    ))  # fmt: skip


EXPERIMENT = Experiment(
    name="uniqueness",
    title="Are the neurons different from one another?",
    question="How many pairs of neurons share top pictures, and how many would if pictures were dealt at random?",
    paper="App. G",
    run=run,
)
