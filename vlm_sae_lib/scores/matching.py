"""Latents matched one to one: with another training's, with directions that are known, with values that are known.

The matching is the best in sum (the Hungarian method, `scipy.optimize.linear_sum_assignment`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.scores.detectors import firing
from vlm_sae_lib.statistics.inputs import activation_matrix

NEAR = 0.7
"""A cosine or a correlation above which a latent counts as the one that it was matched with."""


@dataclass(frozen=True)
class Recovered:
    """How much of a known truth a dictionary holds.

    Attributes:
        correlation: mean over the matched pairs.
        found: share of what is known whose match lies above `NEAR`.
        precision: of "the latent fires", mean over the latents that fire at all.
        recall, f1: of the same; a latent that never fires has 0.
        pairs: how many pairs were matched.
    """

    correlation: float
    found: float
    precision: float
    recall: float
    f1: float
    pairs: int


def matched(similarity: Float[np.ndarray, "n m"]) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Rows and columns of the one-to-one matching whose similarities have the largest sum; NaN counts as 0."""
    rows, columns = linear_sum_assignment(np.nan_to_num(similarity), maximize=True)
    return rows, columns


def cosines(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """Cosine of every row with every other; 0 for a row of length zero.

    Raises:
        UserError: rows of different widths.
    """
    if a.shape[1] != b.shape[1]:
        raise UserError(f"Directions of {a.shape[1]} and of {b.shape[1]} dimensions cannot be matched.")
    a, b = (np.asarray(rows, dtype=np.float64) for rows in (a, b))
    a, b = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (a, b))
    return a @ b.T


def stability(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " m"]]:
    """Cosine of each decoder direction with its match in another training's dictionary, for both (arXiv 2502.12892).

    Directions have a sign: latents of a ReLU that point opposite ways are not the same. NaN for the directions of the
    larger dictionary that are left without a match. The mean is the paper's stability.
    """
    similarity = cosines(a, b)
    rows, columns = matched(similarity)
    ours, theirs = np.full(len(a), np.nan), np.full(len(b), np.nan)
    ours[rows] = theirs[columns] = similarity[rows, columns]
    return ours, theirs


def of_directions(
    decoder: Float[np.ndarray, "n_latents d"], directions: Float[np.ndarray, "features d"], code: Any,
    truth: Bool[np.ndarray, "n features"],
) -> Recovered:
    """Recovery of known directions, as SynthSAEBench defines it (arXiv 2602.14687).

    The correlation is that of decoder directions, sign aside, over the best one-to-one matching. Precision, recall and
    F1 are those of each latent for the feature whose direction it is nearest to, which several may share. One thing
    differs: SynthSAEBench counts the precision of a latent that never fires as 0, here it is left out.

    Args:
        code: (n, n_latents) latents of activations that were made of the features, dense or sparse.
        truth: which features fire in each row.
    """  # fmt: skip
    similarity = np.abs(cosines(decoder, directions))
    rows, columns = matched(similarity)
    nearest = similarity.argmax(axis=1)
    return _recovered(similarity[rows, columns], len(directions), firing(activation_matrix(code)), truth[:, nearest])


def of_values(
    choosing: Any, choosing_truth: Bool[np.ndarray, "m values"], code: Any, truth: Bool[np.ndarray, "n values"]
) -> Recovered:
    """Recovery of values whose directions nobody knows: latents matched with them by correlation.

    Latents are matched one to one on the choosing rows, by Pearson's correlation of activation and truth; correlation,
    precision, recall and F1 of the pairs are those on the other rows. A value that is true of none or of all of these
    is left out of the correlation.
    """
    rows, columns = matched(correlations(choosing, choosing_truth))
    theirs = activation_matrix(code)[:, rows]
    both = np.diagonal(correlations(theirs, truth[:, columns]))
    return _recovered(both, truth.shape[1], firing(theirs), truth[:, columns])


def correlations(code: Any, truth: Bool[np.ndarray, "n values"]) -> Float[np.ndarray, "n_latents values"]:
    """Pearson's correlation of every latent's activations with every value's truth; NaN where one is constant."""
    matrix = sp.csr_matrix(activation_matrix(code), dtype=np.float64)
    n, facts = len(truth), truth.astype(np.float64)
    mean, square = (np.asarray(part.sum(axis=0)).ravel() / n for part in (matrix, matrix.multiply(matrix)))
    together = matrix.T @ facts / n - np.outer(mean, facts.mean(axis=0))
    spread = np.outer(np.sqrt(np.maximum(square - mean**2, 0)), facts.std(axis=0))
    return np.divide(together, spread, out=np.full(together.shape, np.nan), where=spread > 1e-12)


def _recovered(
    pairs: Float[np.ndarray, " pairs"], known: int, fires: Bool[np.ndarray, "n pairs"],
    truth: Bool[np.ndarray, "n pairs"],
) -> Recovered:  # fmt: skip
    hits = (fires & truth).sum(axis=0)
    said, shown = fires.sum(axis=0), truth.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall, f1 = map(_mean, (hits / said, hits / shown, 2 * hits / (said + shown)))
    return Recovered(_mean(pairs), float((pairs > NEAR).sum() / known), precision, recall, f1, len(pairs))


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if (~np.isnan(values)).any() else float("nan")
