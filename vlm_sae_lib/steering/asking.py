"""What can be asked about a source's pictures, in which words, and how an answer is read.

The island's models answer in its own vocabulary, and every answer has a truth. A LLaVA that looks at photographs is
asked about what their folders say of them; what they do not say it is asked as well, and its own unsteered answer
stands in for the truth: what steering leaves alone must stay as it was.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from PIL import Image

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.steering.vlm import Vlm
from vlm_sae_lib.taxonomy import RANKS

Reading = Literal["exact", "word"]

GROUPS = {
    "insecta": "insect", "arachnida": "spider", "aves": "bird", "mammalia": "mammal", "reptilia": "reptile",
    "amphibia": "frog", "actinopterygii": "fish", "gastropoda": "snail", "malacostraca": "crab",
    "agaricomycetes": "mushroom", "magnoliopsida": "flower", "liliopsida": "grass", "polypodiopsida": "fern",
    "pinopsida": "conifer",
}  # fmt: skip
"""One English word for a class of iNaturalist 2021; of the others the kingdom's word is used."""
KINGDOMS = {"animalia": "animal", "plantae": "plant", "fungi": "fungus"}
SAY_ONE = "Answer with one word."
OWN = {
    "backdrop": f"What is the main colour of the background? {SAY_ONE}",
    "sharpness": f"Is the background sharp or blurred? {SAY_ONE}",
}
"""Questions about a photograph that its folder cannot answer."""


@dataclass(frozen=True)
class Asking:
    """The questions of one kind of pictures.

    Attributes:
        columns: the factors that are known of a picture, the coarsest rank first.
        kinds: the factors whose values steering inserts and suppresses.
        questions: the prompt by what it asks about.
        rest: what is asked beside a concept.
        own: those of them whose truth is what the model says unsteered.
        ranks: factors that name one and the same thing, so that none is the rest of another.
        describe, one_word: the prompts for a caption and for one word.
        trial: the factor of the first look and of the dose curve; ``examples`` are two of its values, or empty.
        variety: the factor by which the pictures that are shown differ; ``label`` names one from its factors.
        wanted: concepts whose latents the book shows; where there are none, `look_for` takes frequent ones.
        reading: how an answer is held against a value, see `says`.
        max_new_tokens: how long a one-word answer may be.
    """

    columns: tuple[str, ...]
    kinds: tuple[str, ...]
    questions: Mapping[str, str]
    rest: tuple[str, ...]
    ranks: tuple[str, ...]
    describe: str
    one_word: str
    trial: str
    variety: str
    label: str
    examples: tuple[str, ...] = ()
    wanted: tuple[tuple[str, str], ...] = ()
    own: tuple[str, ...] = ()
    reading: Reading = "word"
    max_new_tokens: int = 5

    @property
    def manner(self) -> dict:
        """What a ``SteeringStudy`` must know of the questions."""
        return {name: getattr(self, name) for name in ("rest", "ranks", "reading", "max_new_tokens")}


NATURE = Asking(
    columns=RANKS,
    kinds=("group", "realm"),
    questions={
        "group": f"Which of these is shown: {', '.join(GROUPS.values())}? {SAY_ONE}",
        "realm": f"Which of these is shown: animal, plant, fungus? {SAY_ONE}",
        **OWN,
    },
    rest=tuple(OWN),
    own=tuple(OWN),
    ranks=(*RANKS, "group", "realm"),
    describe="Describe the image.",
    one_word="What is shown in this image? Use exactly one word!",  # the paper's prompt (its code's wording)
    trial="group",
    variety="group",
    label="a picture of: {group}",
)
OBJECTS = Asking(
    columns=("class",),
    kinds=("class",),
    questions={"class": NATURE.one_word, **OWN},
    rest=tuple(OWN),
    own=tuple(OWN),
    ranks=("class",),
    describe=NATURE.describe,
    one_word=NATURE.one_word,
    trial="class",
    variety="class",
    label="{class}",
)


def island() -> Asking:
    """The questions of the pocket world."""
    from vlm_sae_lib.pocket import language

    return Asking(
        columns=(*RANKS, "colour", "pattern", "habitat"),
        kinds=("class", "order", "colour", "pattern", "habitat", "species"),
        questions=language.QUESTIONS,
        rest=("order", "colour", "pattern", "habitat"),
        ranks=RANKS,
        describe=language.DESCRIBE,
        one_word=language.ONE_WORD,
        trial="order",
        variety="habitat",
        label="a {order} in the {habitat}",
        examples=("conifer", "daisy"),
        wanted=(("colour", "red"), ("order", "finch"), ("habitat", "cave")),
        reading="exact",
    )


def asking_of(factors: pd.DataFrame | None) -> Asking:
    """What can be asked where these factors are known.

    Raises:
        UserError: nothing is known of the pictures.
    """
    known = set() if factors is None else set(factors.columns)
    if {"colour", "pattern", "habitat"} <= known:
        return island()
    if set(RANKS) <= known:
        return NATURE
    if "class" in known:
        return OBJECTS
    raise UserError("Nothing is known of these pictures: put them into one folder per class, or choose a known source.")


def in_words(factors: pd.DataFrame) -> pd.DataFrame:
    """The factors, with the words ``group`` and ``realm`` that a model would use where there are scientific ranks.

    The island's ranks are such words themselves.
    """
    if not set(RANKS) <= set(factors.columns) or not factors["kingdom"].isin(list(KINGDOMS)).all():
        return factors
    realm = factors["kingdom"].map(KINGDOMS)
    return factors.assign(group=factors["class"].map(GROUPS).fillna(realm), realm=realm)


def look_for(asking: Asking, factors: pd.DataFrame, number: int = 3) -> dict[str, tuple[str, str]]:
    """Concepts (factor, value) by a name for people: the wanted ones, or the most frequent values of ``trial``."""
    chosen = asking.wanted
    if not chosen:
        counts = factors[asking.trial].value_counts().sort_index().sort_values(ascending=False, kind="stable")
        chosen = tuple((asking.trial, value) for value in counts.index[:number])
    return {f"{factor} {value}": (factor, value) for factor, value in chosen}


def own_answers(
    vlm: Vlm, asking: Asking, images: Sequence[Image.Image], factors: pd.DataFrame, *, batch_size: int = 8
) -> pd.DataFrame:
    """The factors, with what the model itself says unsteered where nobody else knows: a column for each of ``own``."""
    said = {
        about: vlm.answers(images, asking.questions[about], max_new_tokens=asking.max_new_tokens, batch_size=batch_size)
        for about in asking.own
    }
    return factors.assign(**said)


def says(answers: pd.Series, truth: pd.Series | str, reading: Reading) -> pd.Series:
    """Whether each answer names its truth: the very same text, or (``word``) its first word as one of the truth's.

    Case, articles, punctuation and a plural's *s* do not count among words.
    """
    if reading == "exact":
        return answers == truth
    truths = pd.Series(truth, index=answers.index) if isinstance(truth, str) else truth
    found = [
        bool(said := tidy(answer)) and said[0] in tidy(known)
        for answer, known in zip(answers, truths.to_numpy(), strict=True)
    ]
    return pd.Series(found, index=answers.index, dtype=bool)


def tidy(text: str) -> list[str]:
    """The words of a text: lower case, without articles and punctuation, in the singular."""
    words = re.findall(r"[^\W\d_]+", str(text).lower())
    kept = [word for word in words if word not in ("a", "an", "the")]
    return [word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in kept]
