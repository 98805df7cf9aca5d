"""Codes that mean nothing, to hold a score against: dealt out at random, of random directions, the same for all."""

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int

from vlm_sae_lib.arrays import finite_rows
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.statistics.inputs import activation_matrix, unit_embeddings

DIRECTIONS = 512  # random directions whose dense values are held at once


def mean_cosine(embeddings: Any) -> float:
    """Mean cosine over all pairs of different pictures: the MS of a neuron that treats all pictures alike."""
    rows = finite_rows(embeddings, "The embeddings")
    n = len(rows)
    if n < 2:
        return float("nan")
    total = unit_embeddings(rows, n).sum(axis=0)
    return float((total @ total - n) / (n * (n - 1)))


def shuffled_code(latents: Any, seed: int = 0) -> sp.csr_matrix:
    """Every latent's activations dealt to pictures at random, each latent on its own: a code of the same firing rates
    and values that means nothing."""
    columns = sp.csc_matrix(activation_matrix(latents)).copy()
    columns.eliminate_zeros()  # what is stored and zero fires no more than what is not stored
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
    rows = finite_rows(activations)
    code = activation_matrix(latents)
    if code.shape[0] != len(rows):
        raise UserError(f"There are {code.shape[0]} rows of latents but {len(rows)} of activations; give both alike.")
    counts = np.asarray((code != 0).sum(axis=0)).ravel()
    directions = np.random.default_rng(seed).standard_normal((rows.shape[1], len(counts)))
    centred, blocks = rows - rows.mean(axis=0), []
    for start in range(0, len(counts), DIRECTIONS):
        values = centred @ directions[:, start : start + DIRECTIONS]
        blocks.append(_largest(values, counts[start : start + DIRECTIONS]))
    return sp.hstack(blocks, format="csr") if blocks else sp.csr_matrix((len(rows), 0))


def before_the_cut(coder: Any, activations: Any) -> Float[np.ndarray, "n n_neurons"]:
    """What a dictionary's directions give before a threshold silences the weak ones: its positive values.

    Args:
        coder: an SAE, or `Directions`, or `RectifiedNeurons`.
        activations: (n, d) rows.
    """
    if isinstance(coder, SparseAutoencoder):
        rows = torch.from_numpy(finite_rows(activations).astype(np.float32))
        return torch.relu(coder.pre_activations(rows)).detach().cpu().numpy()
    return replace(coder, threshold=0.0).encode(activations)


def at_rates(
    values: Float[np.ndarray, "n n_neurons"], fires: Int[np.ndarray, " n_latents"]
) -> sp.csr_matrix:
    """Cut each direction to the firing rate that the latent of the same rank has, the busiest to the busiest.

    A direction's rank is how often it would fire under one cut for all that leaves as many values in sum; of equal ones
    the one with the larger maximum comes first. Fewer directions than latents take ranks at even distances, from the
    busiest latent to the rarest. Where fewer pictures than that lie above zero, the others stay silent.

    Args:
        values: before any cut; none below zero fires.
        fires: on how many of the n pictures each latent fires.

    Raises:
        UserError: no latent whose rate could be taken, or one that fires on more pictures than there are.
    """
    (n, m), rates = values.shape, np.sort(np.asarray(fires))[::-1]
    if not len(rates) or rates[0] > n:
        raise UserError(f"Firing rates of latents are needed, on at most these {n} pictures; got {len(rates)} of them.")
    wanted = rates[np.linspace(0, len(rates) - 1, m).round().astype(int)]
    positive = np.maximum(values, 0)
    kept = int(wanted.sum())
    cut = np.partition(positive, positive.size - kept - 1, axis=None)[-kept - 1] if kept < positive.size else 0.0
    busy = np.count_nonzero(positive > cut, axis=0)
    counts = np.empty(m, dtype=np.int64)
    counts[np.lexsort((-positive.max(axis=0, initial=0), -busy))] = wanted
    return _largest(positive, counts).tocsr()


def _largest(values: Float[np.ndarray, "n f"], counts: Int[np.ndarray, " f"]) -> sp.csc_matrix:
    """Of each column the so many largest values, as far as they are positive; of equal ones the first."""
    places = np.argsort(np.argsort(-values, axis=0, kind="stable"), axis=0, kind="stable")
    return sp.csc_matrix(np.where(places < counts, np.maximum(values, 0), 0))
