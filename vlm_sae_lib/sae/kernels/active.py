"""The active pairs of sample and latent of a batch, found without sorting all that are not.

``selection.py`` says what is found; the tests compare the two.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vlm_sae_lib.machine.compiled import in_threads
from vlm_sae_lib.sae.kernels import loops
from vlm_sae_lib.sae.kernels.coarse import Coarse

MOST_OF_ALL = 32
"""One pair in so many may be a candidate; with more, the plain product is the quicker way."""


@dataclass
class Active:
    """The active pairs of a batch, in order of sample and then latent: a compressed sparse matrix."""

    bounds: np.ndarray
    """where each sample's pairs begin, and the last one's end (batch + 1,) int64"""
    latents: np.ndarray
    """(pairs,) int64, ascending within a sample"""
    values: Float[Tensor, " pairs"]
    width: int
    """number of all latents"""

    @property
    def samples(self) -> np.ndarray:
        """(pairs,)"""
        return np.repeat(np.arange(len(self.bounds) - 1), np.diff(self.bounds))

    def fired(self) -> Tensor:
        """Which latents fired at all, bool (latents,)."""
        return torch.from_numpy(np.bincount(self.latents, minlength=self.width) > 0)

    def by_latent(self) -> "ByLatent":
        """The same pairs in order of latent and then sample."""
        order, samples = np.empty((2, len(self.latents)), dtype=np.int64)
        starts = np.zeros(self.width + 1, dtype=np.int64)
        loops.sort_by_column(self.bounds, self.latents, order, samples, starts)
        return ByLatent(order, samples, starts)


@dataclass
class ByLatent:
    """The pairs of an ``Active`` in order of latent and then sample."""

    order: np.ndarray
    """where each stood before (pairs,)"""
    samples: np.ndarray
    """(pairs,)"""
    starts: np.ndarray
    """where each latent's pairs begin, and the last one's end (latents + 1,)"""


def above_active(latents: Float[Tensor, "batch latents"], cut: float) -> Active:
    """The pairs whose value exceeds ``cut``."""
    batch, width = latents.shape
    counts = np.empty(batch, dtype=np.int64)
    in_threads(loops.count_above, batch, latents.numpy(), np.float32(cut), counts, reads=latents.numel())
    bounds = np.concatenate([[0], np.cumsum(counts)])
    found, values = np.empty(bounds[-1], dtype=np.int64), np.empty(bounds[-1], dtype=np.float32)
    given = latents.numpy(), np.float32(cut), bounds, found, values
    in_threads(loops.find_above, batch, *given, reads=latents.numel())
    return Active(bounds, found, torch.from_numpy(values), width)


def positive_on_device(latents: Float[Tensor, "batch latents"]) -> Active:
    """The positive pairs of latents that lie on a GPU: these alone leave it."""
    samples, found = latents.nonzero(as_tuple=True)  # none is negative
    bounds = torch.bincount(samples, minlength=len(latents)).cumsum(dim=0).cpu().numpy()
    values = latents[samples, found].cpu()
    return Active(np.concatenate([[0], bounds]), found.cpu().numpy(), values, latents.shape[1])


def batch_top_k_active(pre: Float[Tensor, "batch latents"], k: int, guess: float = 0.0) -> Active:
    """The k·batch largest positive pre-activations, as ``selection.batch_top_k`` keeps them.

    ``guess`` is a value the cut is thought to exceed: only what lies above it is looked at, and where that was too
    hopeful everything positive is. The guess never changes the result.
    """
    count, found = k * pre.shape[0], above_active(pre, guess)
    if guess > 0 and len(found.latents) < count:
        found = above_active(pre, 0.0)
    return _largest(found, count)


def batch_top_k_of_coarse(coarse: Coarse, k: int, guess: float) -> Active | None:
    """The same of single-precision pre-activations known coarsely.

    ``None`` where fewer than k·batch of them reach the guess, which must be positive, or so many might that the plain
    product is the quicker way.
    """
    (batch, width), count = coarse.shape, k * coarse.shape[0]
    candidates = coarse.at_least(guess, max(2 * count, batch * width // MOST_OF_ALL))
    if candidates is None or np.count_nonzero(candidates[2] >= guess) < count:
        return None
    bounds, latents, exact = candidates
    return _largest(Active(bounds, latents, torch.from_numpy(exact), width), count)


def above_of_coarse(coarse: Coarse, threshold: float) -> Active | None:
    """What lies above a threshold of at least zero, as ``selection.above`` keeps it; ``None`` as above."""
    batch, width = coarse.shape
    candidates = coarse.at_least(threshold, batch * width // MOST_OF_ALL)
    if candidates is None:
        return None
    bounds, latents, exact = candidates
    reached = exact > threshold
    before = np.concatenate([[0], np.cumsum(reached)])
    return Active(before[bounds], latents[reached], torch.from_numpy(exact[reached]), width)


def _largest(found: Active, count: int) -> Active:
    """The ``count`` largest positive ones; of equal ones at the cut the first stay."""
    values, bounds = found.values.numpy(), np.empty_like(found.bounds)
    latents, kept = np.empty(min(count, len(values)), dtype=np.int64), np.empty(min(count, len(values)), np.float32)
    taken = loops.largest_of_all(found.bounds, found.latents, values, count, bounds, latents, kept)
    return Active(bounds, latents[:taken], torch.from_numpy(kept[:taken]), found.width)


def per_sample_top_k_active(pre: Float[Tensor, "batch latents"], k: int) -> Active:
    """The k largest positive pre-activations of each sample; of equal ones at the cut the first latents stay."""
    batch, width = pre.shape
    latents, kept = np.empty((batch, min(k, width)), dtype=np.int64), np.empty((batch, min(k, width)), np.float32)
    counts = np.empty(batch, dtype=np.int64)
    in_threads(loops.largest_of_rows, batch, pre.numpy(), k, latents, kept, counts)
    taken = np.arange(latents.shape[1]) < counts[:, None]
    bounds = np.concatenate([[0], np.cumsum(counts)])
    return Active(bounds, latents[taken], torch.from_numpy(kept[taken]), width)
