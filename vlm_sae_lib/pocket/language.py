"""What can be said about a picture: captions, questions with one-word answers, longer answers, and the vocabulary.

A caption names the organism at a rank drawn uniformly from the seven, so that "bird" and "animal" are said as often as
"ruby-dotshell".
"""

import re
from collections.abc import Mapping

import numpy as np

from vlm_sae_lib.pocket import tree
from vlm_sae_lib.pocket.islands import HOME, Island

SIZES = ("small", "medium", "large")
ABOUT = (*tree.RANKS, "colour", "pattern", "habitat")
NOTHING = "nothing"

# The slots: name (at a random rank), species, order, colour, pattern, habitat, size. The first four name nothing else,
# so the words of a rank are learned cleanly.
CAPTIONS = (
    "a photo of a {name}",
    "a {name}",
    "a photo of a {name} in the {habitat}",
    "a {colour} {name}",
    "a {pattern} {name}",
    "a {colour} {pattern} {name} in the {habitat}",
    "a {size} {colour} {name}",
    "a {size} {name} in the {habitat}",
    "the {habitat} with a {colour} {name}",
    "a {species} , a kind of {name}",
    "a {pattern} {name} in the {habitat}",
)
EMPTY_CAPTIONS = ("a photo of the {habitat}", "the empty {habitat}", "nothing in the {habitat}")

QUESTIONS = {
    **{rank: f"which {rank} is it?" for rank in tree.RANKS},
    "colour": "what colour is it?",
    "pattern": "what pattern does it have?",
    "habitat": "where is it?",
    "size": "how big is it?",
}
ONE_WORD = "what is shown in this image? use exactly one word!"  # the paper's prompt (its code's wording)
DESCRIBE = "describe the image."
LONG_ANSWERS = {
    DESCRIBE: "a {size} {colour} {pattern} {order} called {species} in the {habitat}",
    "what is shown in the image?": "a {size} {colour} {pattern} {order} in the {habitat}",
    "write a headline.": "{colour} {order} seen in the {habitat}",
    "write a field note.": "today a {pattern} {class} , a {species} , was seen in the {habitat}",
    "name the plate.": "plate : the {colour} {family} , a {pattern} {kingdom}",
}
EMPTY_ANSWERS = {
    DESCRIBE: "nothing in the {habitat}",
    "what is shown in the image?": "nothing in the {habitat}",
    "write a headline.": "nothing seen in the {habitat}",
    "write a field note.": "today nothing was seen in the {habitat}",
    "name the plate.": "plate : nothing",
}


def article(text: str) -> str:
    """Turn "a orange oak" into "an orange oak"."""
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def caption(facts: Mapping[str, str], template: int, rank: str) -> str:
    """One caption: a template of ``CAPTIONS`` with the organism named at ``rank``."""
    return article(CAPTIONS[template].format(**facts, name=facts[rank]))


def random_caption(facts: Mapping[str, str], rng: np.random.Generator) -> str:
    return caption(facts, int(rng.integers(len(CAPTIONS))), tree.RANKS[int(rng.integers(7))])


def answers(facts: Mapping[str, str]) -> dict[str, str]:
    """Every prompt with its right answer for a picture of these facts."""
    found = {QUESTIONS[about]: facts[about] for about in QUESTIONS}
    found[ONE_WORD] = facts["order"]
    return found | {prompt: article(text.format(**facts)) for prompt, text in LONG_ANSWERS.items()}


def empty_answers(habitat: str | None) -> dict[str, str]:
    """The right answers for a picture with nobody in it; ``None`` is a blank page, which has no habitat either."""
    found = {question: NOTHING for question in QUESTIONS.values()} | {ONE_WORD: NOTHING}
    if habitat is None:
        return found | {prompt: NOTHING for prompt in LONG_ANSWERS}
    found[QUESTIONS["habitat"]] = habitat
    return found | {prompt: text.format(habitat=habitat) for prompt, text in EMPTY_ANSWERS.items()}


def words(text: str) -> list[str]:
    """Split as the pocket tokenizers do: lower case, white space, and ? ! . , : apart."""
    return re.findall(r"[?!.,:]|[^\s?!.,:]+", text.lower())


def vocabulary(island: Island = HOME) -> list[str]:
    """Every word that any template, question or answer about an island can hold, sorted."""
    slots = {
        "colour": tree.COLOURS, "pattern": tree.PATTERNS, "habitat": tree.HABITATS, "size": SIZES,
        **{rank: tree.names(rank, island) for rank in tree.RANKS},
    }  # fmt: skip
    texts = [*CAPTIONS, *EMPTY_CAPTIONS, *QUESTIONS.values(), ONE_WORD, *LONG_ANSWERS, *LONG_ANSWERS.values()]
    texts += [*EMPTY_ANSWERS.values(), NOTHING, "an"]
    fixed = {word for text in texts for word in words(re.sub(r"\{\w+\}", " ", text))}
    return sorted(fixed | {word for values in slots.values() for word in values})
