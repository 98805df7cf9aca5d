"""Activations with a known cause: a sparse sum of more true features than the autoencoder has latents, and noise."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch


@dataclass(frozen=True)
class World:
    """What the activations are made of.

    Attributes:
        dim, features: width of the activations, number of true directions.
        active: features that are present in a sample, on average.
        exponent: how fast frequencies fall, as rank^-exponent; the rarest features are what no latent is left for.
        noise: share of the variance that no feature explains.
        offset: length of the mean, in units of the features' root mean square.
    """

    dim: int = 256
    features: int = 6_144
    active: float = 24
    exponent: float = 1.8
    noise: float = 0.02
    offset: float = 1.0


def activations(world: World, samples: int, seed: int) -> torch.Tensor:
    """``(samples, dim)``; directions, frequencies and offset are the same for every ``seed``."""
    fixed = np.random.default_rng(0)
    directions = fixed.normal(size=(world.features, world.dim)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    offset = fixed.normal(size=world.dim).astype(np.float32)
    offset *= world.offset / np.linalg.norm(offset)
    rates = np.arange(1, world.features + 1) ** -world.exponent
    chance = np.cumsum(rates) / rates.sum()

    rng = np.random.default_rng((1, seed))
    counts = rng.poisson(world.active, size=samples)
    which = np.searchsorted(chance, rng.random(counts.sum()))
    strengths = rng.exponential(size=len(which)).astype(np.float32) + 0.2
    code = sp.csr_matrix((strengths, which, np.concatenate([[0], np.cumsum(counts)])), (samples, world.features))
    x = code @ directions
    size = np.sqrt(np.einsum("nd,nd->", x, x, dtype=np.float64) / samples)
    x += rng.normal(scale=size * np.sqrt(world.noise / world.dim), size=x.shape).astype(np.float32)
    x += np.float32(size) * offset
    return torch.from_numpy(x)
