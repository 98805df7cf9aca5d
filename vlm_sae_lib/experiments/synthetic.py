"""Synthetic activations: sums of known directions, as SynthSAEBench has them (arXiv 2602.14687), in a tower's space.

Of 512 features each has a unit direction, how often it fires (Zipf-like), and how strongly. Which fire together is
decided by a Gaussian copula of low rank. Two in three features stand in trees: a child can fire only where its parent
does, and of siblings at most one does. The sums are moved and scaled to the mean and the variance of a tower's
activations, so that an autoencoder meets what it meets there: a centre that is not zero.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import norm

FEATURES, TREES, CHILDREN, IN_TREE = 512, 16, 4, 21
"""In each tree a root, its four children, and four of each of these."""
MOST, EXPONENT = 0.4, 0.5
"""The feature of rank i (from 1) is asked to fire on a share ``MOST / i ** EXPONENT`` of the rows."""
RANK, LOADING, SHARED_AT_MOST = 8, 0.2, 0.9
"""Of the copula: common factors, the standard deviation of a feature's loading on each, and its shared variance."""
STRONGEST, WEAKEST, SPREAD = 5.0, 4.0, 0.5
"""Mean magnitude of the most frequent feature and of the rarest; of the folded normal that spreads come from."""
CALIBRATION = 4000
"""Rows from which the mean and the variance of the sums are taken."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows of synthetic activations and the features that fire in each."""

    activations: Float[np.ndarray, "n d"]
    fires: Bool[np.ndarray, "n features"]


@dataclass(frozen=True, eq=False)
class World:
    """Known features, the most frequent first; every sample of one world has the same directions.

    Attributes:
        directions: unit rows.
        parent: of each feature, -1 for roots and for those in no tree.
        chance: that a feature fires, for one with a parent: that it does where the parent does.
        loadings: on the common factors.
        magnitude, spread: mean and standard deviation of how strongly it fires.
        centre, scale: activations are ``centre + scale * sum of magnitudes times directions``.
    """

    directions: Float[np.ndarray, "features d"]
    parent: Int[np.ndarray, " features"]
    chance: Float[np.ndarray, " features"]
    loadings: Float[np.ndarray, "features factors"]
    magnitude: Float[np.ndarray, " features"]
    spread: Float[np.ndarray, " features"]
    centre: Float[np.ndarray, " d"]
    scale: float

    @classmethod
    def draw(cls, like: Float[np.ndarray, "n d"], seed: int) -> "World":
        """A world whose activations have the width, the mean and the total variance of the rows ``like``."""
        rng = np.random.default_rng((seed, 0))
        directions = rng.standard_normal((FEATURES, like.shape[1]))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        parent = np.full(FEATURES, -1)
        for tree in rng.permutation(FEATURES)[: TREES * IN_TREE].reshape(TREES, IN_TREE):
            members = np.sort(tree)  # a parent is more frequent than its children
            parent[members[1:]] = members[(np.arange(1, IN_TREE) - 1) // CHILDREN]
        rates = MOST / np.arange(1, FEATURES + 1) ** EXPONENT
        loadings = LOADING * rng.standard_normal((FEATURES, RANK))
        shared = (loadings**2).sum(axis=1, keepdims=True)
        world = cls(
            directions=directions,
            parent=parent,
            chance=np.where(parent < 0, rates, rates / rates[parent]),
            loadings=loadings * np.sqrt(np.minimum(1, SHARED_AT_MOST / shared)),
            magnitude=np.linspace(STRONGEST, WEAKEST, FEATURES),
            spread=np.abs(rng.normal(SPREAD, SPREAD, FEATURES)),
            centre=np.zeros(like.shape[1]),
            scale=1.0,
        )
        made = world.sample(CALIBRATION, 0).activations
        scale = float(np.sqrt(like.var(axis=0).sum() / made.var(axis=0).sum()))
        return cls(**{**vars(world), "scale": scale, "centre": like.mean(axis=0) - scale * made.mean(axis=0)})

    def sample(self, n: int, seed: int) -> Sample:
        """So many rows; other seeds give other rows of the same world."""
        rng = np.random.default_rng((seed, 1))
        features = len(self.parent)
        alone = np.sqrt(1 - (self.loadings**2).sum(axis=1))
        common = rng.standard_normal((n, self.loadings.shape[1])) @ self.loadings.T
        fires = common + alone * rng.standard_normal((n, features)) > norm.isf(self.chance)
        for siblings in self._families():
            fires[:, siblings] = _one_at_most(fires[:, siblings] & fires[:, self.parent[siblings[:1]]], rng)
        strength = self.magnitude + self.spread * rng.standard_normal((n, features))
        values = np.where(fires, np.maximum(strength, 0), 0)
        return Sample(self.centre + self.scale * (values @ self.directions), values > 0)

    def _families(self) -> list[Int[np.ndarray, " siblings"]]:
        """The children of each parent, parents before their own children, as a child is rarer than its parent."""
        return [np.flatnonzero(self.parent == one) for one in np.unique(self.parent[self.parent >= 0])]


def _one_at_most(fires: Bool[np.ndarray, "n siblings"], rng: np.random.Generator) -> Bool[np.ndarray, "n siblings"]:
    """Of those that would fire together one, by chance."""
    drawn = np.where(fires, rng.random(fires.shape), -1)
    return fires & (drawn == drawn.max(axis=1, keepdims=True))
