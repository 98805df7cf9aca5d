"""How a cloud of activations lies in its space: lengths, angles, and how many directions it fills.

The mean cosine of all pairs matters for what follows: it is the monosemanticity score of a neuron that says nothing.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from vlm_sae_lib.arrays import finite_rows
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.statistics.intervals import Estimate, percentiles


@dataclass(frozen=True)
class Spread:
    """Of n vectors of width d.

    Attributes:
        norm: mean length.
        norm_deviation: standard deviation of the length over its mean.
        mean_cosine: over all pairs of different vectors.
        offset: share of the mean squared length that is the common mean, |mean|² / E|x|².
        directions: participation ratio of the covariance's eigenvalues, (Σλ)² / Σλ²; d if all directions vary alike.
    """

    norm: float
    norm_deviation: float
    mean_cosine: float
    offset: float
    directions: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def spread(x: Any) -> Spread:
    """Describe n ≥ 2 vectors ``(n, d)``. Raises ``UserError`` for fewer, for NaN or infinity, or for a vector of length
    zero.
    """
    rows = _rows(x)
    lengths = np.linalg.norm(rows, axis=1)
    mean = rows.mean(axis=0)
    eigenvalues = np.linalg.eigvalsh(np.cov(rows.T, bias=True).reshape(rows.shape[1], rows.shape[1]))
    total = eigenvalues.sum()
    return Spread(
        norm=float(lengths.mean()),
        norm_deviation=float(lengths.std() / lengths.mean()),
        mean_cosine=_cosine(*_sums(rows, np.ones((1, len(rows)))))[0],
        offset=float(mean @ mean / (lengths**2).mean()),
        directions=float(total**2 / (eigenvalues**2).sum()) if total > 0 else 0.0,
    )


def mean_cosine(x: Any, *, seed: int = 0, n_resamples: int = 500) -> Estimate:
    """Mean cosine over all pairs of different vectors, with the percentile bootstrap over the vectors.

    A vector that is drawn twice makes no pair with itself: with multiplicities c the mean is
    (|Σ c u|² − Σ c²) / ((Σ c)² − Σ c²) over unit vectors u.
    Where the mean vector is zero the interval is too wide: it then holds the truth nearly always.
    """
    rows = _rows(x)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=n_resamples).astype(np.float64)
    value = float(_cosine(*_sums(rows, np.ones((1, len(rows)))))[0])
    return Estimate(value, percentiles(_cosine(*_sums(rows, draws))))


def _sums(rows: np.ndarray, counts: Float[np.ndarray, "draws n"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return ((counts @ unit) ** 2).sum(axis=1), (counts**2).sum(axis=1), counts.sum(axis=1)


def _cosine(square: np.ndarray, same: np.ndarray, total: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return (square - same) / (total**2 - same)


def _rows(x: Any) -> Float[np.ndarray, "n d"]:
    rows = finite_rows(x, "The vectors")
    if len(rows) < 2:
        raise UserError(f"A cloud needs at least two vectors, (n, d), and this has shape {rows.shape}.")
    if not (np.linalg.norm(rows, axis=1) > 0).all():
        raise UserError("A vector of length zero has no direction; leave it out.")
    return rows
