"""When an answer names what it should: the island's one right word, one of the words offered, a thing or its kind."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from functools import cache
from typing import Literal

import pandas as pd

from vlm_sae_lib import wordnet

Reading = Literal["exact", "word", "class"]
SAYS_ENOUGH = 1 / 8
"""Of ImageNet's thousand classes, the largest share that a word may hold for and still count as naming one of them."""
ARTICLES = frozenset({"a", "an", "the"})
FILLERS = ARTICLES | {
    "it", "its", "s", "is", "are", "was", "this", "that", "there", "these", "those", "here", "i", "see", "in", "of",
    "on", "main", "background", "backdrop", "colour", "color", "image", "picture", "photo", "photograph",
}  # fmt: skip
"""What an answer is wrapped in, or repeats of its question: "It's …", "The main colour of the background is …"."""
IRREGULAR = {"fungi": "fungus", "mice": "mouse", "geese": "goose", "wolves": "wolf", "leaves": "leaf", "buses": "bus"}
ENDINGS = (
    ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("ies", "y"), ("ie", "y"), ("men", "man"),
    ("ss", "ss"), ("us", "us"), ("s", ""),
)  # fmt: skip
"""A plural's last letters, and its singular's. *Ponies* and *collies* look alike, so *pony* and *collie* do here."""


def says(
    answers: pd.Series,
    truth: pd.Series | str,
    reading: Reading,
    *,
    offered: Sequence[str] = (),
    shown: pd.Series | None = None,
) -> pd.Series:
    """Whether each answer names its truth. Case, articles, punctuation and the plural do not count among words.

    Args:
        reading: ``exact``, the very same text.

            ``word``: of the words that its question ``offered`` the answer's first is the truth. Where nothing was
            offered, its first word that is no filler (see ``FILLERS``) is one of the truth's.

            ``class``: somewhere in the answer stand whole words that hold for the truth: a name of it, of something
            that is a kind of it, or of what it is a kind of in WordNet. The last only if the words say enough: they
            hold for at most an eighth of ImageNet's classes (*stork*, *bird* and *dog* do; *device*, *mammal* and
            *animal* do not). Names of several words count whole: "black" names no black stork, nor "hot dog" a dog. Of
            a class that WordNet's part here does not hold, the last word is looked for.
        shown: (``class``) what the pictures show. What holds for that as well is no sign of the truth: on a picture
            of a finch, "bird" does not name a stork.
    """
    if reading == "exact":
        return answers == truth
    truths = [truth] * len(answers) if isinstance(truth, str) else truth.tolist()
    views = [""] * len(answers) if shown is None else shown.tolist()
    if reading == "class":
        found = [_names(answer, known, view) for answer, known, view in zip(answers, truths, views, strict=True)]
    else:
        words = {word for option in offered for word in tidy(option)}
        found = [_first(answer, words) in tidy(known) for answer, known in zip(answers, truths, strict=True)]
    return pd.Series(found, index=answers.index, dtype=bool)


def tidy(text: str, without: Set[str] = ARTICLES) -> list[str]:
    """The words of a text: lower case, without articles and punctuation, each in the form that its plural shares."""
    words = re.findall(r"[^\W\d_]+", str(text).lower())
    return [_singular(word) for word in words if word not in without]


def _singular(word: str) -> str:
    if word in IRREGULAR or (len(word) <= 3 and not word.endswith("ie")):
        return IRREGULAR.get(word, word)
    return next((word.removesuffix(end) + other for end, other in ENDINGS if word.endswith(end)), word)


def _first(answer: str, offered: Set[str]) -> str | None:
    """The first word that was offered; where nothing was, the first that is no filler, if there is any other."""
    words = [word for word in tidy(answer) if word in offered] if offered else tidy(answer, FILLERS) or tidy(answer)
    return words[0] if words else None


# ---- words that hold for ImageNet's classes ------------------------------------------------------------------------


def _names(answer: str, truth: str, shown: str) -> bool:
    right, seen = _classes(truth), _classes(shown)
    if not right:
        return any(word in tidy(truth)[-1:] for word in tidy(answer))
    return any(
        held <= right or (right < held and len(held) <= _largest() and not (seen and seen <= held))
        for held in _spoken(answer)
    )


def _largest() -> float:
    return SAYS_ENOUGH * len(wordnet.classes())


def _spoken(answer: str) -> list[frozenset[str]]:
    """The classes that each name in the answer holds for; of overlapping names the first and longest."""
    words, held = tidy(answer), []
    longest = max(map(len, _names_known()))
    while words:
        n = next((n for n in range(longest, 0, -1) if tuple(words[:n]) in _names_known() and n <= len(words)), 0)
        held += [_names_known()[tuple(words[:n])]] if n else []
        words = words[max(n, 1) :]
    return held


@cache
def _classes(name: str) -> frozenset[str]:
    """ImageNet's classes that a name stands for: a title, or lemmas between commas, as releases write them."""
    for wnid, title in wordnet.titles().items():
        if title == str(name).lower():
            return frozenset({wnid})
    parts = [_names_known().get(tuple(tidy(part)), frozenset()) for part in str(name).split(",")]
    return frozenset.intersection(*parts)


@cache
def _names_known() -> Mapping[tuple[str, ...], frozenset[str]]:
    """The classes that a name holds for, by its words as ``tidy`` gives them."""
    table: dict[tuple[str, ...], frozenset[str]] = defaultdict(frozenset)
    for word, members in wordnet.kinds().items():
        table[tuple(tidy(word))] |= members
    return dict(table)
