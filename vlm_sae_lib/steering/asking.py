"""What can be asked about a source's pictures, and in which words; ``reading`` says when an answer counts.

The island's models answer in its own vocabulary, and every answer has a truth. A LLaVA that looks at photographs is
asked about what their folders say of them; what they do not say it is asked as well, and its own unsteered answer
stands in for the truth: what steering leaves alone must stay as it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
from PIL import Image

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.steering.reading import Reading
from vlm_sae_lib.taxonomy import RANKS
from vlm_sae_lib.vlms.vlm import Vlm

GROUPS = {
    "insecta": "insect", "arachnida": "spider", "aves": "bird", "mammalia": "mammal", "reptilia": "reptile",
    "amphibia": "frog", "actinopterygii": "fish", "gastropoda": "snail", "malacostraca": "crab",
    "agaricomycetes": "mushroom", "magnoliopsida": "flower", "liliopsida": "grass", "polypodiopsida": "fern",
    "pinopsida": "conifer",
}  # fmt: skip
"""One English word for a class of iNaturalist 2021, as far as there is one that a model would use."""
KINGDOMS = {"animalia": "animal", "plantae": "plant", "fungi": "fungus"}
OFFERED = {"group": tuple(GROUPS.values()), "realm": tuple(KINGDOMS.values())}
SAY_ONE = "Answer with one word."
OWN = {
    "backdrop": f"What is the main colour of the background? {SAY_ONE}",
    "sharpness": f"Is the background sharp or blurred? {SAY_ONE}",
}
"""Questions about a photograph that its folder cannot answer."""
ISLAND = {"colour", "pattern", "habitat"}
"""Factors that only the pocket world's pictures have."""


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
        offered: the words among which a question lets the model choose; a factor's values are among them, or missing.
        drawn_by: the factor whose values each need pictures of their own in a gallery, because there are too many of
            them for a random draw to hold some of each twice; None where it does.
        reading: how an answer is held against a value, see ``reading.says``.
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
    offered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    drawn_by: str | None = None
    reading: Reading = "word"
    max_new_tokens: int = 5

    @property
    def manner(self) -> dict:
        """What a ``SteeringStudy`` must know of the questions."""
        return {name: getattr(self, name) for name in ("rest", "ranks", "offered", "reading", "max_new_tokens")}


NATURE = Asking(
    columns=RANKS,
    kinds=tuple(OFFERED),
    questions={f: f"Which of these is shown: {', '.join(words)}? {SAY_ONE}" for f, words in OFFERED.items()} | OWN,
    rest=tuple(OWN),
    own=tuple(OWN),
    ranks=(*RANKS, *OFFERED),
    offered=OFFERED,
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
    drawn_by="class",
    reading="class",
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
    if known >= ISLAND:
        return island()
    if set(RANKS) <= known:
        return NATURE
    if "class" in known:
        return OBJECTS
    raise UserError("Nothing is known of these pictures: put them into one folder per class, or choose a known source.")


def in_words(factors: pd.DataFrame) -> pd.DataFrame:
    """The factors, with the words ``group`` and ``realm`` that a model would use where there are scientific ranks.

    A picture for which the question offers no word has none: it shows no concept, and lacks them all. The island's
    ranks are such words themselves.
    """
    if not set(RANKS) <= set(factors.columns) or set(factors.columns) >= ISLAND:
        return factors
    return factors.assign(group=factors["class"].map(GROUPS), realm=factors["kingdom"].map(KINGDOMS))


def look_for(asking: Asking, factors: pd.DataFrame, number: int = 3) -> dict[str, tuple[str, str]]:
    """Concepts (factor, value) by a name for people: the wanted ones, or the most frequent values of ``trial``.

    Raises:
        UserError: no picture has such a value.
    """
    chosen = asking.wanted
    if not chosen:
        counts = factors[asking.trial].value_counts().sort_index().sort_values(ascending=False, kind="stable")
        chosen = tuple((asking.trial, value) for value in counts.index[:number])
    if not chosen:
        raise UserError(f"None of these {len(factors)} pictures has a known {asking.trial}: take others, or more.")
    return {f"{factor} {value}": (factor, value) for factor, value in chosen}


def own_answers(vlm: Vlm, asking: Asking, images: Sequence[Image.Image], factors: pd.DataFrame) -> pd.DataFrame:
    """The factors, with what the model itself says unsteered where nobody else knows: a column for each of ``own``."""
    said = {
        about: vlm.answers(images, asking.questions[about], max_new_tokens=asking.max_new_tokens)
        for about in asking.own
    }
    return factors.assign(**said)
