"""How many latents do anything to the answers, and what foretells it: what they detect, or what they are to do.

Each live latent is overwritten with its largest value on a few pictures, and every question is asked. Each has a random
direction beside it that moves every token exactly as far.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image
from scipy.stats import spearmanr

from vlm_sae_lib.steering.intervention import Sae
from vlm_sae_lib.steering.sweep import UNSTEERED, Intervention, SteeringBench
from vlm_sae_lib.vlms.vlm import Vlm


@dataclass(frozen=True, eq=False)
class Acting:
    """What is said under every latent's overwriting, under the random direction beside it, and without."""

    abouts: tuple[str, ...]
    latents: np.ndarray
    """(n_live, pictures, questions), words; so is ``directions``."""
    directions: np.ndarray
    unsteered: np.ndarray
    """(pictures, questions)."""

    def named(self, about: str, concept: str) -> Float[np.ndarray, " n_live"]:
        """The share of the pictures, of those on which it was not named anyway, on which each latent has it named."""
        place = self.abouts.index(about)
        lacking = self.unsteered[:, place] != concept
        return (self.latents[:, lacking, place] == concept).mean(1)


def ask_under_each(
    vlm: Vlm,
    sae: Sae,
    images: Sequence[Image.Image],
    questions: Mapping[str, str],
    live: Int[np.ndarray, " n_live"],
    maximum: Float[np.ndarray, " n_latents"],
    seed: int,
) -> Acting:
    """Ask the questions, by what they ask about, under each live latent; what the SAE misses stays."""
    bench = SteeringBench(vlm, sae, images, keep_error=True, description="latents that act")
    ways = np.random.default_rng(seed).integers(2**31, size=len(live)).tolist()
    pushes = [
        [Intervention(int(k), float(maximum[k]), way) for k, way in zip(live, along, strict=True)]
        for along in ([None] * len(live), ways)
    ]
    latents, directions, nothing = (
        bench.answers(what, list(questions.values())) for what in (*pushes, [UNSTEERED])
    )
    return Acting(tuple(questions), latents, directions, nothing[0])


def steers(
    answers: Float[np.ndarray, "n pictures questions"], before: np.ndarray, share: float
) -> Bool[np.ndarray, " n"]:
    """Whether one and the same new word answers some question on at least this share of the pictures."""
    new = [
        max(
            np.unique(own[own[:, q] != before[:, q], q].astype(str), return_counts=True)[1].max(initial=0)
            for q in range(before.shape[1])
        )
        for own in answers
    ]
    return np.array(new) >= share * len(before)


def foretold(
    scores: Mapping[str, Float[np.ndarray, " n_live"]], named: Float[np.ndarray, " n_live"]
) -> dict[str, float]:
    """The rank correlation over latents of each score with how often they have the concept named.

    NaN where no latent does, or all do as often.
    """
    if np.ptp(named) == 0:
        return dict.fromkeys(scores, float("nan"))
    return {name: float(spearmanr(values, named).statistic) for name, values in scores.items()}
