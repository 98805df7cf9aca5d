"""Steering that keeps the rest: which edit names a concept and leaves the other answers right (issue 14, §5).

Concepts, pictures and judge are those of ``diff_mean``; every arm (``steering/arms.py``) has as many tries, compared
on the choosing pictures. Attributions and learned edits see train pictures only. The same picture painted anew with
the one factor changed tells how well the model answers when nothing has to be edited at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from vlm_sae_lib.experiments.diff_mean import Size as Shared
from vlm_sae_lib.experiments.diff_mean import list_concepts, train_contrasts
from vlm_sae_lib.experiments.experiment import Experiment
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.keeping_the_rest_records import record_acting, record_arms, record_best, record_chosen
from vlm_sae_lib.pocket.language import QUESTIONS
from vlm_sae_lib.pocket.repainting import repaint
from vlm_sae_lib.progress import progress
from vlm_sae_lib.steering import arms
from vlm_sae_lib.steering import concepts as find
from vlm_sae_lib.steering.acting import ask_under_each
from vlm_sae_lib.steering.attribution import Attribution, attribute
from vlm_sae_lib.steering.experiment import Setting, SteeringStudy, choose_settings, rest_of, score_settings
from vlm_sae_lib.steering.prompting import choose_phrase, phrased, setting
from vlm_sae_lib.steering.teaching import lessons_for
from vlm_sae_lib.workbench import Workbench

BARE, REPAINTED = "bare model", "picture painted anew"
Concept = tuple[str, str]


@dataclass(frozen=True)
class Size:
    """How much is tried; smaller in tests. What ``diff_mean`` has as well is taken from there."""

    shared: Shared = Shared()
    taught: int = 96
    """Train pictures for attributions and lessons; those that show the concept are left out."""
    lesson: arms.Lesson = arms.Lesson()
    acting: int = 8
    """Choosing pictures on which every live latent is overwritten in turn."""
    most_latents: int | None = None


def run(bench: Workbench, found: Findings, size: Size = Size()) -> None:
    """Insertion by every arm, the best edit of latents against every rival, and which latents act at all."""
    choosing, test = (_gallery(bench, split, size.shared.pictures) for split in ("choosing", "test"))
    vlm, sae, seed = bench.vlm(), bench.shown("steering"), bench.profile.seed
    listed = list_concepts(found, choosing.factors, test.factors, size.shared, seed)
    concepts = list(zip(listed["about"], listed["concept"], strict=True))
    pooled = find.pool_latents(vlm, sae, choosing.images)
    live = pooled.live()[: size.most_latents]
    f1 = detection(pooled, choosing.factors, concepts, live)
    contrasts = train_contrasts(bench, listed)
    study = SteeringStudy(
        goal="both", n_choosing=size.shared.n_choosing, n_test=size.shared.n_test[0], seed=seed, keep_error=True
    )
    found.add("SAE", sae.hash[:12], n=sae.n_latents, unit="first digits of the steering SAE's hash")
    found.add("tries", arms.TRIES, unit="tries of each arm for each concept")

    train = bench.pictures("train").subset(range(size.taught))
    states, truth = vlm.states(train.images), train.factors
    tries: list[Setting] = []
    effects: dict[Concept, Attribution] = {}
    losses: list[dict[str, object]] = []
    for place, concept in enumerate(progress(concepts, "attributions and lessons", unit="concept")):
        about, value = concept
        rest = rest_of(setting("", concept), choosing.factors, study)
        taught = lessons_for(vlm, states, truth, concept, QUESTIONS, rest)
        effects[concept] = attribute(taught, sae, torch.from_numpy(pooled.maximum))
        learned, last = arms.teach(taught, sae, size.lesson)
        losses.append({"about": about, "concept": value, **last})
        detectors = live[np.argsort(-f1[concept], kind="stable")[: arms.CANDIDATES]].tolist()
        means = arms.Means(detectors, effects[concept], contrasts[concept].direction)
        tries += arms.make_tries(concept, means, sae, pooled.maximum, live, learned, seed + place)
    found.table("lessons", pd.DataFrame(losses).round(4))

    settings, scored = choose_and_score(vlm, sae, tries, concepts, choosing, test, study)
    record_arms(found, scored, (BARE, REPAINTED))
    record_best(found, scored)
    record_chosen(found, settings, sae)
    act = ask_under_each(
        vlm, sae, choosing.images[: size.acting], {a: QUESTIONS[a] for a in size.shared.kinds}, live, pooled.maximum,
        seed,
    )  # fmt: skip
    record_acting(found, act, live, effects, f1)


def choose_and_score(
    vlm, sae, tries: list[Setting], concepts: Sequence[Concept], choosing: find.Gallery, test: find.Gallery,
    study: SteeringStudy,
) -> tuple[list[Setting], pd.DataFrame]:  # fmt: skip
    """The best try of each arm and concept, and the rates of these and of the bounds on the test pictures."""
    dropped = replace(study, keep_error=False)
    settings: list[Setting] = []
    rows: list[pd.DataFrame] = []
    for how, own in ((dropped, lambda arm: arm == arms.PAPER), (study, lambda arm: arm != arms.PAPER)):
        part = choose_settings(vlm, sae, [t for t in tries if own(t.method)], choosing, QUESTIONS, how)
        rows.append(score_settings(vlm, sae, part, test, QUESTIONS, how))
        settings += part
    bare = [setting(BARE, concept) for concept in concepts]
    rows.append(score_settings(vlm, sae, bare, test, QUESTIONS, study))
    for concept in progress(concepts, "prompts and painted pictures", unit="concept"):
        chosen, phrase = choose_phrase(vlm, sae, arms.PROMPT, concept, arms.PHRASES, choosing, QUESTIONS, study)
        asked = phrased(QUESTIONS, phrase, concept[1])
        rows.append(score_settings(vlm, sae, [chosen], test, asked, study))
        anew = painted_anew(test, concept, study.n_test)
        rows.append(score_settings(vlm, sae, [setting(REPAINTED, concept)], anew, QUESTIONS, study))
        settings.append(chosen)
    return settings, pd.concat(rows, ignore_index=True)


def detection(
    pooled: find.PooledLatents, factors: pd.DataFrame, concepts: Sequence[Concept], live: np.ndarray
) -> dict[Concept, np.ndarray]:
    """The F1 of each live latent for each concept, by the larger or the mean value, whichever serves it."""
    shows = np.stack([(factors[about] == value).to_numpy() for about, value in concepts], 1)
    f1 = np.maximum(find.best_f1(pooled.largest[:, live], shows), find.best_f1(pooled.mean[:, live], shows))
    return dict(zip(concepts, f1.T, strict=True))


def painted_anew(gallery: find.Gallery, concept: Concept, number: int) -> find.Gallery:
    """The first pictures that lack a concept, painted so that they show it; what else is true of them stays true."""
    about, value = concept
    images = list(gallery.images)
    for place in np.flatnonzero((gallery.factors[about] != value).to_numpy())[:number]:
        images[place] = repaint(gallery.factors.iloc[place].to_dict(), about, value)
    return find.Gallery(images, gallery.factors)


def _gallery(bench: Workbench, split: str, pictures: int) -> find.Gallery:
    part = bench.pictures(split).subset(range(pictures))
    return find.Gallery(part.images, part.factors)


EXPERIMENT = Experiment(
    name="keeping_the_rest",
    title="Steering that keeps the rest",
    question="Which edit puts a concept into the answers and leaves all the others right?",
    paper="Tab. 2, Fig. 6, 7",
    run=run,
    speaks=True,
)
