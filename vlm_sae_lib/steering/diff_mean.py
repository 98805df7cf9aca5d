"""Difference of means: steering without a dictionary, by the direction between pictures with a concept and without.

    d = mean of the states of pictures that show the concept − mean of those that do not         (paper §4.3, DiffMean)

The direction is added to every token of the block that the projector reads, or the states are moved along it to where
pictures without the concept lie. Both are functions of the states alone: they stand in a ``SteeringBench`` beside
latents, and ``with vlm.edited(what.edit)`` puts them into the model itself.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlm_sae_lib.errors import UserError


@dataclass(frozen=True)
class Contrast:
    """Two means, in float32. ``direction`` leads from pictures without the concept to pictures that show it."""

    shown: Float[Tensor, " d"]
    absent: Float[Tensor, " d"]

    @property
    def direction(self) -> Float[Tensor, " d"]:
        return self.shown - self.absent


@dataclass(frozen=True, eq=False)
class Shift:
    """x + strength · direction on every token: inserts for positive strengths, suppresses for negative ones."""

    direction: Float[Tensor, " d"]
    strength: float
    latent: None = None

    def edit(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        return x if self.strength == 0 else x + self.strength * self.direction.to(x)


@dataclass(frozen=True, eq=False)
class Erasure:
    """x − strength · ((x − absent) · u) u: at 1 no token differs from the mean without the concept along u any more.

    u is the unit vector of the contrast's direction.
    """

    contrast: Contrast
    strength: float
    latent: None = None

    def edit(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        if self.strength == 0:
            return x
        unit = (self.contrast.direction / self.contrast.direction.norm()).to(x)
        along = (x - self.contrast.absent.to(x)) @ unit
        return x - self.strength * along[..., None] * unit


def contrast(states: Float[np.ndarray, "n d"], shows: Bool[np.ndarray, " n"]) -> Contrast:
    """The two means over rows of states (tokens of pictures); ``shows`` says of each row whether its picture does.

    Raises: UserError when one of the sides is empty, or the means are the same.
    """
    if not shows.any() or shows.all():
        raise UserError("a difference of means needs pictures that show the concept, and pictures that do not")
    shown, absent = (torch.from_numpy(states[side].mean(0, dtype=np.float64)).float() for side in (shows, ~shows))
    if not float((shown - absent).norm()) > 0:
        raise UserError("the pictures with the concept have the same mean as those without: there is no direction")
    return Contrast(shown, absent)
