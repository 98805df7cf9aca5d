"""Inserting and suppressing concepts: SAE latents against the difference of means (paper Tab. 2, Fig. 6, 7, A2).

Every method has as many tries for a concept: an SAE latents × strengths, the difference of means strengths (and, to
suppress, two forms) alone, and so has a random direction of its length. Each chooses on the choosing pictures for what
counts, the concept named (gone) and every other answer still right; each is scored once on the test pictures.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.registry import Experiment
from vlm_sae_lib.pocket.language import QUESTIONS
from vlm_sae_lib.records.results import published, published_source
from vlm_sae_lib.statistics.intervals import bootstrap_difference, bootstrap_mean
from vlm_sae_lib.steering import concepts as find
from vlm_sae_lib.steering.diff_mean import Contrast, Erasure, Shift, contrast
from vlm_sae_lib.steering.experiment import Setting, SteeringStudy, Task, choose_settings, score_settings
from vlm_sae_lib.steering.free_text import score_texts
from vlm_sae_lib.steering.intervention import random_directions
from vlm_sae_lib.steering.rates import by_concept, trade_off_area
from vlm_sae_lib.steering.sweep import UNSTEERED, Intervention
from vlm_sae_lib.workbench import Workbench

SAE, SAE_KEPT, DIFF_MEAN = "SAE", "SAE, error kept", "DiffMean"
RANDOM, IN_PLACE, BARE = "random direction", "SAE in place, unsteered", "bare model"
METHODS = (SAE, SAE_KEPT, DIFF_MEAN, RANDOM, IN_PLACE, BARE)
DROPPED = (SAE, IN_PLACE)
"""The methods under which what the SAE misses is dropped, as in the paper; under the others it stays."""
OUTCOMES = ("success", "rest", "both")
OVER_CONCEPTS = "2000 bootstrap draws of the concepts, middle 95 %"
SPLIT = "contrasts from train, chosen on choosing, scored on test"
PAPER = {
    "insertion": {"success": "concept_appeared", "rest": "prompt_followed", "both": "both"},
    "suppression": {"success": "concept_removed", "rest": "unrelated_kept", "both": "both"},
}


@dataclass(frozen=True)
class Size:
    """How much is tried and scored; smaller in tests."""

    kinds: tuple[str, ...] = ("class", "order", "colour", "pattern", "habitat", "species")
    per_kind: int = 4
    candidates: int = 3
    pictures: int = 1200
    """Pictures of a split among which those of a concept are looked for."""
    n_choosing: tuple[int, int] = (8, 5)
    """Insertion, suppression: pictures the settings are chosen on (suppression: of each concept)."""
    n_test: tuple[int, int] = (20, 10)
    n_texts: int = 5
    samples: int = 3
    sample_pictures: int = 600
    """How often the difference of means is taken again, from so many train pictures."""


TASKS: tuple[Task, ...] = ("insertion", "suppression")
UP, DOWN = (0.5, 0.75, 1, 1.5, 3), (0, -0.25, -0.5, -1, -2)
"""Multiples of a latent's maximum."""
SHIFTS = tuple(np.geomspace(0.5, 32, 15).tolist())
"""Multiples of the difference of means; as many as candidates × ``UP``."""
ERASURES = tuple(np.geomspace(0.5, 4, 7).tolist())
MINUS = tuple((-np.geomspace(0.5, 16, 8)).tolist())
CURVE = {Shift: (*SHIFTS[4:13:2], MINUS[1], *MINUS[3:7]), Erasure: (*ERASURES[:5:2], *ERASURES[5:])}
"""The strengths of each form of a direction on the curve: five for a task, as many as of a latent."""


def run(bench: Workbench, found: Findings, size: Size = Size()) -> None:
    """Rates of every method at both tasks, the trade-off over strengths, and whole texts."""
    choosing, test = (_gallery(bench, split, size.pictures) for split in ("choosing", "test"))
    vlm, sae = bench.vlm(), bench.shown("steering")
    pooled = find.pool_latents(vlm, sae, choosing.images[: bench.profile.steering_choosing])
    seen = choosing.factors.iloc[: len(pooled.largest)]
    concepts = find.list_concepts(seen, size.kinds, size.per_kind, min_pictures=5, seed=bench.profile.seed)
    candidates = find.candidate_latents(pooled, seen, concepts, n_candidates=size.candidates)
    contrasts = train_contrasts(bench, concepts)
    resampled = [train_contrasts(bench, concepts, size.sample_pictures, seed) for seed in range(size.samples)]
    found.add("SAE", sae.hash[:12], n=sae.n_latents, unit="first digits of the steering SAE's hash")
    found.add("concepts", len(concepts), split="choosing")
    used = []
    for place, task in enumerate(TASKS):
        study = SteeringStudy(kind=task, goal="both", n_choosing=size.n_choosing[place], n_test=size.n_test[place])
        tries = make_tries(task, candidates, contrasts, bench.profile.seed)
        per_method = pd.Series([t.method for t in tries]).value_counts() / len(concepts)
        found.add(f"{task}/tries", int(per_method[SAE]), unit="tries of each method for each concept")
        settings = choose(vlm, sae, tries, choosing, study)
        curve = on_curve(tries, settings)
        scored = score(vlm, sae, [*settings, *curve], test, study)
        chosen, strengths = scored.iloc[: len(settings)], scored.iloc[len(settings) :]
        again = [
            replace(s, intervention=with_contrast(s.intervention, sample[s.about, s.concept]), repetition=i)
            for i, sample in enumerate(resampled) for s in settings
            if s.method == DIFF_MEAN and isinstance(s.intervention, Shift | Erasure)
        ]  # fmt: skip
        _record(found, task, chosen, score(vlm, sae, again, test, study))
        _record_curves(found, task, strengths, chosen)
        _record_texts(found, task, score_texts(vlm, sae, settings, test, study, size.n_texts, DROPPED))
        used.append(chosen.assign(task=task))
    _record_settings(found, pd.concat(used), pooled, choosing)


def _gallery(bench: Workbench, split: str, pictures: int) -> find.Gallery:
    if not hasattr(source := bench.pictures(split), "captions"):
        raise UserError("Judging what was inserted needs pictures whose truth is known; use the profile pocket.")
    part = source.subset(range(min(pictures, len(source))))
    return find.Gallery(part.images, part.factors)


def train_contrasts(
    bench: Workbench, concepts: pd.DataFrame, pictures: int | None = None, seed: int = 0
) -> dict[tuple[str, str], Contrast]:
    """The contrast of each concept, from the very tokens the SAE was trained on, or from those of some pictures."""
    tower, hook_point = bench.steering_tower
    store = bench.activations("train", hook_point, bench.profile.steering_tokens, tower=tower)
    states, ids = np.asarray(store[:], dtype=np.float32), np.asarray(store.image_ids)
    factors = bench.pictures("train").factors
    if pictures is not None:
        chosen = np.random.default_rng(seed).choice(factors.index, min(pictures, len(factors)), replace=False)
        states, ids = states[np.isin(ids, chosen)], ids[np.isin(ids, chosen)]
    return {
        (about, concept): contrast(states, factors.loc[ids, about].to_numpy() == concept)
        for about, concept in zip(concepts["about"], concepts["concept"], strict=True)
    }


def make_tries(
    task: str, candidates: pd.DataFrame, contrasts: dict[tuple[str, str], Contrast], seed: int
) -> list[Setting]:
    """Every try of every method for every concept, the mildest first: ties go to the earlier one."""
    tries = []
    for number, ((about, concept), own) in enumerate(candidates.groupby(["about", "concept"], sort=False)):
        true = contrasts[about, concept]
        way = random_directions(1, len(true.absent), seed + number)[0] * true.direction.norm()
        for method in (SAE, SAE_KEPT):
            tries += [
                Setting(method, about, concept, 0, Intervention(int(k), m * float(top)), m)
                for m in (UP if task == "insertion" else DOWN)
                for k, top in zip(own["latent"], own["maximum"], strict=True)
            ]
        for method, pair in ((DIFF_MEAN, true), (RANDOM, Contrast(true.absent + way, true.absent))):
            moves: list[Shift | Erasure]
            if task == "insertion":
                moves = [Shift(pair.direction, s) for s in SHIFTS]
            else:
                moves = [*(Erasure(pair, s) for s in ERASURES), *(Shift(pair.direction, s) for s in MINUS)]
            tries += [Setting(method, about, concept, 0, move, move.strength) for move in moves]
        tries += [Setting(method, about, concept, 0, UNSTEERED, 0.0) for method in (IN_PLACE, BARE)]
    return tries


def with_contrast(move: Shift | Erasure, other: Contrast) -> Shift | Erasure:
    """The same move by another contrast."""
    return replace(move, **({"contrast": other} if isinstance(move, Erasure) else {"direction": other.direction}))


def on_curve(tries: list[Setting], settings: list[Setting]) -> list[Setting]:
    """Five strengths of each method that steers: of the chosen latent, or of the direction's chosen form.

    Their ``repetition`` tells which of the five it is, from the mildest.
    """
    points = []
    for chosen in (s for s in settings if s.method not in (IN_PLACE, BARE)):
        own = [
            t for t in tries
            if (t.method, t.about, t.concept) == (chosen.method, chosen.about, chosen.concept)
            and t.intervention.latent == chosen.intervention.latent
            and type(t.intervention) is type(chosen.intervention)
            and t.multiple in CURVE.get(type(t.intervention), (t.multiple,))
        ]  # fmt: skip
        points += [replace(t, repetition=step) for step, t in enumerate(own)]
    return points


def choose(vlm, sae, tries: list[Setting], gallery: find.Gallery, study: SteeringStudy) -> list[Setting]:
    """The best try of each method and concept, with or without what the SAE misses as the method has it."""
    return [s for part, how in _parts(tries, study) for s in choose_settings(vlm, sae, part, gallery, QUESTIONS, how)]


def score(vlm, sae, settings: list[Setting], gallery: find.Gallery, study: SteeringStudy) -> pd.DataFrame:
    """Rates of settings, a row each, in their order."""
    frames = [
        score_settings(vlm, sae, part, gallery, QUESTIONS, how).set_axis([settings.index(s) for s in part])
        for part, how in _parts(settings, study) if part
    ]  # fmt: skip
    return pd.concat(frames).sort_index()


def _parts(settings: list[Setting], study: SteeringStudy) -> list[tuple[list[Setting], SteeringStudy]]:
    parts = [[s for s in settings if (s.method in DROPPED) == dropped] for dropped in (True, False)]
    return [(parts[0], study), (parts[1], replace(study, keep_error=True))]


# ---- what is written down --------------------------------------------------------------------------------------------


def _wide(rates: pd.DataFrame, outcome: str) -> pd.DataFrame:
    """A row per concept, a column per method."""
    return rates.pivot(index=["about", "concept"], columns="method", values=outcome)


def _record(found: Findings, task: str, chosen: pd.DataFrame, resampled: pd.DataFrame) -> None:
    rates = by_concept(chosen)
    pictures = rates.groupby("method")["n"].sum()
    for outcome in OUTCOMES:
        wide = _wide(rates, outcome)
        for method in METHODS:
            theirs = {SAE: "sae", DIFF_MEAN: "diff_mean"}.get(method)
            where = {"task": task, "criterion": PAPER[task][outcome], "method": theirs}
            steers = method not in (IN_PLACE, BARE, RANDOM)
            others = (DIFF_MEAN if method != DIFF_MEAN else SAE, RANDOM, IN_PLACE, BARE) if steers else ()
            found.estimate(
                f"{task}/{outcome}/{method}", bootstrap_mean(wide[method]), interval_kind=OVER_CONCEPTS,
                n=int(wide[method].notna().sum()), unit="share of pictures, mean over concepts", split=SPLIT,
                controls={other: f"{task}/{outcome}/{other}" for other in others},
                paper_value=published("steering_judged", **where) / 100 if theirs else None,
                source=published_source("steering_judged", **where) if theirs else None,
            )  # fmt: skip
        for a, b in ((SAE, DIFF_MEAN), (SAE_KEPT, DIFF_MEAN), (DIFF_MEAN, RANDOM), (SAE, RANDOM)):
            found.estimate(
                f"{task}/{outcome}/{a} minus {b}", bootstrap_difference(wide[a], wide[b], paired=True),
                interval_kind=OVER_CONCEPTS + ", both methods' together", n=int(wide[[a, b]].notna().all(axis=1).sum()),
                unit="difference of shares", split=SPLIT,
            )  # fmt: skip
        by_sample = resampled.groupby("repetition")[outcome].mean()
        found.add(
            f"{task}/{outcome}/DiffMean of few pictures", by_sample.mean(), interval=(by_sample.min(), by_sample.max()),
            interval_kind="smallest and largest of the samples", n=len(by_sample), seeds=by_sample.index.tolist(),
            unit="share of pictures, mean over concepts", split=SPLIT,
            controls={"all train pictures": f"{task}/{outcome}/{DIFF_MEAN}"},
        )  # fmt: skip
    found.add(f"{task}/pictures", int(pictures[SAE]), unit="pictures scored, summed over concepts", split="test")
    found.table(f"{task} by concept", rates[["method", "about", "concept", "n", *OUTCOMES]].round(4))


def _record_curves(found: Findings, task: str, strengths: pd.DataFrame, chosen: pd.DataFrame) -> None:
    """The trade-off over strengths, and the area below it."""
    rows, areas, axes = [], {}, ["rest", "success"]
    unsteered = chosen[chosen["method"] == BARE].set_index(["about", "concept"])
    for method, part in strengths.groupby("method", sort=False):
        for step, at in part.groupby("repetition"):
            row = {"method": method, "step": step, "multiple": at["multiple"].median(), "concepts": len(at)}
            for outcome in OUTCOMES:
                value, (low, high) = bootstrap_mean(at[outcome])
                row |= {outcome: value, f"{outcome}_low": low, f"{outcome}_high": high}
            rows.append(row)
        areas[method] = pd.Series({
            key: trade_off_area(own[axes].to_numpy(), unsteered.loc[key, axes].to_numpy(float))
            for key, own in part.groupby(["about", "concept"])
        })  # fmt: skip
    found.table(f"{task} curve", pd.DataFrame(rows).round(4))
    for method, values in areas.items():
        found.estimate(
            f"{task}/area/{method}", bootstrap_mean(values), interval_kind=OVER_CONCEPTS, n=int(values.notna().sum()),
            unit="area below success against rest, mean over concepts", split=SPLIT,
            controls={} if method == RANDOM else {RANDOM: f"{task}/area/{RANDOM}"},
        )  # fmt: skip
    for method in (SAE, SAE_KEPT):
        found.estimate(
            f"{task}/area/{method} minus {DIFF_MEAN}",
            bootstrap_difference(areas[method], areas[DIFF_MEAN], paired=True),
            interval_kind=OVER_CONCEPTS + ", both methods' together", n=len(areas[method]), unit="difference of areas",
            split=SPLIT,
        )  # fmt: skip


def _record_texts(found: Findings, task: str, texts: pd.DataFrame) -> None:
    for criterion in ("named" if task == "insertion" else "gone", "followed", "both", "right"):
        wide = texts.pivot(index=["about", "concept"], columns="method", values=criterion)
        for method in METHODS:
            steers = method in (SAE, SAE_KEPT, DIFF_MEAN)
            found.estimate(
                f"{task}/texts {criterion}/{method}", bootstrap_mean(wide[method]), interval_kind=OVER_CONCEPTS,
                n=len(wide), unit="share of texts, mean over concepts", split=SPLIT,
                controls={m: f"{task}/texts {criterion}/{m}" for m in (RANDOM, BARE)} if steers else {},
            )  # fmt: skip
        found.estimate(
            f"{task}/texts {criterion}/{SAE} minus {DIFF_MEAN}",
            bootstrap_difference(wide[SAE], wide[DIFF_MEAN], paired=True), n=len(wide),
            interval_kind=OVER_CONCEPTS + ", both methods' together", unit="difference of shares", split=SPLIT,
        )  # fmt: skip
    count = int(texts.loc[texts["method"] == SAE, "n"].sum())
    found.add(f"{task}/texts", count, unit="texts (suppression: pairs of texts) of each method", split="test")


def _record_settings(found: Findings, chosen: pd.DataFrame, pooled: find.PooledLatents, choosing: find.Gallery) -> None:
    """What was chosen, and by which pictures to know a latent."""
    ids = choosing.factors.index.to_numpy()
    steered = chosen[chosen["method"].isin((SAE, SAE_KEPT, DIFF_MEAN))].copy()
    top = {k: np.argsort(-pooled.mean[:, k], kind="stable")[:4] for k in set(steered["latent"]) - {-1}}
    steered["top pictures"] = [" ".join(str(ids[i]) for i in top.get(k, ())) for k in steered["latent"]]
    columns = ["task", "method", "about", "concept", "latent", "top pictures", "strength", "multiple", "choosing_rate"]
    found.table("chosen", steered[columns].round(3))


EXPERIMENT = Experiment(
    name="diff_mean",
    title="Do latents steer better than the difference of means?",
    question="Which way puts a concept into the answers, or takes it out, and leaves the rest of them right?",
    paper="Tab. 2, Fig. 6, 7, A2",
    run=run,
)
