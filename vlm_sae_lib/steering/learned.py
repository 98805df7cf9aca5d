"""Edits that are learned through the frozen model: of the latents, along one direction, or of rank one.

All learn the same lessons, in as many steps on as many pictures: say the concept, and to every other question what you
would have said. Only where they can act differs:

    latents:    x' = x + decode(keep · z + add) − decode(z),   keep, add ≥ 0, one number each for each latent
    direction:  x' = x + v
    rank one:   x' = x + w (a·x + b − w·x),   ‖w‖ = 1                  (LoReFT of rank one, arXiv 2404.03592)
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from vlm_sae_lib.steering.following import Lessons
from vlm_sae_lib.steering.intervention import Sae, decoder_vectors, for_sae


class Change(nn.Module):
    """What is added to states, ``(*batch d)`` to the same; its parameters are learned with Adam at ``rate``.

    Of two or three rates that were tried for each kind on a few concepts' choosing pictures, ``rate`` is the best.
    """

    rate: float


@dataclass(frozen=True, eq=False)
class Learned:
    """A change of the states times a strength, as an edit of a ``SteeringBench``; at strength 1 as it was learned."""

    change: Change
    strength: float = 1.0
    latent: None = None

    @torch.no_grad()
    def edit(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        return x + (self.strength * self.change(x)).to(x)


class LatentChange(Change):
    """Every latent scaled by ``keep`` and raised by ``add``, on every token; what the SAE misses stays.

    among: the latents that may change; all unless told.
    dealt: a seed by which the latents' vectors are dealt out to other latents: the control, a change of as many
        numbers that fire as often, of a dictionary in which what fires is not what is added.
    """

    rate = 0.03
    UNIT = 3.0
    """Latents fire at some ten; a parameter that Adam moves by ``rate`` stands for so much of ``add``."""

    def __init__(self, sae: Sae, among: Int[Tensor, " k"] | None = None, dealt: int | None = None):
        super().__init__()
        self.sae, self.among = sae, torch.arange(sae.n_latents) if among is None else among
        vectors = decoder_vectors(sae, self.among.tolist())
        if dealt is not None:
            vectors = vectors[torch.randperm(len(vectors), generator=torch.Generator().manual_seed(dealt))]
        self.vectors: Float[Tensor, "k d"] = vectors
        self.raised = nn.Parameter(torch.full((len(self.among),), 0.02))
        self.kept = nn.Parameter(torch.ones(len(self.among)))

    @property
    def add(self) -> Float[Tensor, " k"]:
        return self.UNIT * self.raised.clamp_min(0)

    @property
    def keep(self) -> Float[Tensor, " k"]:
        return self.kept.clamp_min(0)

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        with torch.no_grad():
            z = self.sae.encode(for_sae(self.sae, x))[..., self.among]
        return (z * (self.keep - 1) + self.add) @ self.vectors


class Direction(Change):
    """One vector for every token of every picture."""

    rate = 0.5

    def __init__(self, dim: int):
        super().__init__()
        self.vector = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        return self.vector.expand_as(x)


class RankOne(Change):
    """What lies along one direction is replaced by an affine function of the token."""

    rate = 0.1
    UNIT = 20.0
    """About the length of a token's state."""

    def __init__(self, dim: int, seed: int):
        super().__init__()
        start = normalize(torch.randn(dim, generator=torch.Generator().manual_seed(seed)), dim=0)
        self.along, self.read = nn.Parameter(start.clone()), nn.Parameter(start.clone())
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        unit = normalize(self.along, dim=0)
        return (x @ self.read + self.UNIT * self.offset - x @ unit)[..., None] * unit


def learn(change: Change, lessons: Lessons, *, steps: int, batch: int, seed: int) -> float:
    """Learn a change in place; the loss of the last step, natural logarithms summed over the questions.

    Adam, its rate falling to a tenth. Pictures are drawn anew for each step, by the seed.
    """
    optimizer = torch.optim.Adam(change.parameters(), lr=change.rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, steps)
    rng, wanted, loss = np.random.default_rng(seed), lessons.wanted, torch.zeros(())
    for _ in range(steps):
        drawn = torch.from_numpy(rng.choice(len(wanted), min(batch, len(wanted)), replace=False))
        states = lessons.states[drawn]
        scores = lessons.follow.scores(states + change(states))
        loss = cross_entropy(scores.flatten(0, 1), wanted[drawn].flatten()) * wanted.shape[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return float(loss.detach())
