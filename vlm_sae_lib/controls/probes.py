"""The best that a linear direction can do when it is told the truth: an upper bound for every detector, and no rival.

A latent is found without a label; a probe is fitted to labels. What lies between the two is what the activations hold
and no latent has for its own.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float

from vlm_sae_lib.controls.directions import as_rows
from vlm_sae_lib.errors import UserError

PENALTY = 1.0
"""On squared weights, of activations in units of their spread: enough for columns that say the same."""


@dataclass(frozen=True, eq=False)
class LinearProbes:
    """One linear direction for each value: the least-squares discriminant between pictures with and without it.

    Attributes:
        weights: (d, n_values).
        bias: (n_values,).
    """

    weights: Float[np.ndarray, "d n_values"]
    bias: Float[np.ndarray, " n_values"]

    @classmethod
    def fit(cls, training: Any, truth: Bool[np.ndarray, "n n_values"]) -> Self:
        """All directions at once (`sklearn.linear_model.Ridge`), since they share the activations.

        Args:
            training: (n, d) array, tensor or store.
            truth: which row shows which value.

        Raises:
            UserError: another number of rows in the truth.
        """
        from sklearn.linear_model import Ridge
        from sklearn.preprocessing import StandardScaler

        rows = as_rows(training)
        if len(rows) != len(truth):
            raise UserError(f"There are {len(rows)} rows of activations but the truth of {len(truth)}.")
        scaler = StandardScaler().fit(rows)
        ridge = Ridge(alpha=PENALTY).fit(scaler.transform(rows), truth.astype(np.float64))
        weights = ridge.coef_.reshape(truth.shape[1], -1).T / scaler.scale_[:, None]
        return cls(weights, ridge.intercept_ - scaler.mean_ @ weights)

    @property
    def n_latents(self) -> int:
        """How many directions there are to choose from."""
        return self.weights.shape[1]

    def encode_sparse(self, activations: Any) -> sp.csr_matrix:
        """The directions' readings ``(n, n_values)``, near 1 where a value is seen and near 0 elsewhere; no zeros."""
        return sp.csr_matrix(as_rows(activations) @ self.weights + self.bias)
