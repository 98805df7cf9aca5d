"""Does MS agree with people (paper Fig. 4, Tab. A1)? The same statistic, with observers that know the truth.

People saw two neurons' sixteen top training pictures and said which set is more alike. Here the pictures' true factors
say it. Pools, pairs and bins are the paper's; for three seeds instead of one.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from vlm_sae_lib.controls.observers import factor_agreement, most_shared, surprise
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import AT_LEAST, known_factors
from vlm_sae_lib.experiments.registry import Experiment
from vlm_sae_lib.hooks import PROJECTION
from vlm_sae_lib.records.results import published, published_source
from vlm_sae_lib.scores.alignment import WIDTH, balanced_pairs, bin_draws, bin_of, prefers_first, uniform_draws
from vlm_sae_lib.scores.comparison import over_trainings, pictures_above_minimum
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.statistics.gather import gather_statistics
from vlm_sae_lib.statistics.intervals import wilson
from vlm_sae_lib.workbench import Workbench

SEEDS, PAIRS, TOP = (0, 1, 2), 1000, 16
POOLS = (("BatchTopK ×4", "batch_top_k"), ("Matryoshka ×4", "matryoshka_batch_top_k"))
OBSERVERS = {"all factors": factor_agreement, "one factor": most_shared, "surprise": surprise}
"""How alike the top pictures are in all factors; how far they share the value that most of them have; how unlikely that
is. Pairs between which an observer sees no difference are left out, as no majority of three people is a tie."""
CONTROLS = ("shuffled MS", "shuffled MS within pools", "lower firing rate", "larger maximum")
OVER_NEURONS = "500 bootstrap draws, of the seeds first and then of the neurons, middle 95 %"
PAPER_ENCODERS = ("DINOv2 ViT-B", "CLIP ViT-B")
LARGE = 0.7
"""Difference in MS from which few neurons are in many pairs."""
SAMPLE = 300
"""Training pictures of the sample on the shipped SAE, which tests recompute slowly."""


@dataclass(frozen=True, eq=False)
class Neurons:
    """What is known of each neuron of all pools: one row per neuron, and the encoders' MS of it (NaN: not scored)."""

    facts: pd.DataFrame
    """``pool``, ``pictures`` (above the minimum, test), ``rate``, ``maximum`` (training), a column per observer."""
    ms: dict[str, Float[np.ndarray, " n_neurons"]]


Study = tuple[Neurons, Int[np.ndarray, "n 2"]]
"""Neurons of one training seed, and the pairs of them that the observers see."""


def run(bench: Workbench, found: Findings) -> None:
    """Alignment by bin and over all bins, with its controls; three seeds, each with as many pairs as in the paper."""
    known_factors(bench, "train")  # refused at once, and not after the long part
    first, second = bench.scoring_names[:2]
    benches = {"": bench, f", {second}": _of_second_tower(bench, first, second)}
    studies = []
    for seed in SEEDS:
        neurons = gather_neurons(benches, seed)
        studies.append((neurons, balanced_pairs(neurons.ms[first], PAIRS, seed=seed)))
    headline = {"binned_by": PAPER_ENCODERS[0], "statistic": "alignment_if_uniform_percent"}
    paper = {
        "paper_value": published("user_study", **headline) / 100, "source": published_source("user_study", **headline)
    }  # fmt: skip
    for observer in OBSERVERS:
        _record_headline(found, studies, first, observer, paper)
        _record_headline(found, studies, second, observer, {})
    _record_bins(found, studies, (first, second))
    _record_largest(found, studies, first)
    _record_ties(found, studies[0], (first, second))
    _record_sample(found, bench)


def _of_second_tower(bench: Workbench, first: str, second: str) -> Workbench:
    """The second scoring encoder explained in its turn, scored by the first alone: never by itself."""
    models = dict(bench.profile.scoring_towers)
    return Workbench(replace(bench.profile, tower=models[second], scoring_towers=((first, models[first]),)))


def gather_neurons(benches: dict[str, Workbench], seed: int) -> Neurons:
    """The paper's four pools: raw neurons and SAEs of both kinds of the tower's projection, one SAE of another tower's.

    Neurons without sixteen training pictures, or whose MS is undefined under an encoder that scores them, are left out.
    """
    facts, ms = [], []
    for suffix, bench in benches.items():
        train, test = (bench.activations(split, PROJECTION) for split in ("train", "test"))
        pools = POOLS[:1] if suffix else POOLS
        saes = bench.saes([bench.config(kind, 4, seed=seed) for _, kind in pools], PROJECTION)
        readers = dict(zip([name + suffix for name, _ in pools], saes, strict=True))
        for pool, reader in (readers if suffix else {"raw": None, **readers}).items():
            code = test.array().numpy() if reader is None else reader.encode_sparse(test)
            scores = {name: monosemanticity_score(code, bench.embeddings("test", name).array())
                      for name in bench.scoring_names}  # fmt: skip
            frame = _facts(bench, pool, train, reader).assign(pictures=pictures_above_minimum(code))
            kept = frame.pop("full").to_numpy() & ~np.isnan(np.stack(list(scores.values()))).any(axis=0)
            facts.append(frame[kept])
            ms.append(pd.DataFrame(scores)[kept])
    together = pd.concat(ms, ignore_index=True)
    return Neurons(pd.concat(facts, ignore_index=True), {name: together[name].to_numpy() for name in together})


def _facts(bench: Workbench, pool: str, train: Any, reader: Any) -> pd.DataFrame:
    statistics = gather_statistics(train, train, reader, top_k=TOP).statistics
    top = statistics.top_images()
    observed = {name: observe(top, *known_factors(bench, "train")) for name, observe in OBSERVERS.items()}
    return pd.DataFrame({
        "pool": pool, "full": (top >= 0).all(axis=1), "rate": statistics.firing_rate(),
        "maximum": statistics.maximum, **observed,
    })  # fmt: skip


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


def _record_headline(
    found: Findings, studies: Sequence[Study], encoder: str, observer: str, paper: dict[str, Any]
) -> None:
    """Mean over bins: MS, its controls, MS minus each of them; and MS on two subsets of the pairs."""
    where = f"{encoder}/{observer}"
    draws: dict[str, list] = {}
    sizes = dict.fromkeys(("", *SUBSETS), 0)
    for seed, (neurons, pairs) in enumerate(studies):
        for subset, choose in {"": _all, **SUBSETS}.items():
            truth = neurons.facts[observer].to_numpy()
            x, y = pairs[choose(neurons, pairs) & (truth[pairs[:, 0]] != truth[pairs[:, 1]])].T
            bins = bin_of(neurons.ms[encoder][x], neurons.ms[encoder][y])
            sizes[subset] += int((bins >= 0).sum())
            for who, values in predictions(neurons, encoder, seed).items():
                if who == "MS" or not subset:
                    aligned = prefers_first(values[x], values[y]) == prefers_first(truth[x], truth[y])
                    drawn = uniform_draws(aligned, bins, x, y, seed=seed)
                    draws.setdefault(subset or who, []).append(drawn)
    basis: dict[str, Any] = {
        "interval_kind": OVER_NEURONS, "unit": "share of pairs, mean over bins", "seeds": list(SEEDS),
        "split": "train top pictures, test MS",
    }  # fmt: skip
    for name, runs in draws.items():
        found.estimate(
            f"{where}/{name}", over_trainings(runs), n=sizes.get(name, sizes[""]),
            controls={word: f"{where}/{word}" for word in CONTROLS} if name == "MS" or name in SUBSETS else {},
            **basis, **(paper if name == "MS" else {}),
        )  # fmt: skip
    for control in CONTROLS:
        gaps = [(a - b, c - d) for (a, c), (b, d) in zip(draws["MS"], draws[control], strict=True)]
        found.estimate(f"{where}/MS minus {control}", over_trainings(gaps), n=sizes[""], **basis)


def _all(neurons: Neurons, pairs: Int[np.ndarray, "n 2"]) -> np.ndarray:
    return np.ones(len(pairs), dtype=bool)


def _latents(neurons: Neurons, pairs: Int[np.ndarray, "n 2"]) -> np.ndarray:
    return (neurons.facts["pool"].to_numpy()[pairs] != "raw").all(axis=1)


def _active(neurons: Neurons, pairs: Int[np.ndarray, "n 2"]) -> np.ndarray:
    return (neurons.facts["pictures"].to_numpy()[pairs] >= AT_LEAST).all(axis=1)


Chooser = Callable[[Neurons, np.ndarray], np.ndarray]
SUBSETS: dict[str, Chooser] = {"latents alone": _latents, f"neurons of at least {AT_LEAST} pictures": _active}


def _record_bins(found: Findings, studies: Sequence[Study], encoders: Sequence[str]) -> None:
    """The paper's Table A1: bins of either encoder's difference, alignment of both."""
    papers = dict(zip(encoders, PAPER_ENCODERS, strict=True))
    tables = []
    for binned_by, observer, encoder in product(encoders, OBSERVERS, encoders):
        table = aligned_by_bin(studies, binned_by, encoder, observer)
        where = {"binned_by": papers[binned_by], "scoring_encoder": papers[encoder]}
        table["paper"] = [_paper_bin(low, **where) for low in table["bin_low"]]
        tables.append(table.assign(binned_by=binned_by, encoder=encoder, observer=observer))
    found.table("bins", pd.concat(tables))
    encoder, observer = encoders[0], next(iter(OBSERVERS))
    where = {"binned_by": papers[encoder], "scoring_encoder": papers[encoder]}
    for subset, choose in {"": _all, f"neurons of at least {AT_LEAST} pictures, ": _active}.items():
        for row in aligned_by_bin(studies, encoder, encoder, observer, choose).itertuples():
            paper = None if subset else _paper_bin(row.bin_low, **where)
            found.add(
                f"{encoder}/{observer}/{subset}difference {row.bin_low:.1f} to {row.bin_high:.1f}",
                row.alignment, interval=(row.low, row.high), interval_kind=OVER_NEURONS, n=row.pairs,
                unit="share of pairs", seeds=list(SEEDS), split="train top pictures, test MS", paper_value=paper,
                source="v3 Fig. 4 and Table A1" if paper is not None else None,
            )  # fmt: skip


def aligned_by_bin(
    studies: Sequence[Study], binned_by: str, encoder: str, observer: str, choose: Chooser = _all
) -> pd.DataFrame:
    """Per bin of one encoder's difference, how often another's MS prefers the neuron that the observer prefers.

    ``bin_low, bin_high, pairs`` of all studies, ``alignment`` (the mean of the studies), ``low, high``, and
    ``smallest, largest`` of the studies: what the neurons of one training alone would have said.
    """
    runs: dict[int, list] = {}
    pairs_of: Counter = Counter()
    for seed, (neurons, pairs) in enumerate(studies):
        truth, ms = neurons.facts[observer].to_numpy(), neurons.ms[encoder]
        x, y = pairs[choose(neurons, pairs)].T
        known = ~np.isnan(ms[x]) & ~np.isnan(ms[y]) & (truth[x] != truth[y])
        x, y = x[known], y[known]
        bins = bin_of(neurons.ms[binned_by][x], neurons.ms[binned_by][y])
        aligned = prefers_first(ms[x], ms[y]) == prefers_first(truth[x], truth[y])
        pairs_of.update(bins[bins >= 0].tolist())
        for number, drawn in bin_draws(aligned, bins, x, y, seed=seed).items():
            runs.setdefault(number, []).append(drawn)
    rows = []
    for number in sorted(runs):
        mean, alone = over_trainings(runs[number]), [value for value, _ in runs[number]]
        edges = round(number * WIDTH, 6), round((number + 1) * WIDTH, 6)
        rows.append((*edges, pairs_of[number], mean.value, *mean.interval, min(alone), max(alone)))
    columns = ["bin_low", "bin_high", "pairs", "alignment", "low", "high", "smallest", "largest"]
    return pd.DataFrame(rows, columns=columns)


def _record_largest(found: Findings, studies: Sequence[Study], encoder: str) -> None:
    """Whose scores make the largest differences: how many neurons, and on how few pictures they are active."""
    neurons_of, rarely = 0, []
    for neurons, pairs in studies:
        ms = neurons.ms[encoder][pairs]
        far = pairs[bin_of(*ms.T) >= round(LARGE / WIDTH)]
        larger = far[np.arange(len(far)), np.argmax(neurons.ms[encoder][far], axis=1)]
        neurons_of += len(np.unique(larger))
        rarely += (neurons.facts["pictures"].to_numpy()[larger] < AT_LEAST).tolist()
    basis: dict[str, Any] = {"n": len(rarely), "seeds": list(SEEDS), "split": "test"}
    found.add("largest differences/pairs", len(rarely), unit="pairs of all seeds", **basis)
    found.add("largest differences/neurons with the larger MS", neurons_of, unit="neurons of all seeds", **basis)
    found.add(f"largest differences/of neurons of fewer than {AT_LEAST} pictures",
              float(np.mean(rarely)) if rarely else None, unit="share of pairs", **basis)  # fmt: skip


def _paper_bin(low: float, **where: str) -> float | None:
    if low >= 0.9 or (where["binned_by"] == PAPER_ENCODERS[1] and low >= 0.5):
        return None
    return published("user_study", bin_low=low, statistic="alignment", **where)


def _record_ties(found: Findings, study: Study, encoders: Sequence[str]) -> None:
    """Ties of MS, which go to the second neuron as in the paper, and of the observers, which are left out; and how
    often two observers that see a difference prefer the same neuron."""
    neurons, pairs = study
    values = {f"MS, {encoder}": neurons.ms[encoder] for encoder in encoders}
    values |= {f"observer, {name}": neurons.facts[name].to_numpy() for name in OBSERVERS}
    for name, value in values.items():
        a, b = value[pairs.T]
        found.add(f"ties/{name}", int((a == b).sum()), n=int((~np.isnan(a) & ~np.isnan(b)).sum()), unit="pairs")
    for one, other in combinations(OBSERVERS, 2):
        (a, b), (c, d) = (neurons.facts[name].to_numpy()[pairs.T] for name in (one, other))
        decided = (a != b) & (c != d)
        same, n = int(((a > b) == (c > d))[decided].sum()), int(decided.sum())
        found.add(
            f"observers prefer the same neuron/{one} and {other}", same / n if n else None, interval=wilson(same, n),
            interval_kind="Wilson over pairs", n=n, unit="share of pairs", split="train", seeds=[SEEDS[0]],
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
