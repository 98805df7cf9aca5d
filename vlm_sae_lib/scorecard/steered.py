"""What LLaVA says when latents are pushed: a few concepts, against random directions that push as far."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pocket.language import QUESTIONS
from vlm_sae_lib.scorecard.card import Value
from vlm_sae_lib.statistics.intervals import student
from vlm_sae_lib.steering import concepts as find
from vlm_sae_lib.steering.experiment import RANDOM_DIRECTION, STEERED, SteeringStudy, Task, make_tries, run_study
from vlm_sae_lib.steering.rivals import DOWN, UP
from vlm_sae_lib.workbench import Workbench

TASKS: tuple[Task, ...] = ("insertion", "suppression")
OUTCOMES = ("success", "both")
STRENGTHS = {"insertion": UP, "suppression": DOWN}


@dataclass(frozen=True)
class Size:
    """How much is tried and scored: a minute's worth. The book's own study is larger (`experiments/diff_mean.py`)."""

    kinds: tuple[str, ...] = ("class", "order", "colour", "pattern", "habitat")
    per_kind: int = 2
    candidates: int = 2
    pictures: int = 1000
    n_choosing: int = 16
    n_test: int = 20


def steered(bench: Workbench, sae: Any, size: Size = Size()) -> tuple[Mapping[str, Value], Mapping[str, Value]]:
    """Insertion and suppression by latents, and by random directions with as many tries, each as far a push.

    What is pushed and how far is chosen on the choosing pictures; the interval is Student's t over the concepts.
    """
    vlm = bench.vlm()
    sae = sae.to(vlm.device)
    choosing, final = (_gallery(bench, split, size.pictures) for split in ("choosing", "test"))
    pooled = find.pool_latents(vlm, sae, choosing.images)
    try:
        concepts = find.list_concepts(choosing.factors, size.kinds, size.per_kind, min_pictures=size.n_choosing,
                                      seed=bench.profile.seed, scored=final.factors)  # fmt: skip
        candidates = find.candidate_latents(pooled, choosing.factors, concepts, n_candidates=size.candidates)
    except UserError as reason:  # nothing fires, or nothing is shown often enough
        nothing = not_measured(str(reason))
        return nothing, nothing
    ours: dict[str, Value] = {}
    theirs: dict[str, Value] = {}
    for task in TASKS:
        study = SteeringStudy(kind=task, goal="both", multiples=STRENGTHS[task], n_choosing=size.n_choosing,
                              n_test=size.n_test, repetitions=1, seed=bench.profile.seed)  # fmt: skip
        tries = [one for one in make_tries(candidates, pooled.maximum, pooled.live(), study)
                 if one.method in (STEERED, RANDOM_DIRECTION)]  # fmt: skip
        _, rates = run_study(vlm, sae, tries, choosing, final, QUESTIONS, study)
        ours |= _values(task, rates[rates["method"] == STEERED])
        theirs |= _values(task, rates[rates["method"] == RANDOM_DIRECTION])
    return ours, theirs


def not_measured(why: str) -> dict[str, Value]:
    """Every steering measure, missing for one reason."""
    return {f"{task}_{outcome}": Value(why=why) for task in TASKS for outcome in OUTCOMES}


def _values(task: str, rates: pd.DataFrame) -> dict[str, Value]:
    return {
        f"{task}_{outcome}": Value.of(student(rates[outcome]), int(rates[outcome].notna().sum()))
        for outcome in OUTCOMES
    }


def _gallery(bench: Workbench, split: str, pictures: int) -> find.Gallery:
    source = bench.pictures(split)
    part = source.subset(range(min(pictures, len(source))))
    return find.Gallery(part.images, part.factors)
