"""Probes that may read k latents and no more: how much of a value a few latents hold (Gurnee et al. 2023).

A dictionary whose latents are concepts should need one for a value, or few; one that smears a value over many needs
many. The probe is the same for every dictionary, and told the truth: what is compared is the dictionary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int

from vlm_sae_lib.controls.probes import PENALTY
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.statistics.inputs import activation_matrix

NOTHING_LEFT = 1e-9
"""A correlation that is rounding: no latent explains any of what the others leave."""


@dataclass(frozen=True, eq=False)
class SparseProbes:
    """For each value a weighted sum of a few latents, near 1 where the value is seen and near 0 elsewhere.

    Attributes:
        latents: (n_values, k), as of `choose_latents`; -1 stands for none.
        weights: (n_values, k), 0 for none.
        bias: (n_values,).
        n_latents: how many there are to choose from.
    """

    latents: Int[np.ndarray, "n_values k"]
    weights: Float[np.ndarray, "n_values k"]
    bias: Float[np.ndarray, " n_values"]
    n_latents: int

    @classmethod
    def fit(cls, code: Any, truth: Bool[np.ndarray, "n n_values"], latents: Int[np.ndarray, "n_values k"]) -> Self:
        """Weights of chosen latents by least squares, with the penalty of `LinearProbes`; all values at once.

        Args:
            code: (n, n_latents), dense or sparse.
            truth: which row shows which value.
        """
        return cls.fit_first(code, truth, latents, [latents.shape[1]])[0]

    @classmethod
    def fit_first(
        cls, code: Any, truth: Bool[np.ndarray, "n n_values"], latents: Int[np.ndarray, "n_values k"],
        numbers: Sequence[int],
    ) -> list[Self]:  # fmt: skip
        """`fit` of the first so many latents, for several numbers at the cost of one."""
        moments, found = _Moments.of(code, truth), []
        for number in numbers:
            first = latents[:, :number]
            places = np.where(first < 0, 0, first)
            weights = _solve(moments, first, PENALTY / len(truth)) / moments.spread[places]
            bias = truth.mean(axis=0) - (weights * moments.mean[places]).sum(axis=1)
            found.append(cls(first, weights, bias, len(moments.mean)))
        return found

    def read(self, code: Any) -> Float[np.ndarray, "n n_values"]:
        """The sums, of a code as it was fitted to."""
        table = np.zeros((self.n_latents, len(self.latents)))
        values = np.broadcast_to(np.arange(len(self.latents))[:, None], self.latents.shape)
        there = self.latents >= 0
        table[self.latents[there], values[there]] = self.weights[there]
        return np.asarray(activation_matrix(code) @ table) + self.bias

    def speaking_for(self) -> Int[np.ndarray, "n_values k"]:
        """The latents whose weight is positive; -1 in the place of the others, which speak against the value."""
        return np.where(self.weights > 0, self.latents, -1)


def choose_latents(code: Any, truth: Bool[np.ndarray, "n n_values"], k: int) -> Int[np.ndarray, "n_values k"]:
    """For each value k latents, one after the other: first the one that correlates best with the value, then each time
    the one that correlates best with what the best weighted sum of those before it leaves (orthogonal matching
    pursuit). In the order of the choice, so that the first of five are those that fewer would be.

    Returns:
        -1 from where on no latent explains any of what is left.

    Raises:
        UserError: another number of rows in the truth, or k below 1.
    """
    if k < 1:
        raise UserError(f"A probe of {k} latents reads nothing; give a number of at least 1.")
    moments = _Moments.of(code, truth)
    chosen = np.full((truth.shape[1], k), -1)
    for step in range(k):
        before = chosen[:, :step]
        weights, places = _solve(moments, before, NOTHING_LEFT), np.where(before < 0, 0, before)
        left = moments.cross - np.einsum("fvk,vk->fv", moments.gram[:, places], weights)
        for place in before.T:
            left[place[place >= 0], np.flatnonzero(place >= 0)] = 0
        best = np.abs(left).argmax(axis=0)
        chosen[:, step] = np.where(np.abs(left)[best, np.arange(len(best))] > NOTHING_LEFT, best, -1)
    return chosen


def best_thresholds(
    readings: Float[np.ndarray, "n n_values"], truth: Bool[np.ndarray, "n n_values"]
) -> Float[np.ndarray, " n_values"]:
    """For each value the threshold t for which "above t" has the best F1, the highest of several."""
    order = np.argsort(-readings, axis=0, kind="stable")
    ranked, right = (np.take_along_axis(table, order, axis=0) for table in (readings, truth))
    said = np.arange(1, len(readings) + 1)[:, None]
    f1 = 2 * np.cumsum(right, axis=0) / (said + truth.sum(axis=0))
    lower = np.concatenate([ranked[1:], np.full((1, ranked.shape[1]), -np.inf)])
    last = np.where(lower < ranked, f1, -1).argmax(axis=0)  # only between different readings can a threshold lie
    return lower[last, np.arange(len(last))]


class _Moments(NamedTuple):
    """Of latents in units of their spread and of values: correlations, (n_latents, n_latents) and covariances."""

    mean: Float[np.ndarray, " n_latents"]
    spread: Float[np.ndarray, " n_latents"]
    gram: Float[np.ndarray, "n_latents n_latents"]
    cross: Float[np.ndarray, "n_latents n_values"]

    @classmethod
    def of(cls, code: Any, truth: np.ndarray) -> "_Moments":
        rows: Any = activation_matrix(code).astype(np.float64)
        if rows.shape[0] != len(truth):
            raise UserError(f"There are {rows.shape[0]} rows of latents but the truth of {len(truth)}.")
        shown, n = truth.astype(np.float64), max(len(truth), 1)
        products = rows.T @ rows
        mean = np.asarray(rows.sum(axis=0)).ravel() / n
        covariance = (products.toarray() if sp.issparse(products) else products) / n - np.outer(mean, mean)
        spread = np.sqrt(np.maximum(np.diag(covariance), 0))
        dead = spread <= NOTHING_LEFT * max(spread.max(initial=0), 1)
        spread[dead] = 1
        covariance[dead], covariance[:, dead] = 0, 0
        cross = np.asarray(rows.T @ shown) / n - np.outer(mean, shown.mean(axis=0))
        cross[dead] = 0
        return cls(mean, spread, covariance / np.outer(spread, spread), cross / spread[:, None])


def _solve(moments: _Moments, latents: np.ndarray, penalty: float) -> Float[np.ndarray, "n_values k"]:
    """Least-squares weights of each value's latents in units of their spread; 0 where there is none."""
    there = latents >= 0
    places = np.where(there, latents, 0)
    gram = moments.gram[places[:, :, None], places[:, None, :]] * (there[:, :, None] & there[:, None, :])
    diagonal = penalty + ~there * 1.0  # what is not there has an equation of its own: 0
    gram += diagonal[:, :, None] * np.eye(latents.shape[1])
    wanted = moments.cross[places, np.arange(len(latents))[:, None]] * there
    return np.linalg.solve(gram, wanted[:, :, None])[:, :, 0]
