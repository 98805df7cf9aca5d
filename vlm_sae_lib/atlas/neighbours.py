"""The latents nearest to each: by the direction that they write, and by the pictures on which they fire."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from vlm_sae_lib.progress import progress

BLOCK = 512  # latents whose likeness to all others is held at once


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest latents of each, nearest first; -1 and 0 where there is none."""

    latents: Int[np.ndarray, "n_latents k"]
    likeness: Float[np.ndarray, "n_latents k"]


def by_decoder(decoder: Float[np.ndarray, "n_latents d"], k: int) -> Neighbours:
    """By the cosine of decoder rows. A row of length zero is like none."""
    rows = np.asarray(decoder, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    found = _Table(len(rows), k)
    for start in progress(range(0, len(rows), BLOCK), "decoder neighbours", unit="block"):
        cosines = unit[start : start + BLOCK] @ unit.T
        own = np.arange(len(cosines))
        cosines[own, start + own] = -np.inf
        cosines[lengths[start : start + BLOCK, 0] == 0] = -np.inf
        cosines[:, lengths[:, 0] == 0] = -np.inf
        kept = np.argpartition(-cosines, min(k, len(rows) - 1), axis=1)[:, :k]
        found.add(np.repeat(start + own, kept.shape[1]), kept.ravel(), np.take_along_axis(cosines, kept, 1).ravel())
    return found.neighbours()


def by_firing(activations: sp.csr_matrix, k: int) -> Neighbours:
    """By Jaccard: of the pictures on which one of two latents fires, the share on which both do.

    Only pairs that fire together at all are ever held, a block of latents at a time.
    """
    fires = sp.csc_matrix((activations > 0).astype(np.float32))
    counts = np.diff(fires.indptr)
    rows, found = fires.tocsr(), _Table(fires.shape[1], k)
    for start in progress(range(0, fires.shape[1], BLOCK), "co-firing neighbours", unit="block"):
        both = (fires[:, start : start + BLOCK].T @ rows).tocoo()
        latent, other = both.row + start, both.col
        apart = latent != other
        latent, other, both_fire = latent[apart], other[apart], both.data[apart].astype(np.float64)
        found.add(latent, other, both_fire / (counts[latent] + counts[other] - both_fire))
    return found.neighbours()


class _Table:
    """Keeps the k best of what is offered for each latent; a latent's offers come all at once."""

    def __init__(self, n_latents: int, k: int) -> None:
        self.latents, self.likeness = np.full((n_latents, k), -1), np.zeros((n_latents, k))

    def add(self, latent: np.ndarray, other: np.ndarray, likeness: np.ndarray) -> None:
        there = np.isfinite(likeness)
        latent, other, likeness = latent[there], other[there], likeness[there]
        order = np.lexsort((other, -likeness, latent))
        latent, other, likeness = latent[order], other[order], likeness[order]
        starts = np.flatnonzero(np.append(True, latent[1:] != latent[:-1])) if len(latent) else np.empty(0, int)
        place = np.arange(len(latent)) - np.repeat(starts, np.diff(np.append(starts, len(latent))))
        kept = place < self.latents.shape[1]
        self.latents[latent[kept], place[kept]] = other[kept]
        self.likeness[latent[kept], place[kept]] = likeness[kept]

    def neighbours(self) -> Neighbours:
        return Neighbours(self.latents, self.likeness)
