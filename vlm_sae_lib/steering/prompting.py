"""Telling the model in words what it should see: the plainest rival of all."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vlm_sae_lib.steering.concepts import Gallery
from vlm_sae_lib.steering.experiment import Setting, SteeringStudy, score_settings
from vlm_sae_lib.steering.intervention import Sae
from vlm_sae_lib.steering.sweep import UNSTEERED
from vlm_sae_lib.vlms.vlm import Vlm


def phrased(questions: Mapping[str, str], phrase: str, concept: str) -> dict[str, str]:
    """All questions, by what they ask about, in a phrase with places for {concept} and {question}."""
    return {about: phrase.format(concept=concept, question=question) for about, question in questions.items()}


def choose_phrase(
    vlm: Vlm,
    sae: Sae,
    arm: str,
    concept: tuple[str, str],
    phrases: Sequence[str],
    gallery: Gallery,
    questions: Mapping[str, str],
    study: SteeringStudy,
) -> tuple[Setting, str]:
    """The phrase under which a concept is named, and the rest right, most often on the choosing pictures.

    Ties go as for other tries: to more success, then to more of the rest; of phrases that are equal in all the first.
    """
    rated = [
        score_settings(vlm, sae, [setting(arm, concept)], gallery, phrased(questions, p, concept[1]), study).iloc[0]
        for p in phrases
    ]
    best = max(range(len(phrases)), key=lambda i: (rated[i]["both"], rated[i]["success"], rated[i]["rest"], -i))
    rates = {"choosing_rate": rated[best]["both"], "choosing_success": rated[best]["success"]}
    return replace(setting(arm, concept), multiple=float(best), **rates), phrases[best]


def setting(arm: str, concept: tuple[str, str]) -> Setting:
    """Nothing is edited."""
    return Setting(arm, *concept, 0, UNSTEERED, 0.0)
