"""The active pairs of sample and latent of a batch, found without sorting all that are not.

``selection.py`` says what is found; the tests compare the two.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vlm_sae_lib.compiled import in_threads
from vlm_sae_lib.sae import loops
from vlm_sae_lib.sae.coarse import Coarse

MOST_OF_ALL = 32
"""One pair in so many may be a candidate; with more, the plain product is the quicker way."""


@dataclass
class Active:
    """The active pairs of a batch, in order of sample and then latent."""

    flat: np.ndarray
    """sample · F + latent, ascending (pairs,) int64"""
    values: Float[Tensor, "pairs"]
    shape: tuple[int, int]
    """(batch, latents)"""

    @property
    def latents(self) -> np.ndarray:
        return self.flat % self.shape[1]

    @property
    def samples(self) -> np.ndarray:
        return self.flat // self.shape[1]

    def fired(self) -> Tensor:
        """Which latents fired at all, bool (latents,)."""
        return torch.from_numpy(np.bincount(self.latents, minlength=self.shape[1]) > 0)


def batch_top_k_active(pre: Float[Tensor, "batch latents"], k: int, guess: float = 0.0) -> Active:
    """The k·batch largest positive pre-activations, as ``selection.batch_top_k`` keeps them.

    ``guess`` is a value the cut is thought to exceed: only what lies above it is looked at, and where that was too
    hopeful everything positive is. The guess never changes the result.
    """
    flat, count = pre.numpy().ravel(), k * pre.shape[0]
    found = np.flatnonzero(flat > guess)
    if guess > 0 and len(found) < count:
        found = np.flatnonzero(flat > 0)
    return _largest(found, flat[found], count, tuple(pre.shape))


def batch_top_k_of_coarse(coarse: Coarse, k: int, guess: float) -> Active | None:
    """The same of single-precision pre-activations known coarsely.

    ``None`` where fewer than k·batch of them reach the guess, which must be positive, or so many might that the plain
    product is the quicker way.
    """
    count = k * coarse.shape[0]
    candidates = coarse.at_least(guess, max(2 * count, coarse.shape[0] * coarse.shape[1] // MOST_OF_ALL))
    if candidates is None:
        return None
    flat, exact = candidates
    reached = np.flatnonzero(exact >= guess)
    return _largest(flat[reached], exact[reached], count, coarse.shape) if len(reached) >= count else None


def above_of_coarse(coarse: Coarse, threshold: float) -> Active | None:
    """What lies above a threshold of at least zero, as ``selection.above`` keeps it; ``None`` as above."""
    candidates = coarse.at_least(threshold, coarse.shape[0] * coarse.shape[1] // MOST_OF_ALL)
    if candidates is None:
        return None
    flat, exact = candidates
    reached = np.flatnonzero(exact > threshold)
    return Active(flat[reached], torch.from_numpy(exact[reached]), coarse.shape)


def _largest(flat: np.ndarray, values: np.ndarray, count: int, shape: tuple[int, int]) -> Active:
    """The ``count`` largest; of equal ones at the cut the first stay."""
    if len(flat) > count:
        cut = np.partition(values, len(flat) - count)[len(flat) - count]
        keep = values > cut
        keep[np.flatnonzero(values == cut)[: count - int(keep.sum())]] = True
        flat, values = flat[keep], values[keep]
    return Active(flat, torch.from_numpy(values), shape)


def per_sample_top_k_active(pre: Float[Tensor, "batch latents"], k: int) -> Active:
    """The k largest positive pre-activations of each sample; of equal ones at the cut the first latents stay."""
    batch, width = pre.shape
    latents, kept = np.empty((batch, min(k, width)), dtype=np.int64), np.empty((batch, min(k, width)), np.float32)
    counts = np.empty(batch, dtype=np.int64)
    in_threads(loops.largest_of_rows, batch, pre.numpy(), k, latents, kept, counts)
    taken = np.arange(latents.shape[1]) < counts[:, None]
    flat = latents[taken] + np.repeat(np.arange(batch) * width, counts)
    return Active(flat, torch.from_numpy(kept[taken]), (batch, width))
