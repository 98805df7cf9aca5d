"""Inserting and suppressing concepts: SAE latents against the difference of means (paper Tab. 2, Fig. 6, 7, A2).

Every method has as many tries for a concept (``steering/rivals.py``). Each chooses on the choosing pictures for what
counts, the concept named (gone) and every other answer still right; each is scored once on the test pictures, and how
much better it looked on the choosing pictures is written down as its optimism.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.experiment import Experiment
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.pocket.language import QUESTIONS
from vlm_sae_lib.records.results import published, published_source
from vlm_sae_lib.statistics.intervals import bootstrap_mean, student
from vlm_sae_lib.steering import concepts as find
from vlm_sae_lib.steering.diff_mean import Contrast, Erasure, Shift, contrast
from vlm_sae_lib.steering.experiment import Setting, SteeringStudy, Task, choose_settings, score_settings
from vlm_sae_lib.steering.free_text import score_texts
from vlm_sae_lib.steering.rates import by_concept, trade_off_area
from vlm_sae_lib.steering.rivals import (
    BARE,
    CHOOSING,
    DIFF_MEAN,
    DROPPED,
    IN_PLACE,
    METHODS,
    RANDOM,
    RANDOM_KEPT,
    SAE,
    SAE_KEPT,
    make_tries,
    on_curve,
    with_contrast,
)
from vlm_sae_lib.workbench import Workbench

OUTCOMES = ("success", "rest", "both")
DIFFERENCES = {
    "latent minus difference of means": (SAE, DIFF_MEAN),
    "latent, error kept, minus difference of means": (SAE_KEPT, DIFF_MEAN),
    "latent minus random directions": (SAE, RANDOM),
    "latent, error kept, minus random directions": (SAE_KEPT, RANDOM_KEPT),
    "difference of means minus random directions": (DIFF_MEAN, RANDOM_KEPT),
}
"""The first decides its task's claim (book/analysis_plan.md); the others are told beside it."""
OVER_CONCEPTS = "2000 bootstrap draws of the concepts, middle 95 %"
STUDENT = "Student's t over the concepts"
OPTIMISM = "choosing minus test"
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
    pictures: int = 3000
    """Pictures of a split among which those of a concept are looked for."""
    n_choosing: int = 40
    """Pictures on which settings are chosen, for each concept; one that fewer choosing pictures show is left out."""
    n_test: tuple[int, int] = (20, 16)
    """Insertion, suppression: pictures scored for each concept."""
    n_texts: int = 5
    samples: int = 3
    sample_pictures: int = 600
    """How often the difference of means is taken again, from so many train pictures."""


TASKS: tuple[Task, ...] = ("insertion", "suppression")


def run(bench: Workbench, found: Findings, size: Size = Size()) -> None:
    """Rates of every method at both tasks, the trade-off over strengths, and whole texts."""
    choosing, test = (_gallery(bench, split, size.pictures) for split in ("choosing", "test"))
    vlm, sae = bench.vlm(), bench.shown("steering")
    concepts = list_concepts(found, choosing.factors, test.factors, size, bench.profile.seed)
    pooled = find.pool_latents(vlm, sae, choosing.images)
    candidates = find.candidate_latents(pooled, choosing.factors, concepts, n_candidates=size.candidates)
    contrasts = train_contrasts(bench, concepts)
    resampled = [train_contrasts(bench, concepts, size.sample_pictures, seed) for seed in range(size.samples)]
    found.add("SAE", sae.hash[:12], n=sae.n_latents, unit="first digits of the steering SAE's hash")
    used = []
    for place, task in enumerate(TASKS):
        study = SteeringStudy(
            kind=task, goal="both", n_choosing=size.n_choosing, n_test=size.n_test[place], seed=bench.profile.seed
        )
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
        _record_differences(found, task, chosen)
        _record_curves(found, task, strengths, chosen)
        _record_texts(found, task, score_texts(vlm, sae, settings, test, study, size.n_texts, DROPPED))
        used.append(chosen.assign(task=task))
    _record_settings(found, pd.concat(used), pooled, choosing)


def _gallery(bench: Workbench, split: str, pictures: int) -> find.Gallery:
    if not hasattr(source := bench.pictures(split), "captions"):
        raise UserError("Judging what was inserted needs pictures whose truth is known; use the profile pocket.")
    part = source.subset(range(min(pictures, len(source))))
    return find.Gallery(part.images, part.factors)


def list_concepts(
    found: Findings, choosing: pd.DataFrame, test: pd.DataFrame, size: Size, seed: int
) -> pd.DataFrame:
    """The concepts that enough choosing pictures show, some of a kind (``concepts.list_concepts``); all are counted."""
    least = size.n_choosing
    enough = pd.concat([choosing[kind].value_counts() for kind in size.kinds]) >= least
    drawn = find.list_concepts(choosing, size.kinds, size.per_kind, min_pictures=least, seed=seed, scored=test)
    found.add("concepts", len(drawn), split="choosing")
    found.add("concepts of enough choosing pictures", int(enough.sum()), split="choosing")
    found.add("concepts of too few choosing pictures", int((~enough).sum()), split="choosing")
    found.add("choosing pictures of a concept", least, unit="pictures", split="choosing")
    return drawn


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
            rival = {SAE: (DIFF_MEAN, RANDOM), SAE_KEPT: (DIFF_MEAN, RANDOM_KEPT), DIFF_MEAN: (SAE, RANDOM_KEPT)}
            others = (*rival[method], IN_PLACE, BARE) if method in rival else ()
            found.estimate(
                f"{task}/{outcome}/{method}", bootstrap_mean(wide[method]), interval_kind=OVER_CONCEPTS,
                n=int(wide[method].notna().sum()), unit="share of pictures, mean over concepts", split=SPLIT,
                controls={other: f"{task}/{outcome}/{other}" for other in others},
                paper_value=published("steering_judged", **where) / 100 if theirs else None,
                source=published_source("steering_judged", **where) if theirs else None,
            )  # fmt: skip
        by_sample = resampled.groupby("repetition")[outcome].mean()
        found.estimate(
            f"{task}/{outcome}/DiffMean of few pictures", student(by_sample),
            interval_kind="Student's t over the samples", n=len(by_sample), seeds=by_sample.index.tolist(),
            unit="share of pictures, mean over concepts", split=SPLIT,
            controls={"all train pictures": f"{task}/{outcome}/{DIFF_MEAN}"},
        )  # fmt: skip
    found.add(f"{task}/pictures", int(pictures[SAE]), unit="pictures scored, summed over concepts", split="test")
    found.table(f"{task} by concept", rates[["method", "about", "concept", "n", *OUTCOMES]].round(4))


def _record_differences(found: Findings, task: str, chosen: pd.DataFrame) -> None:
    """Method against method, concept by concept; and how much better each looked where its setting was chosen."""
    wide = {outcome: _wide(chosen, outcome) for outcome in OUTCOMES}
    before = {"both": _wide(chosen, "choosing_rate"), "success": _wide(chosen, "choosing_success")}
    pictures = int(chosen.loc[chosen["method"] == SAE, "n"].sum())

    def add(name: str, gaps: pd.Series, split: str, unit: str = "difference of shares") -> None:
        n = int(gaps.notna().sum())
        found.estimate(name, student(gaps), interval_kind=STUDENT, n=n, unit=unit, split=split)

    for name, (a, b) in DIFFERENCES.items():
        both = wide["both"][a] - wide["both"][b]
        found.effect(f"{task}: {name}", both, unit="concept", of="share of pictures", n=pictures, split=SPLIT)
        for outcome in ("success", "rest"):
            add(f"{task}/{outcome}: {name}", wide[outcome][a] - wide[outcome][b], SPLIT)
        seen = before["both"][a] - before["both"][b]
        add(f"{task}/on choosing pictures: {name}", seen, "contrasts from train, chosen and scored on choosing")
        add(f"{task}/optimism: {name}", seen - both, OPTIMISM)
    for outcome, rates in before.items():
        for method in CHOOSING:
            add(f"{task}/optimism of {outcome}/{method}", rates[method] - wide[outcome][method], OPTIMISM)


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
            controls={} if method in (RANDOM, RANDOM_KEPT) else {RANDOM: f"{task}/area/{RANDOM}"},
        )  # fmt: skip
    for method in (SAE, SAE_KEPT):
        found.estimate(
            f"{task}/area/{method} minus {DIFF_MEAN}", student(areas[method] - areas[DIFF_MEAN]),
            interval_kind=STUDENT, n=len(areas[method]), unit="difference of areas", split=SPLIT,
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
            f"{task}/texts {criterion}/{SAE} minus {DIFF_MEAN}", student(wide[SAE] - wide[DIFF_MEAN]), n=len(wide),
            interval_kind=STUDENT, unit="difference of shares", split=SPLIT,
        )  # fmt: skip
    count = int(texts.loc[texts["method"] == SAE, "n"].sum())
    found.add(f"{task}/texts", count, unit="texts (suppression: pairs of texts) of each method", split="test")


def _record_settings(found: Findings, chosen: pd.DataFrame, pooled: find.PooledLatents, choosing: find.Gallery) -> None:
    """What was chosen, and by which pictures to know a latent."""
    ids = choosing.factors.index.to_numpy()
    steered = chosen[chosen["method"].isin(CHOOSING)].copy()
    top = {k: np.argsort(-pooled.mean[:, k], kind="stable")[:4] for k in set(steered["latent"]) - {-1}}
    steered["top pictures"] = [" ".join(str(ids[i]) for i in top.get(k, ())) for k in steered["latent"]]
    columns = ["task", "method", "about", "concept", "latent", "top pictures", "strength", "multiple"]
    columns += ["choosing_rate", "choosing_success"]
    found.table("chosen", steered[columns].round(3))


EXPERIMENT = Experiment(
    name="diff_mean",
    title="Do latents steer better than the difference of means?",
    question="Which way puts a concept into the answers, or takes it out, and leaves the rest of them right?",
    paper="Tab. 2, Fig. 6, 7, A2",
    run=run,
    speaks=True,
)
