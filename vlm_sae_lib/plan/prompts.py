"""What notebook 5 asks a VLM, part by part: how often it reads a picture with a question, and how many words it says.

The counts follow the notebook and ``steering.experiment``: interventions × pictures × questions. A model that is read
for its first word alone (``exact``) answers all questions about a picture in one sequence; one that is read for its
words has a sequence for each. They are upper bounds: concepts without enough pictures ask less.
"""

from dataclasses import dataclass

from vlm_sae_lib.profiles.settings import Profile, SteeringSize
from vlm_sae_lib.steering.asking import NATURE, OBJECTS, Asking, island
from vlm_sae_lib.steering.experiment import SteeringStudy

RANDOM_LATENTS = SteeringStudy().random_latents
CAPTION_WORDS = 32
LADDER = 5  # unsteered, and four strengths
TRIED = 99  # the first look takes every value of its factor that has pictures
PAGE_WORDS = 16
POCKET_TOKENS, PUBLIC_TOKENS = (10, 6), (70, 12)
"""Tokens of a sequence beside its picture: the chat template with a question, and one question more."""


@dataclass(frozen=True)
class Prompts:
    """So many sequences of a picture and ``questions`` questions each, answered with ``new_tokens`` tokens.

    ``pictures``: how often the vision tower sees a picture for them; what was seen before an edit is kept.
    """

    part: str
    sequences: int
    new_tokens: int
    pictures: int
    words: int
    """Tokens of a sequence beside the picture's, before the answer."""
    at_once: int | None = None
    """How many are asked together; None: as many as the machine holds."""


def asking_for(profile: Profile) -> Asking:
    """What can be asked about a profile's pictures, told by the names of their sources."""
    source = profile.test_pictures.partition(":")[0]
    return island() if source == "pocket" else OBJECTS if source == "imagenet" else NATURE


def values_of(asking: Asking, profile: Profile) -> dict[str, int]:
    """How many values each kind of concept can have among the pictures that are shown to the VLM."""
    if asking.reading == "exact":
        from vlm_sae_lib.pocket.world import sample_factors

        drawn = [sample_factors(profile.seed, i) for i in range(profile.steering_choosing)]
        return {kind: len({str(one.get(kind)) for one in drawn}) for kind in asking.kinds}
    return {kind: len(asking.offered.get(kind, range(profile.gallery_classes))) for kind in asking.kinds}


def prompts(profile: Profile) -> list[Prompts]:
    """All that notebook 5 asks under a profile, in its order."""
    size, asking = profile.steering, asking_for(profile)
    values = values_of(asking, profile)
    asked, alone = _Counter(asking), _tokens(asking)[0]
    concepts = sum(min(size.concepts, n) for n in values.values())
    tried, best = min(TRIED, values[asking.trial]), min(size.concepts, values[asking.trial])
    down = sum(min(size.suppressed, n) for n in values.values())
    rest = 1 + len(asking.rest)  # the concept itself, and what else is asked
    at_once = asking.reading == "exact"  # then the rest costs nothing, and breaks ties
    settings = _settings(size, concepts)

    own = (profile.steering_choosing + profile.steering_scored) * len(asking.own)
    found = [Prompts("own answers", own, asking.max_new_tokens, own, alone)] if own else []
    found += [
        Prompts("a first look", 3 + 2 * LADDER, CAPTION_WORDS, 3 + 2 * LADDER, alone, at_once=1),
        asked("a first look", tried * size.candidates + 1, size.trial, rest),
        asked("insertion", _tries(size, concepts, len(size.multiples)), size.choosing, rest if at_once else 1),
        asked("insertion", settings, size.test, rest),
        asked("the dose", best * len(size.doses) * (1 + size.dose_repetitions), size.dose_test, rest),
        asked("the error kept", concepts + 1, size.test, rest),
        asked("a blank page", settings, 1, rest),
        asked("suppression", down * _tries(size, 1, 2), size.suppress_choosing, rest, down),
        asked("suppression", down * _settings(size, 1), size.suppress_test, rest, down),
    ]
    pictures = size.shown_pictures + 1
    shown = pictures * (1 + size.shown * len(size.shown_multiples)) * 2
    return [*found, Prompts("captions for the page", shown, PAGE_WORDS, pictures, alone)]


def _tokens(asking: Asking) -> tuple[int, int]:
    return POCKET_TOKENS if asking.reading == "exact" else PUBLIC_TOKENS


def _tries(size: SteeringSize, concepts: int, strengths: int) -> int:
    """Different tries of so many concepts on the same pictures: their candidates, a random direction for each as often
    as it is repeated, the latents of the random pool, and the SAE in place."""
    own = concepts * size.candidates * (1 + size.repetitions)
    pool = min(RANDOM_LATENTS, concepts * size.candidates * size.repetitions)
    return strengths * (own + pool) + 1


def _settings(size: SteeringSize, concepts: int) -> int:
    """Different settings of so many concepts: the best candidate, the best of each random repetition, the SAE in place;
    a random latent may be the best for several."""
    pool = min(RANDOM_LATENTS * len(size.multiples), concepts * size.repetitions)
    return concepts * (1 + size.repetitions) + pool + 1


@dataclass(frozen=True)
class _Counter:
    asking: Asking

    def __call__(self, part: str, interventions: int, pictures: int, questions: int, benches: int = 1) -> Prompts:
        one, more = _tokens(self.asking)
        if self.asking.reading == "exact":  # one sequence holds all questions, and of the answer the first word is read
            words = one + more * (questions - 1)
            return Prompts(part, interventions * pictures, 0, benches * pictures, words)
        each = interventions * pictures * questions
        return Prompts(part, each, self.asking.max_new_tokens, benches * pictures, one)
