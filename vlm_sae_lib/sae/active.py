"""The active pairs of sample and latent of a batch, found without sorting all that are not.

``selection.py`` says what is found; the tests compare the two.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


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
    values = flat[found]
    if len(found) > count:
        cut = np.partition(values, len(found) - count)[len(found) - count]
        keep = values > cut
        keep[np.flatnonzero(values == cut)[: count - int(keep.sum())]] = True
        found, values = found[keep], values[keep]
    return Active(found, torch.from_numpy(values), tuple(pre.shape))


def per_sample_top_k_active(pre: Float[Tensor, "batch latents"], k: int) -> Active:
    """The k largest positive pre-activations of each sample; of equal ones at the cut the first latents stay."""
    batch, width = pre.shape
    flat = np.flatnonzero((pre > 0 if k >= width else pre >= _below_the_cut(pre, k)).numpy())
    kept = pre.numpy().ravel()[flat]
    samples = flat // width
    starts = np.searchsorted(samples, np.arange(batch + 1))
    counts = np.diff(starts)
    if (most := int(counts.max(initial=0))) > k:
        few = np.full((batch, most), -np.inf, dtype=np.float32)
        few[samples, np.arange(len(flat)) - starts[samples]] = kept
        cut = np.partition(few, most - k, axis=1)[:, most - k]
        order = np.flatnonzero(kept >= cut[samples])
        flat, kept, samples = flat[order], kept[order], samples[order]
        if len(flat) > np.minimum(counts, k).sum():
            order = np.lexsort((flat, -kept, samples))
            rank = np.arange(len(flat)) - np.searchsorted(samples, samples)
            keep = np.zeros(len(flat), dtype=bool)
            keep[order] = rank < k
            flat, kept = flat[keep], kept[keep]
    return Active(flat, torch.from_numpy(kept), (batch, width))


def _below_the_cut(pre: Float[Tensor, "batch latents"], k: int) -> Float[Tensor, "batch 1"]:
    """For each sample a positive bound that its k largest positive values reach and few others do.

    Of latents in groups of eight, the k-th largest group maximum: k latents, one in each of k groups, reach it.
    """
    batch, width = pre.shape
    groups = width // GROUP
    maxima = pre
    if groups > k:
        maxima = pre[:, : groups * GROUP].view(batch, GROUP, groups).amax(dim=1)
    found = maxima.numpy()
    bound = np.partition(found, found.shape[1] - k, axis=1)[:, found.shape[1] - k, None]
    return torch.from_numpy(np.maximum(bound, np.finfo(np.float32).tiny))


GROUP = 8
"""Latents whose maximum stands for them all where the k largest are looked for."""
