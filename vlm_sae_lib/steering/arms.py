"""The ways of putting a concept into the answers that are held against each other, each with as many tries.

Chosen by what a latent detects, as in the paper, or by what it does; one latent or several, swapped against those of
what the concept replaces; learned through the frozen model; and the rivals that need no dictionary. Every one but the
paper's keeps what the autoencoder misses.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlm_sae_lib.steering.attribution import Attribution
from vlm_sae_lib.steering.diff_mean import Shift
from vlm_sae_lib.steering.experiment import Setting
from vlm_sae_lib.steering.following import Lessons
from vlm_sae_lib.steering.intervention import Sae
from vlm_sae_lib.steering.learned import Change, Direction, LatentChange, Learned, RankOne, learn
from vlm_sae_lib.steering.swaps import Swap, choose_swap
from vlm_sae_lib.steering.sweep import Intervention

PAPER, DETECTS = "latent that detects, error dropped", "latent that detects"
ACTS, SWAP, SWAP_WHERE = "latent that acts", "swap of latents", "swap of latents, where it lives"
LEARNED, DEALT = "learned latents", "learned latents, vectors dealt anew"
DIFF_MEAN, DIRECTION, RANK_ONE = "DiffMean", "learned direction", "learned rank-one edit"
PROMPT, RANDOM = "prompt", "random directions"
OF_LATENTS = (PAPER, DETECTS, ACTS, SWAP, SWAP_WHERE, LEARNED)
WITHOUT = (DIFF_MEAN, DIRECTION, RANK_ONE, PROMPT, DEALT, RANDOM)
ARMS = (*OF_LATENTS, *WITHOUT)
TAUGHT = (LEARNED, DIRECTION, RANK_ONE, DEALT)
"""The arms that are learned by gradients, in equally many steps on the same pictures."""

CANDIDATES, MULTIPLES = 2, (0.75, 1.0, 1.5)
NUMBERS, PARTS = (1, 3), (0.5, 1.0, 1.5)
"""Of a swap: how many latents are switched on (and as many off), and at which part of their largest values."""
SHIFTS = tuple(np.geomspace(2, 14, 6).tolist())
SCALES = (0.6, 0.8, 1.0, 1.2, 1.5, 2.0)
TRIES = 6
PHRASES = (
    "{concept} . {question}",
    "a {concept} . {question}",
    "it is {concept} . {question}",
    "a photo of a {concept} . {question}",
    "{question} {concept}",
    "{question} it is {concept} .",
)
"""Ways of telling a model whose words are the island's alone what it should see. All questions are put so."""


@dataclass(frozen=True, eq=False)
class Means:
    """What is known of a concept before anything is tried."""

    detectors: list[int]
    """The latents of the highest F1, the best first."""
    found: Attribution
    direction: Float[Tensor, " d"]
    """The difference of means."""


@dataclass(frozen=True)
class Lesson:
    """How long every learned edit learns."""

    steps: int = 40
    batch: int = 8
    seed: int = 0


def make_tries(
    concept: tuple[str, str],
    means: Means,
    sae: Sae,
    maximum: Float[np.ndarray, " n_latents"],
    live: Int[np.ndarray, " n_live"],
    taught: Mapping[str, Change],
    seed: int,
) -> list[Setting]:
    """All tries for one concept but those of prompting, ``TRIES`` of each arm.

    maximum, live: of the latents, on the choosing pictures. taught: the learned changes by arm, of :func:`teach`.
    """
    rng, aims, alive = np.random.default_rng(seed), torch.from_numpy(maximum), torch.from_numpy(live)
    tries: list[Setting] = []

    def add(arm: str, intervention: object, multiple: float) -> None:
        tries.append(Setting(arm, *concept, 0, intervention, multiple))  # type: ignore[arg-type]

    acting = alive[means.found.on[alive].topk(CANDIDATES).indices].tolist()
    for place in range(CANDIDATES):
        way = int(rng.integers(2**31))
        for multiple in MULTIPLES:
            for arm, latents in ((PAPER, means.detectors), (DETECTS, means.detectors), (ACTS, acting)):
                k = latents[place]
                add(arm, Intervention(k, multiple * float(maximum[k])), multiple)
            k = means.detectors[place]
            add(RANDOM, Intervention(k, multiple * float(maximum[k]), way), multiple)
    for number in NUMBERS:
        on, off = choose_swap(means.found, alive, number)
        for part in PARTS:
            swap = Swap(sae, on, aims[on], off, part)
            add(SWAP, swap, part)
            add(SWAP_WHERE, replace(swap, where_replaced=True), part)
    for shift in SHIFTS:
        add(DIFF_MEAN, Shift(means.direction, shift), shift)
    for scale in SCALES:
        for arm, change in taught.items():
            add(arm, Learned(change, scale), scale)
    return tries


def teach(lessons: Lessons, sae: Sae, lesson: Lesson) -> tuple[dict[str, Change], dict[str, float]]:
    """The learned changes of a concept by arm, and the loss of each one's last step."""
    dim = lessons.states.shape[-1]
    changes: dict[str, Change] = {
        LEARNED: LatentChange(sae), DIRECTION: Direction(dim), RANK_ONE: RankOne(dim, lesson.seed),
        DEALT: LatentChange(sae, dealt=lesson.seed),
    }  # fmt: skip
    how = {"steps": lesson.steps, "batch": lesson.batch, "seed": lesson.seed}
    return changes, {arm: learn(change, lessons, **how) for arm, change in changes.items()}
