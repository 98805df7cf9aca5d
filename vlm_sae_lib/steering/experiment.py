"""Does steering a latent put its concept into the model's words, or take it out, and what else does it do?

The protocol, the same for steering and for its controls (design: every control gets as many tries):
1. a *try* is one intervention; a method makes a list of tries for a concept, candidates × strengths;
2. the tries are compared on the choosing pictures, and the best becomes the *setting*;
3. settings are scored on other pictures, which nothing was chosen on.

Methods: ``steered`` (the concept's candidate latents), ``random latent`` (live latents drawn at random, each at the
same multiples of its own maximum), ``random direction`` (random directions, each moving the tokens exactly as far as
the candidate it stands in for), ``unsteered`` (the SAE in place). The random methods are repeated with new draws; every
repetition chooses and is scored on its own. Insertion looks at pictures that lack the concept, suppression at pictures
that show it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from vlm_sae_lib.steering.concepts import Gallery
from vlm_sae_lib.steering.intervention import Sae
from vlm_sae_lib.steering.reading import Reading, says
from vlm_sae_lib.steering.sweep import UNSTEERED, Intervention, StateEdit, SteeringBench
from vlm_sae_lib.vlms.vlm import Vlm

STEERED, RANDOM_LATENT, RANDOM_DIRECTION, BARE_SAE = "steered", "random latent", "random direction", "unsteered"
METHODS = (STEERED, BARE_SAE, RANDOM_LATENT, RANDOM_DIRECTION)

Task = Literal["insertion", "suppression"]


@dataclass(frozen=True)
class SteeringStudy:
    """The numbers of one study. ``multiples`` are strengths in units of a latent's maximum."""

    kind: Task = "insertion"
    multiples: tuple[float, ...] = (1, 2, 4, 8)
    n_choosing: int = 16
    """Pictures the settings are chosen on (suppression: per concept)."""
    n_test: int = 40
    """Pictures the settings are scored on (suppression: per concept)."""
    repetitions: int = 7
    """Repetitions of each random method; times the candidates of a concept, the number of its draws (at least 20)."""
    random_latents: int = 24
    """Size of the pool of live latents that the random-latent control draws from."""
    goal: Literal["success", "both"] = "success"
    """What a setting is chosen for: the concept named (or gone), or that and the rest of the answers still right."""
    rest: tuple[str, ...] = ("order", "colour", "pattern", "habitat")
    """What else is asked; what the concept itself decides is left out, concept by concept."""
    ranks: tuple[str, ...] = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
    """Names of one and the same thing at different ranks: no rank is the rest of another."""
    reading: Reading = "exact"
    """How an answer is held against the concept, see ``reading.says``; ``exact`` reads the likeliest next token. What
    is asked beside it is read for its words, unless all is ``exact``."""
    offered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The words among which a question lets the model choose, by what it asks about."""
    max_new_tokens: int = 5
    """Length of an answer that is read for its words."""
    keep_error: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Setting:
    """One try: an intervention meant for a concept. ``multiple`` is its strength over the latent's maximum."""

    method: str
    about: str
    concept: str
    repetition: int
    intervention: Intervention | StateEdit
    multiple: float
    choosing_rate: float = float("nan")


def make_tries(candidates: pd.DataFrame, maximum: np.ndarray, live: np.ndarray, study: SteeringStudy) -> list[Setting]:
    """Every try of every method for every concept.

    candidates: as of ``candidate_latents``; maximum: (n_latents,) each latent's maximum on the same pictures; live:
    indices of the latents that fire, from which the random ones are drawn.
    """
    rng = np.random.default_rng(study.seed)
    pool = np.sort(rng.choice(live, min(study.random_latents, len(live)), replace=False))
    tries: list[Setting] = []
    for (about, concept), group in candidates.groupby(["about", "concept"], sort=False):
        own = group.sort_values("rank")["latent"].tolist()

        def tries_of(method: str, repetition: int, latents: list[int], seeds: list[int | None], whose=(about, concept)):
            about, concept = whose
            pushes = [
                (Intervention(k, multiple * float(maximum[k]), seed), multiple)
                for multiple in sorted(study.multiples, key=abs)  # mildest first: ties go to the earlier try
                for k, seed in zip(latents, seeds, strict=True)
            ]
            return [Setting(method, about, concept, repetition, what, multiple) for what, multiple in pushes]

        tries += tries_of(STEERED, 0, own, [None] * len(own))
        tries.append(Setting(BARE_SAE, about, concept, 0, UNSTEERED, 0.0))
        others = np.setdiff1d(pool, own)
        for repetition in range(study.repetitions):
            drawn = rng.choice(others, min(len(own), len(others)), replace=False).tolist()
            tries += tries_of(RANDOM_LATENT, repetition, drawn, [None] * len(drawn))
            tries += tries_of(RANDOM_DIRECTION, repetition, own, rng.integers(2**31, size=len(own)).tolist())
    return tries


def run_study(
    vlm: Vlm,
    sae: Sae,
    tries: list[Setting],
    choosing: Gallery,
    test: Gallery,
    questions: Mapping[str, str],
    study: SteeringStudy,
) -> tuple[list[Setting], pd.DataFrame]:
    """Choose the settings on one gallery and score them on the other. questions: the prompt by what is asked about.

    Returns the settings and one row per setting: method, about, concept, repetition, latent, strength, multiple,
    choosing_rate, n pictures, and the rates ``success`` (concept named; suppression: no longer named), ``rest`` (the
    other answers right) and ``both``. Rates are NaN where no picture qualifies.
    """
    settings = choose_settings(vlm, sae, tries, choosing, questions, study)
    return settings, score_settings(vlm, sae, settings, test, questions, study)


def choose_settings(
    vlm: Vlm, sae: Sae, tries: list[Setting], choosing: Gallery, questions: Mapping[str, str], study: SteeringStudy
) -> list[Setting]:
    """The best try of each method, concept and repetition on the first pictures of a gallery; ties: the mildest."""
    scored = _outcomes(vlm, sae, tries, choosing, questions, study, study.n_choosing, with_rest=study.goal == "both")
    best: dict[tuple, tuple[float, Setting]] = {}
    for attempt, rates in zip(tries, scored, strict=True):
        key = (attempt.method, attempt.about, attempt.concept, attempt.repetition)
        rate = np.nan_to_num(rates[study.goal], nan=-1.0)
        if key not in best or rate > best[key][0]:
            best[key] = (rate, attempt)
    return [replace(setting, choosing_rate=rate if rate >= 0 else float("nan")) for rate, setting in best.values()]


def score_settings(
    vlm: Vlm, sae: Sae, settings: list[Setting], test: Gallery, questions: Mapping[str, str], study: SteeringStudy
) -> pd.DataFrame:
    """Rates of settings on the first pictures of a gallery, which must not be the one they were chosen on."""
    scored = _outcomes(vlm, sae, settings, test, questions, study, study.n_test, with_rest=True)
    rows = [
        {
            "method": s.method, "about": s.about, "concept": s.concept, "repetition": s.repetition,
            "latent": -1 if s.intervention.latent is None else s.intervention.latent,
            "strength": s.intervention.strength, "multiple": s.multiple, "choosing_rate": s.choosing_rate, **rates,
        }
        for s, rates in zip(settings, scored, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows)


# ---- one pass over the pictures ----------------------------------------------------------------------------------


def _outcomes(
    vlm: Vlm,
    sae: Sae,
    settings: list[Setting],
    gallery: Gallery,
    questions: Mapping[str, str],
    study: SteeringStudy,
    n_pictures: int,
    *,
    with_rest: bool,
) -> list[dict[str, float]]:
    """The rates of each setting, in order. Settings that share pictures and an intervention share its computation."""
    found: list[dict[str, float] | None] = [None] * len(settings)
    for pictures, members in _picture_sets(settings, gallery, study, n_pictures):
        if len(pictures) == 0:
            for i in members:
                found[i] = {"n": 0, "success": np.nan, "rest": np.nan, "both": np.nan}
            continue
        bench = SteeringBench(
            vlm, sae, [gallery.images[p] for p in pictures], keep_error=study.keep_error, description=study.kind
        )
        truth = gallery.factors.iloc[pictures].reset_index(drop=True)
        rest = {i: rest_of(settings[i], gallery.factors, study) if with_rest else [] for i in members}
        needs = [(settings[i].intervention, settings[i].about, rest[i]) for i in members]
        words = _answers(bench, needs, questions, study)
        for i in members:
            found[i] = _rates(settings[i], words[settings[i].intervention], truth, rest[i], study)
    return [rates for rates in found if rates is not None]


def _answers(
    bench: SteeringBench,
    needs: list[tuple[Intervention | StateEdit, str, list[str]]],
    questions: Mapping[str, str],
    study: SteeringStudy,
) -> dict[Intervention | StateEdit, pd.DataFrame]:
    """What is said under each intervention, a column per thing asked; interventions with equal needs go together."""
    asked: dict[Intervention | StateEdit, set[str]] = {}
    for intervention, about, rest in needs:
        asked.setdefault(intervention, set()).update([about, *rest])
    groups: dict[tuple[str, ...], list[Intervention | StateEdit]] = {}
    for intervention, abouts in asked.items():
        groups.setdefault(tuple(sorted(abouts)), []).append(intervention)
    words: dict[Intervention | StateEdit, pd.DataFrame] = {}
    for columns, interventions in groups.items():
        prompts = [questions[about] for about in columns]
        if study.reading == "exact":
            table = bench.answers(interventions, prompts)
        else:
            table = bench.texts(interventions, prompts, max_new_tokens=study.max_new_tokens)
        words |= {
            i: pd.DataFrame(answers, columns=list(columns)) for i, answers in zip(interventions, table, strict=True)
        }
    return words


def _picture_sets(
    settings: list[Setting], gallery: Gallery, study: SteeringStudy, n_pictures: int
) -> list[tuple[np.ndarray, list[int]]]:
    # Insertion: the same pictures for all, those that show the concept are left out when rates are taken.
    if study.kind == "insertion":
        return [(np.arange(min(n_pictures, len(gallery.images))), list(range(len(settings))))]
    groups: dict[tuple[str, str], list[int]] = {}
    for i, setting in enumerate(settings):
        groups.setdefault((setting.about, setting.concept), []).append(i)
    return [
        (np.flatnonzero(gallery.factors[about] == concept)[:n_pictures], members)
        for (about, concept), members in groups.items()
    ]


def rest_of(setting: Setting, factors: pd.DataFrame, study: SteeringStudy) -> list[str]:
    """What may be asked beside the concept: not the concept at another rank, nor what the concept decides."""
    rest = [r for r in study.rest if r != setting.about and not (r in study.ranks and setting.about in study.ranks)]
    shown = factors[factors[setting.about] == setting.concept]
    return [r for r in rest if len(shown) == 0 or shown[r].nunique() > 1]


def _rates(
    setting: Setting, answers: pd.DataFrame, truth: pd.DataFrame, rest: list[str], study: SteeringStudy
) -> dict[str, float]:
    inserts, views = study.kind == "insertion", truth[setting.about]
    named = says(
        answers[setting.about], setting.concept, study.reading, offered=study.offered.get(setting.about, ()),
        shown=views if inserts else None,
    ).to_numpy()  # fmt: skip
    shown = (views == setting.concept).to_numpy()
    counts = ~shown if inserts else shown
    success = named if inserts else ~named
    beside: Reading = "exact" if study.reading == "exact" else "word"
    right = np.empty((len(answers), 0), dtype=bool)
    if rest:
        right = np.stack([says(answers[about], truth[about], beside) for about in rest], axis=1)
    both = success & right.all(1)
    if not counts.any():
        return {"n": 0, "success": np.nan, "rest": np.nan, "both": np.nan}
    return {
        "n": int(counts.sum()),
        "success": float(success[counts].mean()),
        "rest": float(right[counts].mean()) if rest else np.nan,
        "both": float(both[counts].mean()) if rest else np.nan,
    }
