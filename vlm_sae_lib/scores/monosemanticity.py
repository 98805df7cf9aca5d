"""The MonoSemanticity score, and how far it would move with other pictures."""

from typing import Any

import numpy as np
from jaxtyping import Float

from vlm_sae_lib.overrides import Count, Seed, held
from vlm_sae_lib.progress import progress
from vlm_sae_lib.statistics.inputs import activation_matrix, checked_embeddings, unit_embeddings
from vlm_sae_lib.statistics.pairs import mean_cosines, weight_blocks, weighted_cosine


def monosemanticity_score(activations: Any, embeddings: Any) -> Float[np.ndarray, " n_neurons"]:
    """How similar the pictures are that a neuron fires for (paper v3 Eq. 5-9).

    The mean cosine of the embeddings over all pairs of different images, weighted by the product of the neuron's
    min-max normalised activations on the two. Sums are float64 and linear in the number of images.

    Args:
        activations: (n_images, n_neurons): array, tensor, torch sparse or scipy sparse. The zeros that a sparse matrix
            does not store are activations, and count for the minimum.
        embeddings: (n_images, dim) from the scoring encoder, of any length; not centred.

    Returns:
        (n_neurons,) float64 in [-1, 1]; NaN where fewer than two pictures lie above the neuron's minimum.

    Raises:
        UserError: shapes that do not fit, NaN, or an embedding of length zero.
    """
    matrix = activation_matrix(activations)
    return mean_cosines(matrix, checked_embeddings(embeddings, matrix.shape[0]))


def ms_bootstrap(
    activations: Any, embeddings: Any, n_resamples: int = 1000, seed: int = 0, *, per_neuron: bool = False
) -> Float[np.ndarray, " n_resamples"] | Float[np.ndarray, "n_resamples n_neurons"]:
    """MS on resamples of the pictures, for an interval of the mean over neurons.

    Pictures are drawn with replacement, the same draw for all neurons. A picture drawn c times weighs c a, and is never
    paired with its own copies; the minimum stays that of the full set. Neurons with fewer than two different pictures
    above their minimum in a draw are NaN in it, and do not enter its mean.

    Args:
        activations, embeddings: as in `monosemanticity_score`.
        per_neuron: give the scores themselves instead of their mean over defined neurons.

    Returns:
        (n_resamples,), or (n_resamples, n_neurons) with ``per_neuron``; the same for the same seed.
    """
    n_resamples, seed = held("n_resamples", n_resamples, Count), held("seed", seed, Seed)
    matrix = activation_matrix(activations)
    n_images, n_neurons = matrix.shape
    unit = unit_embeddings(embeddings, n_images)
    rng = np.random.default_rng(seed)
    drawn = np.zeros((n_resamples, n_images), dtype=np.uint16)
    for row in drawn if n_images else ():
        row += np.bincount(rng.integers(n_images, size=n_images), minlength=n_images).astype(np.uint16)
    scores = np.full((n_resamples, n_neurons), np.nan) if per_neuron else None
    total, defined = np.zeros(n_resamples), np.zeros(n_resamples, dtype=np.int64)
    blocks = weight_blocks(matrix, unit.shape[1])
    for neurons, weights in progress(blocks, "Bootstrap over pictures", unit="block"):
        for resample, multiplicity in enumerate(drawn):
            values = weighted_cosine(weights, unit, multiplicity.astype(np.float64))
            if scores is not None:
                scores[resample, neurons] = values
            total[resample] += np.nansum(values)
            defined[resample] += np.count_nonzero(~np.isnan(values))
    if scores is not None:
        return scores
    return np.where(defined > 0, total / np.maximum(defined, 1), np.nan)
