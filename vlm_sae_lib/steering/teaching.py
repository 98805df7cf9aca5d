"""Learned edits of latents for whoever wants to try them: the lessons of `experiments/keeping_the_rest`, concept by
concept."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from vlm_sae_lib.progress import progress
from vlm_sae_lib.steering.arms import Lesson
from vlm_sae_lib.steering.asking import Asking
from vlm_sae_lib.steering.experiment import SteeringStudy, rest_of
from vlm_sae_lib.steering.following import Lessons, lessons
from vlm_sae_lib.steering.intervention import Sae
from vlm_sae_lib.steering.learned import LatentChange, learn
from vlm_sae_lib.steering.prompting import setting
from vlm_sae_lib.vlms.vlm import Vlm

Concept = tuple[str, str]


def lessons_for(
    vlm: Vlm, states: Float[Tensor, "n tokens d"], truth: pd.DataFrame, concept: Concept,
    questions: Mapping[str, str], rest: Sequence[str],
) -> Lessons:  # fmt: skip
    """Lessons from the pictures that lack a concept: its own question first, then those about the rest."""
    about, value = concept
    lacking = torch.tensor((truth[about] != value).tolist())
    return lessons(vlm, [], [questions[one] for one in (about, *rest)], value, states[lacking])


def learned_latents(
    vlm: Vlm, sae: Sae, pictures: Any, concepts: Sequence[Concept], asking: Asking, lesson: Lesson | None = None
) -> dict[Concept, LatentChange]:  # fmt: skip
    """A change of the latents for each concept that puts it into the answers and leaves the others as they are.

    Five seconds a concept on two cores, on the pocket world. Nothing is learned elsewhere: gradients through a model of
    billions need more memory than it needs to answer, and there an answer is more than one word.

    Args:
        pictures: to learn from, with ``images`` and ``factors``, such as a part of the train pictures.
        lesson: how long each learns; as in the experiment unless told.
    """
    lesson = lesson or Lesson()
    if asking.reading != "exact":
        return {}
    states, truth = vlm.states(pictures.images), pictures.factors
    study, changes = SteeringStudy(**asking.manner), {}
    for concept in progress(concepts, "learned latents", unit="concept"):
        rest = rest_of(setting("", concept), truth, study)
        changes[concept] = LatentChange(sae)
        taught = lessons_for(vlm, states, truth, concept, asking.questions, rest)
        learn(changes[concept], taught, steps=lesson.steps, batch=lesson.batch, seed=lesson.seed)
    return changes
