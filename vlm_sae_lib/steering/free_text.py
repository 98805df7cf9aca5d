"""Judging whole answers of the pocket LLaVA against the truth, where the paper asks a language model to judge.

The paper inserts a concept and asks for a love poem; this model knows five things it can be asked to write (a
description, a headline, a field note …), each with a form. So "prompt followed" can be checked: the text has the form,
and every slot of it holds a word of the slot's kind. And beyond the paper: whether those words are true of the picture.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd
from jaxtyping import Bool

from vlm_sae_lib.pocket import language, tree
from vlm_sae_lib.pocket.islands import ISLANDS
from vlm_sae_lib.progress import progress
from vlm_sae_lib.steering.concepts import Gallery
from vlm_sae_lib.steering.experiment import Setting, SteeringStudy, rest_of
from vlm_sae_lib.steering.intervention import Sae
from vlm_sae_lib.steering.sweep import SteeringBench
from vlm_sae_lib.vlms.vlm import Vlm

KINDS: dict[str, frozenset[str]] = {
    # of every island, as a picture's own one is not known here
    **{rank: frozenset(name for i in ISLANDS.values() for name in tree.names(rank, i)) for rank in tree.RANKS},
    "colour": frozenset(tree.COLOURS),
    "pattern": frozenset(tree.PATTERNS),
    "habitat": frozenset(tree.HABITATS),
    "size": frozenset(language.SIZES),
}


def prompts_with(slot: str) -> list[str]:
    """The prompts whose answer has that slot, in the order of the language's own list."""
    return [prompt for prompt, form in language.LONG_ANSWERS.items() if f"{{{slot}}}" in form]


def followed(text: str, prompt: str) -> dict[str, str] | None:
    """The word in each slot of an answer; None where the text has not the form that the prompt asks for."""
    match = _form(prompt).fullmatch(" ".join(language.words(text)))
    if match is None:
        return None
    slots = match.groupdict()
    return slots if all(word in KINDS[slot] for slot, word in slots.items()) else None


def judge(
    text: str, prompt: str, concept: str, truth: Mapping[str, str], rest: Collection[str]
) -> tuple[bool, bool, bool]:
    """Does the text name the concept; has it the form; and are those slots of ``rest`` that the form has all true?"""
    slots = followed(text, prompt)
    right = slots is not None and all(slots[slot] == truth[slot] for slot in rest if slot in slots)
    return concept in language.words(text), slots is not None, right


@cache
def _form(prompt: str) -> re.Pattern[str]:
    parts = []
    for word in language.LONG_ANSWERS[prompt].split():
        if slot := re.fullmatch(r"\{(\w+)\}", word):
            parts.append(rf"(?P<{slot[1]}>\S+)")
        else:
            parts.append("an?" if word == "a" else re.escape(word))
    return re.compile(" ".join(parts))


def score_texts(
    vlm: Vlm,
    sae: Sae,
    settings: Sequence[Setting],
    gallery: Gallery,
    study: SteeringStudy,
    n_pictures: int,
    dropped: Collection[str],
) -> pd.DataFrame:
    """Rates of settings in whole texts: one row per setting, for at most two prompts whose form has the concept's slot.

    Insertion writes about pictures that lack the concept: ``named``, ``followed`` and ``both`` as in the paper's Table
    2a, and ``right``, the other slots true. Suppression writes about pictures that show it and as many that lack it:
    ``gone`` from the former, ``followed`` and ``right`` on the latter, as in Table 2b; ``both`` takes them in pairs.
    dropped: the methods under which what the SAE misses is dropped. ``n`` counts texts (suppression: pairs of them).
    """
    rows = []
    groups: dict[tuple[str, str], list[Setting]] = {}
    for setting in settings:
        groups.setdefault((setting.about, setting.concept), []).append(setting)
    for (about, concept), members in progress(groups.items(), f"texts, {study.kind}"):
        shown, lacking = (
            np.flatnonzero((gallery.factors[about] == concept) == side)[:n_pictures] for side in (True, False)
        )
        pictures = lacking if study.kind == "insertion" else np.concatenate([shown, lacking[: len(shown)]])
        truth = gallery.factors.iloc[pictures].to_dict("records")
        rest, prompts = rest_of(members[0], gallery.factors, study), prompts_with(about)[:2]
        for is_dropped in (True, False):
            part = [s for s in members if (s.method in dropped) == is_dropped]
            bench = SteeringBench(vlm, sae, [gallery.images[p] for p in pictures], keep_error=not is_dropped)
            edits = [s.intervention for s in part]
            texts = np.stack([bench.captions(edits, prompt, max_new_tokens=16) for prompt in prompts], 1)
            for setting, own in zip(part, texts, strict=True):
                judged = np.array([
                    [judge(text, prompt, concept, facts, rest) for text, facts in zip(line, truth, strict=True)]
                    for prompt, line in zip(prompts, own, strict=True)
                ])  # fmt: skip
                rates = _text_rates(judged, study.kind)
                rows.append({"method": setting.method, "about": about, "concept": concept, **rates})
    return pd.DataFrame(rows)


def _text_rates(judged: Bool[np.ndarray, "prompts pictures 3"], kind: str) -> dict[str, float]:
    named, form, right = np.moveaxis(judged, -1, 0)
    if kind == "insertion":
        found = {"named": named, "followed": form, "both": named & form, "right": right}
    else:
        half = named.shape[1] // 2
        gone = ~named[:, :half]
        found = {"gone": gone, "followed": form[:, half:], "both": gone & right[:, half:], "right": right[:, half:]}
    return {"n": found["both"].size, **{criterion: float(values.mean()) for criterion, values in found.items()}}
