"""Does MS agree with people (paper Fig. 4, Tab. A1)? The same statistic, with observers that know the truth.

People saw two neurons' sixteen top training pictures and said which set is more alike. Here the pictures' true factors
say it. Pools and bins are the paper's, for ten trainings instead of one, and ten times as many pairs. The same is asked
of random directions that fire as often as the latents: an encoder that learned this very world may agree with its truth
on any neurons.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from vlm_sae_lib.experiments import pools
from vlm_sae_lib.experiments.agreement_bins import (
    PAPER_ENCODERS,
    Chooser,
    active,
    decided,
    every,
    record_bins,
    same_side,
)
from vlm_sae_lib.experiments.experiment import Experiment
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import AT_LEAST, SEEDS, known_factors
from vlm_sae_lib.experiments.pools import OBSERVERS, TOP, Neurons, Study
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.records.results import published, published_source
from vlm_sae_lib.scores.alignment import WIDTH, balanced_pairs, bin_of, uniform_share
from vlm_sae_lib.statistics.intervals import OVER_TRAININGS, student
from vlm_sae_lib.workbench import Workbench

PAIRS = 10_000
"""Of each training, balanced over the bins. People saw a thousand; these observers do not tire, and the one that sees a
difference in a tenth of the pairs only would be left with bins of fewer than ten."""
POPULATIONS: dict[str, Chooser] = {"": every, ENOUGH: active}
"""The plan's two, by how the names of their results end."""
RULES = ("lower firing rate", "larger maximum")
"""They look at no picture: the rarer neuron is the better one, the stronger is."""
CONTROLS = ("shuffled MS", "shuffled MS within pools", *RULES)
UNIT, SPLIT = "share of pairs, mean over bins", "train top pictures, test MS"
RANDOM = "MS of random directions"
LARGE = 0.7
"""Difference in MS from which few neurons are in many pairs."""
SAMPLE = 300
"""Training pictures of the sample on the shipped SAE, which tests recompute slowly."""


def run(bench: Workbench, found: Findings) -> None:
    """Alignment by bin and over all bins, with its controls; of ten seeds."""
    known_factors(bench, "train")  # refused at once, and not after the long part
    first, second = encoders = bench.scoring_names[:2]
    benches, raw = pools.towers(bench), pools.raw_pool(bench)
    learned, random = list[Study](), list[Study]()
    for seed in SEEDS:
        for studies, latents in zip((learned, random), pools.latent_pools(benches, seed), strict=True):
            neurons = pools.together([raw, *latents], encoders)
            studies.append((neurons, balanced_pairs(neurons.ms[first], PAIRS, seed=seed)))
    headline = {"binned_by": PAPER_ENCODERS[0], "statistic": "alignment_if_uniform_percent"}
    paper = {
        "paper_value": published("user_study", **headline) / 100, "source": published_source("user_study", **headline)
    }  # fmt: skip
    for observer in OBSERVERS:
        record_headline(found, learned, random, first, observer, paper)
        record_headline(found, learned, random, second, observer, {})
    record_effect(found, learned, first)
    record_bins(found, learned, encoders, SEEDS)
    _record_largest(found, learned, first)
    _record_ties(found, learned, encoders)
    _record_sample(found, bench)


def predictions(neurons: Neurons, encoder: str, seed: int) -> dict[str, Float[np.ndarray, " n_neurons"]]:
    """By which number each predictor chooses the neuron of a pair; the larger one wins."""
    ms, facts = neurons.ms[encoder], neurons.facts
    rng = np.random.default_rng(seed)
    shuffled, within = ms.copy(), ms.copy()
    scored = np.flatnonzero(~np.isnan(ms))
    shuffled[scored] = ms[rng.permutation(scored)]
    for members in facts.groupby("pool").indices.values():
        within[members] = ms[rng.permutation(members)]
    return {
        "MS": ms, "shuffled MS": shuffled, "shuffled MS within pools": within,
        "lower firing rate": -facts["rate"].to_numpy(), "larger maximum": facts["maximum"].to_numpy(),
    }  # fmt: skip


def shares(
    study: Study, encoder: str, observer: str, choose: Chooser, predictors: Mapping[str, Float[np.ndarray, " n"]]
) -> dict[str, float]:
    """How often each predictor prefers the observer's neuron, mean over the bins of the encoder's difference."""
    neurons, pairs = study[0], decided(study, observer, choose)
    truth, bins = neurons.facts[observer].to_numpy(), bin_of(*neurons.ms[encoder][pairs.T])
    return {who: uniform_share(same_side(values, truth, pairs), bins) for who, values in predictors.items()}


def record_headline(
    found: Findings, learned: Sequence[Study], random: Sequence[Study], encoder: str, observer: str,
    paper: dict[str, Any],
) -> None:  # fmt: skip
    """Mean over bins: MS, its controls, MS of random directions, and MS minus each of these; MS on latents alone."""
    where = f"{encoder}/{observer}"
    basis: dict[str, Any] = {
        "interval_kind": OVER_TRAININGS, "unit": UNIT, "split": SPLIT, "seeds": list(SEEDS[: len(learned)]),
    }  # fmt: skip
    for ending, choose in POPULATIONS.items():
        by_training = [
            shares(study, encoder, observer, choose, predictions(study[0], encoder, seed))
            | {RANDOM: shares(other, encoder, observer, choose, {"MS": other[0].ms[encoder]})["MS"]}
            for seed, (study, other) in enumerate(zip(learned, random, strict=True))
        ]
        values, rivals = pd.DataFrame(by_training), (*CONTROLS, RANDOM)
        number, of_random = (_pairs(kind, encoder, observer, choose) for kind in (learned, random))
        for who in values:
            found.estimate(
                f"{where}/{who}{ending}", student(values[who]), n=of_random if who == RANDOM else number,
                controls={word: f"{where}/{word}{ending}" for word in rivals} if who == "MS" else {},
                **basis, **(paper if who == "MS" and not ending else {}),
            )  # fmt: skip
        for rival in rivals:
            gap = student(values["MS"] - values[rival])
            found.estimate(f"{where}/MS minus {rival}{ending}", gap, n=number, **basis)
    alone, number = _latents_alone(learned, encoder, observer), _pairs(learned, encoder, observer, _latents)
    for who in alone:
        found.estimate(
            f"{where}/latents alone" if who == "MS" else f"{where}/{who}, latents alone", student(alone[who]), n=number,
            controls={rule: f"{where}/{rule}, latents alone" for rule in RULES} if who == "MS" else {}, **basis,
        )  # fmt: skip


def _latents_alone(studies: Sequence[Study], encoder: str, observer: str) -> pd.DataFrame:
    """MS and the rules on pairs of two latents, a row for each training: there no raw neuron is to be told apart."""
    rows = [
        shares(study, encoder, observer, _latents, predictions(study[0], encoder, seed))
        for seed, study in enumerate(studies)
    ]
    return pd.DataFrame(rows)[["MS", *RULES]]


def record_effect(found: Findings, studies: Sequence[Study], encoder: str) -> None:
    """The plan's: MS minus the better of two rules that look at no picture, on the same pairs, for each observer."""
    for ending, choose in POPULATIONS.items():
        gains = np.array([
            [_beyond_rules(study, encoder, observer, choose) for observer in OBSERVERS] for study in studies
        ])  # fmt: skip
        found.effect(
            f"agreement beyond rules without pictures{ending}", gains, unit="training",
            of=UNIT, n=sum(int(choose(*study).sum()) for study in studies),
            split=SPLIT, cases=tuple(OBSERVERS), seeds=list(SEEDS[: len(studies)]),
        )  # fmt: skip


def _beyond_rules(study: Study, encoder: str, observer: str, choose: Chooser) -> float:
    found = shares(study, encoder, observer, choose, predictions(study[0], encoder, 0))
    return found["MS"] - max(found[rule] for rule in RULES)


def _pairs(studies: Sequence[Study], encoder: str, observer: str, choose: Chooser) -> int:
    """How many pairs of all studies count."""
    scores = [study[0].ms[encoder][decided(study, observer, choose)] for study in studies]
    return sum(int((~np.isnan(both)).all(axis=1).sum()) for both in scores)


def _latents(neurons: Neurons, pairs: Int[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
    return (neurons.facts["pool"].to_numpy()[pairs] != "raw").all(axis=1)


def _record_largest(found: Findings, studies: Sequence[Study], encoder: str) -> None:
    """Whose scores make the largest differences: how many neurons, and on how few pictures they are active."""
    neurons_of, rarely = 0, []
    for neurons, pairs in studies:
        ms = neurons.ms[encoder][pairs]
        far = pairs[bin_of(*ms.T) >= round(LARGE / WIDTH)]
        larger = far[np.arange(len(far)), np.argmax(neurons.ms[encoder][far], axis=1)]
        neurons_of += len(np.unique(larger))
        rarely += (neurons.facts["pictures"].to_numpy()[larger] < AT_LEAST).tolist()
    basis: dict[str, Any] = {"n": len(rarely), "seeds": list(SEEDS[: len(studies)]), "split": "test"}
    found.add("largest differences/pairs", len(rarely), unit="pairs of all seeds", **basis)
    found.add("largest differences/neurons with the larger MS", neurons_of, unit="neurons of all seeds", **basis)
    found.add(f"largest differences/of neurons of fewer than {AT_LEAST} pictures",
              float(np.mean(rarely)) if rarely else None, unit="share of pairs", **basis)  # fmt: skip


def _paper_bin(low: float, **where: str) -> float | None:
    if low >= 0.9 or (where["binned_by"] == PAPER_ENCODERS[1] and low >= 0.5):
        return None
    return published("user_study", bin_low=low, statistic="alignment", **where)


def _record_ties(found: Findings, studies: Sequence[Study], encoders: Sequence[str]) -> None:
    """Ties of MS, which go to the second neuron as in the paper, and of the observers, which are left out; and how
    often two observers that see a difference prefer the same neuron. Ties and pools are the first training's."""
    neurons, pairs = studies[0]
    values = {f"MS, {encoder}": neurons.ms[encoder] for encoder in encoders}
    values |= {f"observer, {name}": neurons.facts[name].to_numpy() for name in OBSERVERS}
    for name, value in values.items():
        a, b = value[pairs.T]
        found.add(f"ties/{name}", int((a == b).sum()), n=int((~np.isnan(a) & ~np.isnan(b)).sum()), unit="pairs")
    for one, other in combinations(OBSERVERS, 2):
        same = []
        for some, theirs in studies:
            seen = decided((some, decided((some, theirs), one)), other)
            same.append(same_side(some.facts[one].to_numpy(), some.facts[other].to_numpy(), seen))
        found.estimate(
            f"observers prefer the same neuron/{one} and {other}",
            student([agree.mean() if len(agree) else np.nan for agree in same]), interval_kind=OVER_TRAININGS,
            n=sum(map(len, same)), unit="share of pairs", split="train", seeds=list(SEEDS[: len(studies)]),
        )  # fmt: skip
    sizes = neurons.facts["pool"].value_counts()
    found.table("pools", pd.DataFrame({"pool": sizes.index, "neurons": sizes.to_numpy()}))


def _record_sample(found: Findings, bench: Workbench) -> None:
    """Both observers on three latents of the shipped SAE and a few pictures: small enough to recompute by hand."""
    sae, hook_point = bench.shown("main_matryoshka"), bench.profile.main_hook_point
    factors, columns = known_factors(bench, "train")
    code = sae.encode_sparse(bench.activations("train", hook_point)[:SAMPLE]).toarray()
    busiest = np.argsort(-(code > 0).sum(axis=0), kind="stable")[[20, 40, 60]]
    top = np.argsort(-code[:, busiest], axis=0, kind="stable")[:TOP].T
    found.input("sae/main_matryoshka", sae.hash)
    observed = {name: observe(top, factors[:SAMPLE], columns) for name, observe in OBSERVERS.items()}
    found.table("sample", pd.DataFrame({"latent": busiest, "top pictures": top.tolist(), **observed}))


EXPERIMENT = Experiment(
    name="agreement",
    title="Does the score agree with what is true?",
    question="Of two neurons, does the one with the larger MS have the top pictures with more in common?",
    paper="Fig. 4, Tab. A1",
    run=run,
)
