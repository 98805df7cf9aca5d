"""Can a latent be named by CLIP's text tower, and is the name right? Not in the paper.

A name is chosen on the choosing pictures and checked on the test pictures. Its truth is known there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.special import softmax

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.experiment import Experiment
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import OVER_TRAININGS, SEEDS, known_factors
from vlm_sae_lib.hooks import PROJECTION
from vlm_sae_lib.pocket import tree
from vlm_sae_lib.pocket.islands import HOME, Island, of_kind
from vlm_sae_lib.scores.truth import detection_scores, name_neurons, one_hot
from vlm_sae_lib.statistics.intervals import RESAMPLES, of_trainings, student, wilson
from vlm_sae_lib.steering.words import dictionary
from vlm_sae_lib.towers.pocket_models import load_clip
from vlm_sae_lib.workbench import Workbench

TOP, SHARES = 16, ("majority", "best")
SHIPPED = {"Matryoshka ×4 at block_5": "main_matryoshka", "BatchTopK ×4 at block_5": "main_batch_top_k"}
TRAINED = {"Matryoshka ×4 at projection": "matryoshka_batch_top_k", "BatchTopK ×4 at projection": "batch_top_k"}
MAIN = "Matryoshka ×4 at projection"
PICTURES, CENTRED, DECODER = "its top pictures", "its top pictures, centred", "its decoder direction"
MEASURES = {
    "most top pictures have it": "majority",
    "no value is detected better": "best",
    "precision": "precision",
    "precision beyond the base rate": "beyond",
}
"""What is asked of a name, and the column of `check` that answers it."""
CONTROLS = ("named blindly", "shuffled names", "names of equal firing rate")
"""The name of sixteen random pictures (for the decoder, of a random direction); that of another latent drawn at random;
that of the latent whose firing rate is next."""
EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
OVER_LATENTS = f"one training: {RESAMPLES:,} bootstrap draws of the latents, middle 95 %"
WILSON = "one training: Wilson over latents"
SAMPLE = 300
"""Pictures of the sample on the shipped SAE, which tests recompute slowly."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The words, what each is about, and the unit text embeddings of the explained CLIP.

    ``scale`` is CLIP's learned temperature: softmax(scale × cosine) is how sure it is of a word among all of them.
    """

    words: list[tuple[str, str]]
    texts: Float[np.ndarray, "n_words d"]
    scale: float

    def name(self, vectors: Float[np.ndarray, "n d"]) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """The nearest word to each vector, and the confidence in it."""
        cosines = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) @ self.texts.T
        best = cosines.argmax(axis=1)
        return best, softmax(self.scale * cosines, axis=1)[np.arange(len(best)), best]


def run(bench: Workbench, found: Findings) -> None:
    """Names of the latents of shipped SAEs, and of SAEs of ten seeds at the projection, by each method."""
    if bench.profile.tower != bench.profile.island:
        raise UserError("Names are checked against the truth of the pocket world; use a profile whose tower is pocket.")
    vocabulary, factors = pocket_vocabulary(of_kind(bench.profile.tower) or HOME), known_factors(bench, "test")[0]
    truth = truth_table(vocabulary, factors)
    everything: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for subject, shipped in SHIPPED.items():
        sae = bench.shown(shipped)
        found.input(f"sae/{shipped}", sae.hash)
        everything |= _checked(bench, subject, [sae], bench.profile.main_hook_point, vocabulary, truth, factors)
    for subject, kind in TRAINED.items():
        saes = bench.saes([bench.config(kind, 4, seed=seed) for seed in SEEDS], PROJECTION)
        everything |= _checked(bench, subject, saes, PROJECTION, vocabulary, truth, factors)
    for (subject, method), runs in everything.items():
        _record(found, f"{subject}/{method}", runs)
    _record_calibration(found, {method: everything[MAIN, method] for method in (PICTURES, CENTRED, DECODER)})
    _record_ranks(found, everything[MAIN, PICTURES], vocabulary)
    shipped = "Matryoshka ×4 at block_5"
    _record_examples(found, everything[shipped, PICTURES][0], vocabulary, bench.shown(SHIPPED[shipped]).hash)
    _record_sample(found, bench, vocabulary)


@lru_cache(maxsize=1)
def pocket_vocabulary(island: Island = HOME) -> Vocabulary:
    """Every word for a factor of the island: seven ranks, colours, patterns, habitats; from CLIP's prompt ensemble."""
    words, texts = dictionary((*tree.RANKS, "colour", "pattern", "habitat"), island)
    scale = load_clip("clip", island=island)[0].logit_scale.detach().exp()
    return Vocabulary(words, texts.numpy().astype(np.float64), float(scale))


def truth_table(vocabulary: Vocabulary, factors: pd.DataFrame) -> Bool[np.ndarray, "n n_words"]:
    """Which word is true of which picture; a word for a value that no picture has is true of none."""
    columns = []
    for about, word in vocabulary.words:
        table, values = one_hot(factors, about)
        columns.append(table[:, values.index(word)] if word in values else np.zeros(len(factors), dtype=bool))
    return np.stack(columns, axis=1)


def _checked(
    bench: Workbench, subject: str, saes: Sequence[Any], hook_point: str, vocabulary: Vocabulary,
    truth: Bool[np.ndarray, "n n_words"], factors: pd.DataFrame,
) -> dict[tuple[str, str], list[pd.DataFrame]]:  # fmt: skip
    """By (subject, method) a table for each SAE, a row per latent: the name, its confidence, and what `check` says of
    it and, under ``<control>/``, of the name that each control gives."""
    choosing, test = (bench.activations(split, hook_point) for split in ("choosing", "test"))
    images = bench.activations("choosing", PROJECTION).array().numpy().astype(np.float64)
    found: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for seed, sae in enumerate(saes):
        chosen, scored = sae.encode_sparse(choosing).toarray(), sae.encode_sparse(test).toarray()
        enough = ((chosen > 0).sum(axis=0) >= TOP) & ((scored > 0).sum(axis=0) >= TOP)
        latents = np.flatnonzero(enough)
        top, held_out = top_rows(chosen[:, latents]), top_rows(scored[:, latents])
        detects = best_words(scored[:, latents], factors, vocabulary)
        vectors = {PICTURES: images[top].mean(axis=1), CENTRED: images[top].mean(axis=1) - images.mean(axis=0)}
        if hook_point == PROJECTION:
            vectors[DECODER] = sae.w_dec.detach().cpu().numpy().astype(np.float64)[latents]
        rate = (chosen[:, latents] > 0).mean(axis=0)
        rng = np.random.default_rng(seed)
        blindly = images[rng.integers(len(images), size=top.shape)].mean(axis=1)
        blind = {PICTURES: blindly, CENTRED: blindly - images.mean(axis=0), DECODER: rng.standard_normal(blindly.shape)}
        for method, vector in vectors.items():
            word, confidence = vocabulary.name(vector)
            others = {
                "named blindly": vocabulary.name(blind[method])[0],
                "shuffled names": word[rng.permutation(len(word))],
                "names of equal firing rate": word[neighbours(rate)],
            }
            table = check(word, held_out, truth, detects).assign(latent=latents, confidence=confidence, rate=rate)
            for control, other in others.items():
                table = table.join(check(other, held_out, truth, detects).add_prefix(f"{control}/"))
            table["top pictures"] = [row[:4].tolist() for row in held_out]
            found.setdefault((subject, method), []).append(table)
    return found


def top_rows(code: Float[np.ndarray, "n n_latents"]) -> Int[np.ndarray, "n_latents k"]:
    """Rows of the ``TOP`` largest values of each column, equals by the smaller row."""
    return np.argsort(-code, axis=0, kind="stable")[:TOP].T


def neighbours(rate: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """For each latent another one whose firing rate is next to its own: pairs along the order change places."""
    order = np.argsort(rate, kind="stable")
    partner = np.arange(len(order)) ^ 1
    if len(order) % 2:
        partner[-1] = max(len(order) - 2, 0)
    other = np.empty(len(order), dtype=int)
    other[order] = order[partner]
    return other


def best_words(code: Float[np.ndarray, "n f"], factors: pd.DataFrame, vocabulary: Vocabulary) -> Int[np.ndarray, " f"]:
    """Number of the word whose value each latent detects best, by its best F1 on the same pictures."""
    columns = list(dict.fromkeys(about for about, _ in vocabulary.words))
    named = name_neurons(detection_scores(code, factors, columns))
    numbers = {word: i for i, word in enumerate(vocabulary.words)}
    return np.array([numbers[row.factor, row.value] for row in named.itertuples()], dtype=int)


def check(
    word: Int[np.ndarray, " f"],
    top: Int[np.ndarray, "f k"],
    truth: Bool[np.ndarray, "n w"],
    best: Int[np.ndarray, " f"],
) -> pd.DataFrame:
    """What the test pictures say of names; two words for the same pictures (a genus of one species) count as one."""
    precision, base = truth[top, word[:, None]].mean(axis=1), truth.mean(axis=0)[word]
    return pd.DataFrame({
        "word": word, "precision": precision, "base_rate": base, "beyond": precision - base,
        "majority": precision > 0.5, "best": (truth[:, word] == truth[:, best]).all(axis=0),
    })  # fmt: skip


def _record(found: Findings, where: str, runs: Sequence[pd.DataFrame]) -> None:
    """Share of right names and their precision, mean over trainings; what each control gives, and what is beyond it."""
    n, alone = sum(len(run) for run in runs), len(runs) == 1
    kind = OVER_LATENTS if alone else OVER_TRAININGS
    basis: dict[str, Any] = {
        "n": n, "seeds": list(SEEDS[: len(runs)]), "split": "named on choosing, checked on test",
    }  # fmt: skip
    for measure, column in MEASURES.items():
        basis["unit"] = "share of latents" if column in SHARES else "share of the top 16"
        own = [run[column].to_numpy(dtype=np.float64) for run in runs]
        for who in ("", *CONTROLS):
            values = [run[f"{who}/{column}"].to_numpy(dtype=np.float64) for run in runs] if who else own
            estimate, wilsons = of_trainings(values), alone and column in SHARES
            found.add(
                f"{where}/{measure}" + (f"/{who}" if who else ""), estimate.value,
                interval=wilson(int(values[0].sum()), n) if wilsons else estimate.interval,
                interval_kind=WILSON if wilsons else kind, **basis,
                controls={} if who else {control: f"{where}/{measure}/{control}" for control in CONTROLS},
            )  # fmt: skip
            if who:
                beyond = of_trainings([a - b for a, b in zip(own, values, strict=True)])
                found.estimate(f"{where}/{measure}/minus {who}", beyond, interval_kind=kind, **basis)
    base = of_trainings([run["base_rate"] for run in runs])
    found.estimate(f"{where}/base rate of the named values", base, interval_kind=kind, n=n, split="test")


def _record_calibration(found: Findings, named: dict[str, list[pd.DataFrame]]) -> None:
    """How often names of a stated confidence are right, the gap between the two, and whether the surer are truer."""
    rows = []
    for method, runs in named.items():
        n, places = sum(map(len, runs)), [_bins(run) for run in runs]
        for number in range(len(EDGES) - 1):
            parts = [run[place == number] for run, place in zip(runs, places, strict=True)]
            if latents := sum(map(len, parts)):
                rows.append({
                    "method": method, "from": EDGES[number], "to": EDGES[number + 1], "latents": latents,
                    "confidence": student([_mean(part["confidence"]) for part in parts]).value,
                    **_right([_mean(part["majority"]) for part in parts]),
                })  # fmt: skip
        basis: dict[str, Any] = {
            "interval_kind": OVER_TRAININGS, "n": n, "split": "test", "seeds": list(SEEDS[: len(runs)]),
        }  # fmt: skip
        for what, of_run in {
            "gap between confidence and truth": _gap,
            "confidence minus share of true names": lambda run: float((run["confidence"] - run["majority"]).mean()),
            "true names, surer half minus the other": surer_minus_other,
        }.items():
            found.estimate(f"{MAIN}/{method}/{what}", student([of_run(run) for run in runs]), **basis)
    found.table("calibration", pd.DataFrame(rows))


def surer_minus_other(table: pd.DataFrame) -> float:
    """Share of true names in the half with more confidence, minus the share in the other half."""
    ranked = table.sort_values("confidence", kind="stable")["majority"].to_numpy(dtype=np.float64)
    half = len(ranked) // 2
    return float(ranked[-half:].mean() - ranked[:half].mean()) if half else float("nan")


def _gap(table: pd.DataFrame) -> float:
    """Mean distance between stated confidence and share of true names, bins weighted by latents."""
    parts = [part for _, part in table.groupby(_bins(table))]
    return sum(abs(part["confidence"].mean() - part["majority"].mean()) * len(part) for part in parts) / len(table)


def _bins(table: pd.DataFrame) -> Int[np.ndarray, " n"]:
    return np.clip(np.digitize(table["confidence"], EDGES) - 1, 0, len(EDGES) - 2)


def _record_ranks(found: Findings, runs: Sequence[pd.DataFrame], vocabulary: Vocabulary) -> None:
    """By what the name is about: how many, how often right, and the mean base rate, means over trainings."""
    rows = []
    for factor in dict.fromkeys(about for about, _ in vocabulary.words):
        parts = [run[[vocabulary.words[word][0] == factor for word in run["word"]]] for run in runs]
        rows.append({
            "about": factor, "latents": sum(map(len, parts)), **_right([_mean(part["majority"]) for part in parts]),
            "precision": student([_mean(part["precision"]) for part in parts]).value,
            "base rate": student([_mean(part["base_rate"]) for part in parts]).value,
        })  # fmt: skip
    found.table("ranks", pd.DataFrame(rows))


def _right(shares: Sequence[float]) -> dict[str, float]:
    """Share of true names over trainings, as columns of a table."""
    value, (low, high) = student(shares)
    return {"right": value, "low": low, "high": high}


def _mean(values: pd.Series) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _record_examples(found: Findings, named: pd.DataFrame, vocabulary: Vocabulary, hash: str) -> None:
    """Latents of the shipped SAE at evenly spaced confidence, with names, top test pictures and the SAE's hash."""
    table = named.sort_values("confidence", ascending=False, kind="stable")
    table = table.iloc[np.linspace(0, len(table) - 1, 9).round().astype(int)]
    words = [vocabulary.words[word] for word in table["word"]]
    found.table("examples", pd.DataFrame({
        "name": [word for _, word in words], "about": [about for about, _ in words], "latent": table["latent"],
        "confidence": table["confidence"], "precision": table["precision"], "top pictures": table["top pictures"],
        "sae": hash[:10],
    }))  # fmt: skip


def _record_sample(found: Findings, bench: Workbench, vocabulary: Vocabulary) -> None:
    """Names of three latents of the shipped SAE from a few pictures: small enough to recompute by hand."""
    states = bench.activations("choosing", bench.profile.main_hook_point)[:SAMPLE]
    code = bench.shown("main_matryoshka").encode(states).detach().cpu().numpy()
    busiest = np.argsort(-(code > 0).sum(axis=0), kind="stable")[[20, 40, 60]]
    images = bench.activations("choosing", PROJECTION).array().numpy().astype(np.float64)
    word, confidence = vocabulary.name(images[top_rows(code[:, busiest])].mean(axis=1))
    names = [vocabulary.words[i][1] for i in word]
    found.table("sample", pd.DataFrame({"latent": busiest, "name": names, "confidence": confidence}))


EXPERIMENT = Experiment(
    name="naming",
    title="Can the latents be named?",
    question="Is the word that CLIP's text tower finds for a latent true of the pictures that the latent answers to?",
    paper="",
    run=run,
)
