"""Codes that mean nothing, to hold a score against: dealt out at random, of random directions, the same for all."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float

from vlm_sae_lib.statistics.inputs import activation_matrix, unit_embeddings

DIRECTIONS = 512  # random directions whose dense values are held at once


def mean_cosine(embeddings: Any) -> float:
    """Mean cosine over all pairs of different pictures: the MS of a neuron that treats all pictures alike."""
    n = len(embeddings)
    if n < 2:
        return float("nan")
    total = unit_embeddings(embeddings, n).sum(axis=0)
    return float((total @ total - n) / (n * (n - 1)))


def shuffled_code(latents: Any, seed: int = 0) -> sp.csr_matrix:
    """Every latent's activations dealt to pictures at random, each latent on its own: a code of the same firing rates
    and values that means nothing."""
    columns = sp.csc_matrix(activation_matrix(latents)).copy()
    rng = np.random.default_rng(seed)
    for start, end in zip(columns.indptr[:-1], columns.indptr[1:], strict=True):
        columns.indices[start:end] = rng.choice(columns.shape[0], end - start, replace=False)
    columns.has_sorted_indices = False
    columns.sort_indices()
    return columns.tocsr()


def random_directions(activations: Float[np.ndarray, "n d"], latents: Any, seed: int = 0) -> sp.csr_matrix:
    """A dictionary nobody learned: for each latent a random direction, cut to the latent's firing rate.

    It reads the same centred activations as the SAE and is exactly as sparse (where fewer pictures than that lie on the
    positive side, the negative ones stay silent), so that what the SAE has beyond it is owed to learning.
    """
    rows = np.asarray(activations, dtype=np.float64)
    counts = sp.csc_matrix(activation_matrix(latents)).getnnz(axis=0)
    directions = np.random.default_rng(seed).standard_normal((rows.shape[1], len(counts)))
    centred, blocks = rows - rows.mean(axis=0), []
    for start in range(0, len(counts), DIRECTIONS):
        values = centred @ directions[:, start : start + DIRECTIONS]
        places = np.argsort(np.argsort(-values, axis=0, kind="stable"), axis=0, kind="stable")
        kept = places < counts[start : start + DIRECTIONS]
        blocks.append(sp.csc_matrix(np.where(kept, np.maximum(values, 0), 0)))
    return sp.hstack(blocks, format="csr") if blocks else sp.csr_matrix((len(rows), 0))
