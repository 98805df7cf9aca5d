"""A fairer rival for SAE latents: raw neurons, rectified.

Min-max scaling gives every image about half the weight on a signed raw neuron, so its MS is nearly the mean similarity
of the whole set by construction. Rectified neurons are zero on half the images, and cut to the SAE's L0 they are as
sparse as latents; what gap then remains is not owed to sparsity alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float

from vlm_sae_lib.arrays import finite_rows
from vlm_sae_lib.errors import UserError


@dataclass(frozen=True, eq=False)
class RectifiedNeurons:
    """ReLU(v - mean) and ReLU(mean - v): from d raw neurons 2 d that fire like latents.

    Neuron j < d is the positive side of raw neuron j, neuron d + j its negative side.

    Attributes:
        mean: (d,) mean of the *training* activations.
        threshold: values not above it become zero. One for all neurons, like the learned threshold of a BatchTopK
            SAE; values are gated, not shifted.
    """

    mean: Float[np.ndarray, " d"]
    threshold: float = 0.0

    @classmethod
    def fit(cls, training: Any, l0: float | None = None) -> "RectifiedNeurons":
        """Centre on the training mean; with ``l0``, cut so that a training row keeps ``l0`` non-zeros on average.

        The cut is global, as in BatchTopK: of all n times 2 d values the n times l0 largest stay. Equal values at the
        threshold go together, so that fewer may stay, never more.

        Args:
            training: (n, d) array, tensor or store.
            l0: mean non-zeros per row, of at most d that there are.
        """
        rows = finite_rows(training)
        if len(rows) == 0:
            raise UserError("There are no training activations to centre on; collect some pictures first.")
        neurons = cls(rows.mean(axis=0))
        if l0 is None:
            return neurons
        if not 0 < l0 < np.inf:
            raise UserError(f"The L0 to cut to is {l0}; give the mean number of non-zeros per row, above 0.")
        values = np.abs(rows - neurons.mean).ravel()  # of the two sides of a neuron one holds this, the other 0
        kept = round(len(rows) * l0)
        if kept >= np.count_nonzero(values):
            return neurons
        return cls(neurons.mean, float(np.partition(values, len(values) - kept - 1)[len(values) - kept - 1]))

    @property
    def n_latents(self) -> int:
        return 2 * len(self.mean)

    def encode(self, activations: Any) -> Float[np.ndarray, "n 2*d"]:
        """Rectified activations of raw ones ``(n, d)``, float64."""
        rows = finite_rows(activations)
        if rows.shape[1] != len(self.mean):
            raise UserError(f"The activations have {rows.shape[1]} columns, the training mean has {len(self.mean)}.")
        centred = rows - self.mean
        sides = np.concatenate([centred, -centred], axis=1)
        return np.where(sides > self.threshold, sides, 0.0)

    def encode_sparse(self, activations: Any) -> sp.csr_matrix:
        return sp.csr_matrix(self.encode(activations))
