"""Dictionaries that need no SAE: PCA, ICA, k-means and random directions, rectified and cut to an SAE's L0."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float

from vlm_sae_lib.arrays import finite_rows
from vlm_sae_lib.controls.reconstruction import Pca, cut_at_l0
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.statistics.inputs import activation_matrix

SEEDS = 2**32
"""scikit-learn has so many seeds; torch and numpy, to which every other seed goes, have more."""


@dataclass(frozen=True, eq=False)
class Directions:
    """Latents that are rectified projections: ``directions @ (x - mean)``, where it exceeds the threshold.

    Attributes:
        mean: (d,) mean of the training activations.
        directions: (n_latents, d); a direction without a sign of its own stands here twice, once reversed.
        threshold: one for all latents, at least 0, as in a BatchTopK SAE at inference; values are gated, not shifted.
    """

    mean: Float[np.ndarray, " d"]
    directions: Float[np.ndarray, "n_latents d"]
    threshold: float = 0.0

    @property
    def n_latents(self) -> int:
        return len(self.directions)

    def encode(self, activations: Any) -> Float[np.ndarray, "n n_latents"]:
        """Latents of activations ``(n, d)``, an array, a tensor or a store."""
        rows = as_rows(activations)
        if rows.shape[1] != len(self.mean):
            raise UserError(f"The activations have {rows.shape[1]} columns, the directions have {len(self.mean)}.")
        values = (rows - self.mean) @ self.directions.T
        return np.where(values > self.threshold, values, 0.0)

    def encode_sparse(self, activations: Any) -> sp.csr_matrix:
        return sp.csr_matrix(self.encode(activations))

    def cut(self, training: Any, l0: float) -> "Directions":
        """The same directions with the threshold at which a training row keeps ``l0`` latents on average."""
        return replace(self, threshold=cut_at_l0(replace(self, threshold=0.0).encode(training), l0))


def principal(training: Any, *, whiten: bool = False) -> Directions:
    """Both sides of each principal component; with ``whiten`` each is scaled to unit variance first.

    Without it one cut for all leaves the components of little variance silent.
    """
    pca = Pca.fit(training)
    scale = pca.training_scores.std(axis=0, keepdims=True).T
    return Directions(pca.mean, _both_sides(pca.components / np.maximum(scale, 1e-12) if whiten else pca.components))


def independent(training: Any, *, seed: int = 0) -> Directions:
    """Both sides of each independent component (`sklearn.decomposition.FastICA`, all of them, unit variance)."""
    from sklearn.decomposition import FastICA

    rows = finite_rows(training, at_least=2)
    try:
        ica = FastICA(whiten="unit-variance", random_state=seed % SEEDS, max_iter=1000).fit(rows)
    except ValueError as error:  # it whitens, and a dimension without a spread cannot be
        raise UserError(
            f"These {len(rows)} activations do not vary in all of their {rows.shape[1]} dimensions, and independent "
            "components need that; give more of them."
        ) from error
    return Directions(ica.mean_, _both_sides(ica.components_))


def clusters(training: Any, n_latents: int, *, seed: int = 0) -> Directions:
    """From the mean to each centre of k-means (`sklearn.cluster.MiniBatchKMeans`), at unit length."""
    from sklearn.cluster import MiniBatchKMeans

    rows = finite_rows(training, at_least=1)
    means = MiniBatchKMeans(n_latents, random_state=seed % SEEDS, batch_size=2048, n_init=1).fit(rows)
    return Directions(rows.mean(axis=0), _unit(means.cluster_centers_ - rows.mean(axis=0)))


def random(training: Any, n_latents: int, *, seed: int = 0) -> Directions:
    """Directions that nobody learned, uniform on the sphere."""
    rows = finite_rows(training, at_least=1)
    drawn = np.random.default_rng(seed).standard_normal((n_latents, rows.shape[1]))
    return Directions(rows.mean(axis=0), _unit(drawn))


def linear_readout_r2(code: Any, x: Any, test_code: Any, test_x: Any) -> float:
    """R² on test activations of the linear decoder that suits a code best on training activations.

    A decoder for codes that bring none, and the same chance for all: `sklearn.linear_model.Ridge` on the code in units
    of its typical active value, with a penalty of one, as if each latent had been seen silent once more; so one that
    hardly fires gets no wild weight. NaN where the test activations do not vary.
    """
    from sklearn.linear_model import Ridge

    dense, test_dense = (
        (part if isinstance(part, np.ndarray) else part.toarray()).astype(np.float64)
        for part in map(activation_matrix, (code, test_code))
    )
    source, target = as_rows(x), as_rows(test_x)
    if not dense.size or len(dense) != len(source) or len(test_dense) != len(target):
        raise UserError(f"{len(dense)} and {len(test_dense)} rows of a code cannot be read out; give one each row.")
    unit = np.sqrt((dense**2).sum() / max(np.count_nonzero(dense), 1)) or 1.0
    rebuilt = Ridge(alpha=1.0).fit(dense / unit, source).predict(test_dense / unit)
    spread = float(((target - target.mean(axis=0)) ** 2).sum())
    return float(1 - ((target - rebuilt) ** 2).sum() / spread) if spread > 0 else float("nan")


def as_rows(activations: Any) -> Float[np.ndarray, "n d"]:
    """An array, a tensor or a store as float64 rows; they are only to be read.

    Raises:
        UserError: another shape than (n, d), NaN or infinity.
    """
    return finite_rows(activations)


def _both_sides(directions: np.ndarray) -> np.ndarray:
    return np.concatenate([directions, -directions])


def _unit(directions: np.ndarray) -> np.ndarray:
    return directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
