"""Does steering a latent put its concept into the model's words, or take it out, and what else does it do?

The protocol, the same for steering and for its controls (design: every control gets as many tries):
1. a *try* is one intervention; a method makes a list of tries for a concept, candidates × strengths;
2. the tries are compared on the choosing pictures, and the best becomes the *setting*; ties are broken by the success
   that is measured and then by a draw, never by the order of the tries (book/analysis_plan.md);
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
from jaxtyping import Int

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
    """Pictures the settings are chosen on, for each concept: such as lack it (suppression: such as show it)."""
    n_test: int = 40
    """Pictures the settings are scored on, for each concept as above."""
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
    """One try: an intervention meant for a concept. ``multiple`` is its strength over the latent's maximum.

    ``choosing_rate`` is that of the goal on the choosing pictures, ``choosing_success`` that of the concept alone.
    """

    method: str
    about: str
    concept: str
    repetition: int
    intervention: Intervention | StateEdit
    multiple: float
    choosing_rate: float = float("nan")
    choosing_success: float = float("nan")


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
                for multiple in study.multiples
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
    choosing_rate, choosing_success, n pictures, and the rates ``success`` (concept named; suppression: no longer
    named), ``rest`` (the other answers right) and ``both``. Rates are NaN where no picture qualifies.
    """
    settings = choose_settings(vlm, sae, tries, choosing, questions, study)
    return settings, score_settings(vlm, sae, settings, test, questions, study)


def choose_settings(
    vlm: Vlm, sae: Sae, tries: list[Setting], choosing: Gallery, questions: Mapping[str, str], study: SteeringStudy
) -> list[Setting]:
    """The best try of each method, concept and repetition on the first pictures of a gallery that qualify.

    Of tries that reach the goal equally often the one that succeeds more often is taken, then the one that keeps more
    of the rest, then one of them by a draw: the mildest, or any other fixed one, would favour some method. The rest is
    asked where the goal needs it, or where it costs nothing because one sequence holds all questions (``exact``).
    """
    with_rest = study.goal == "both" or study.reading == "exact"
    scored = _outcomes(vlm, sae, tries, choosing, questions, study, study.n_choosing, with_rest=with_rest)
    ranked: dict[tuple, list[tuple[tuple[float, ...], Setting]]] = {}
    for attempt, rates in zip(tries, scored, strict=True):
        place = tuple(float(np.nan_to_num(rates[what], nan=-1.0)) for what in (study.goal, "success", "rest"))
        setting = replace(attempt, choosing_rate=rates[study.goal], choosing_success=rates["success"])
        key = (attempt.method, attempt.about, attempt.concept, attempt.repetition)
        ranked.setdefault(key, []).append((place, setting))
    rng = np.random.default_rng(study.seed)
    best = []
    for own in ranked.values():
        first = max(place for place, _ in own)
        tied = [setting for place, setting in own if place == first]
        best.append(tied[rng.integers(len(tied))])
    return best


def score_settings(
    vlm: Vlm, sae: Sae, settings: list[Setting], test: Gallery, questions: Mapping[str, str], study: SteeringStudy
) -> pd.DataFrame:
    """Rates of settings on the first pictures of a gallery that qualify; not of the one they were chosen on."""
    scored = _outcomes(vlm, sae, settings, test, questions, study, study.n_test, with_rest=True)
    rows = [
        {
            "method": s.method, "about": s.about, "concept": s.concept, "repetition": s.repetition,
            "latent": -1 if s.intervention.latent is None else s.intervention.latent,
            "strength": s.intervention.strength, "multiple": s.multiple, "choosing_rate": s.choosing_rate,
            "choosing_success": s.choosing_success, **rates,
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
    found: list[dict[str, float]] = [{"n": 0, "success": np.nan, "rest": np.nan, "both": np.nan}] * len(settings)
    qualify = {concept: _qualifying(concept, gallery, study, n_pictures) for concept in _concepts(settings)}
    for members in _benches(settings, study):
        own = {i: qualify[settings[i].about, settings[i].concept] for i in members}
        pictures = np.unique(np.concatenate(list(own.values())))
        if len(pictures) == 0:
            continue
        bench = SteeringBench(
            vlm, sae, [gallery.images[p] for p in pictures], keep_error=study.keep_error, description=study.kind
        )
        truth = gallery.factors.iloc[pictures].reset_index(drop=True)
        places = {i: np.searchsorted(pictures, own[i]) for i in members if len(own[i])}
        rest = {i: rest_of(settings[i], gallery.factors, study) if with_rest else [] for i in places}
        needs = [(settings[i].intervention, settings[i].about, rest[i], at) for i, at in places.items()]
        words = _answers(bench, needs, questions, study)
        for i, at in places.items():
            said, true = (rows.loc[at].reset_index(drop=True) for rows in (words[settings[i].intervention], truth))
            found[i] = _rates(settings[i], said, true, rest[i], study)
    return found


def _answers(
    bench: SteeringBench,
    needs: list[tuple[Intervention | StateEdit, str, list[str], np.ndarray]],
    questions: Mapping[str, str],
    study: SteeringStudy,
) -> dict[Intervention | StateEdit, pd.DataFrame]:
    """What is said under each intervention, a column per thing asked and a row per picture of the bench that needs it.

    Interventions with equal needs go together.
    """
    asked: dict[Intervention | StateEdit, tuple[set[str], set[int]]] = {}
    for intervention, about, rest, places in needs:
        columns, pictures = asked.setdefault(intervention, (set(), set()))
        columns.update([about, *rest])
        pictures.update(places.tolist())
    groups: dict[tuple[tuple[str, ...], tuple[int, ...]], list[Intervention | StateEdit]] = {}
    for intervention, (columns, pictures) in asked.items():
        groups.setdefault((tuple(sorted(columns)), tuple(sorted(pictures))), []).append(intervention)
    words: dict[Intervention | StateEdit, pd.DataFrame] = {}
    for (abouts, at), interventions in groups.items():
        prompts = [questions[about] for about in abouts]
        if study.reading == "exact":
            table = bench.answers(interventions, prompts, at)
        else:
            table = bench.texts(interventions, prompts, at, max_new_tokens=study.max_new_tokens)
        words |= {
            i: pd.DataFrame(answers, index=list(at), columns=list(abouts))
            for i, answers in zip(interventions, table, strict=True)
        }
    return words


def _concepts(settings: list[Setting]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((s.about, s.concept) for s in settings))


def _qualifying(
    concept: tuple[str, str], gallery: Gallery, study: SteeringStudy, n_pictures: int
) -> Int[np.ndarray, " pictures"]:
    """The first pictures that lack a concept (insertion) or show it (suppression)."""
    about, value = concept
    shows = (gallery.factors[about] == value).to_numpy()
    return np.flatnonzero(shows == (study.kind == "suppression"))[:n_pictures]


def _benches(settings: list[Setting], study: SteeringStudy) -> list[list[int]]:
    """Which settings share a bench: in insertion all, whose pictures are nearly the same; else those of a concept."""
    if study.kind == "insertion":
        return [list(range(len(settings)))]
    groups: dict[tuple[str, str], list[int]] = {}
    for i, setting in enumerate(settings):
        groups.setdefault((setting.about, setting.concept), []).append(i)
    return list(groups.values())


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
    success = named if inserts else ~named
    beside: Reading = "exact" if study.reading == "exact" else "word"
    right = np.empty((len(answers), 0), dtype=bool)
    if rest:
        right = np.stack([says(answers[about], truth[about], beside) for about in rest], axis=1)
    return {
        "n": len(answers),
        "success": float(success.mean()),
        "rest": float(right.mean()) if rest else np.nan,
        "both": float((success & right.all(1)).mean()) if rest else np.nan,
    }
