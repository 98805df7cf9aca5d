"""Neurons against a truth that is known: the factors that each picture was drawn from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.statistics.inputs import activation_matrix, top_image_table

BLOCK = 256  # neurons ranked at once


def factor_embeddings(factors: pd.DataFrame, columns: Sequence[str]) -> Float[np.ndarray, "n dim"]:
    """One-hot factors side by side, each factor of equal weight: the scoring encoder of an all-knowing observer.

    The cosine of two pictures is the share of factors in which they agree.

    Args:
        factors: one row per picture.
        columns: the categorical factors to use.
    """
    return np.concatenate([one_hot(factors, column)[0] for column in columns], axis=1).astype(np.float64)


def one_hot(factors: pd.DataFrame, column: str) -> tuple[Bool[np.ndarray, "n values"], list[str]]:
    """Truth table of one factor, and its values in alphabetical order."""
    if column not in factors:
        raise UserError(f"There is no factor {column!r}; the factors are {', '.join(map(str, factors.columns))}.")
    if (missing := factors[column].isna()).any():
        raise UserError(
            f"The factor {column!r} is missing on {missing.sum()} of {len(factors)} pictures, the first of them with "
            f"the id {factors.index[missing][0]}; leave those pictures out."
        )
    words = factors[column].astype(str).to_numpy()
    values, codes = np.unique(words, return_inverse=True)
    return codes[:, None] == np.arange(len(values)), values.tolist()


def detection_scores(activations: Any, factors: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """How well each neuron detects each value of each factor.

    Args:
        activations: (n, n_neurons), dense or sparse, rows as in ``factors``.
        factors: one row per picture.
        columns: categorical factors.

    Returns:
        One row per neuron and value: ``neuron, factor, value, precision, recall, f1`` of "the neuron fires" (above
        zero; for signed neurons above the minimum), ``best_f1`` over all thresholds, ``auroc``. Precision of a neuron
        that never fires and AUROC of a value that is always or never true are NaN.
    """
    matrix = activation_matrix(activations)
    if matrix.shape[0] != len(factors):
        raise UserError(f"There are {matrix.shape[0]} rows of activations but factors of {len(factors)} pictures.")
    if not len(columns):
        raise UserError("No factor is named; name the columns whose values neurons may detect.")
    tables = [one_hot(factors, column) for column in columns]
    names = [(column, value) for column, (_, values) in zip(columns, tables, strict=True) for value in values]
    truth = np.concatenate([table for table, _ in tables], axis=1)
    parts = []
    for start in range(0, matrix.shape[1], BLOCK):
        block = matrix[:, start : start + BLOCK]
        block = block if isinstance(block, np.ndarray) else block.toarray()
        parts.append(_block_scores(block.astype(np.float64), truth))
    neurons = np.repeat(np.arange(matrix.shape[1]), len(names))
    scores = {name: np.concatenate([part[name] for part in parts]).ravel() for name in parts[0]} if parts else {}
    factor, value = (np.tile([name[i] for name in names], matrix.shape[1]) for i in (0, 1))
    return pd.DataFrame({"neuron": neurons, "factor": factor, "value": value, **scores})


def _block_scores(activations: np.ndarray, truth: Bool[np.ndarray, "n v"]) -> dict[str, Float[np.ndarray, "f v"]]:
    positives = truth.sum(axis=0)
    fires = activations > np.minimum(activations.min(axis=0, initial=np.inf), 0)
    hits = fires.T.astype(np.float64) @ truth
    said = fires.sum(axis=0)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        ranks = rankdata(activations, axis=0).T @ truth.astype(np.float64)
        negatives = len(truth) - positives
        return {
            "precision": hits / said,
            "recall": hits / positives,
            "f1": 2 * hits / (said + positives),
            "best_f1": np.stack([_best_f1(column, truth, positives) for column in activations.T]),
            "auroc": (ranks - positives * (positives + 1) / 2) / (positives * negatives),
        }


def _best_f1(activations: np.ndarray, truth: np.ndarray, positives: np.ndarray) -> Float[np.ndarray, " v"]:
    """Largest F1 of "activation > t" over all t: down the ranked images, stopping only between different values.

    The images at the minimum, most of a sparse neuron's, are the last stop, where all are said to have the value.
    """
    above = np.flatnonzero(activations > activations.min(initial=np.inf))
    order = above[np.argsort(-activations[above], kind="stable")]
    ranked = activations[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.empty(0, dtype=int)
    hits = np.cumsum(truth[order], axis=0)[ends]
    everything = 2 * positives / np.maximum(len(activations) + positives, 1)
    return (2 * hits / (ends[:, None] + 1 + positives)).max(axis=0, initial=0.0).clip(min=everything)


def top_image_precision(
    top_images: Int[np.ndarray, "n_neurons k"], factors: pd.DataFrame, columns: Sequence[str]
) -> pd.DataFrame:
    """The value that most of a neuron's top images share, per neuron and factor.

    Args:
        top_images: ids, -1 where there is none; an id is a row number of ``factors``.

    Returns:
        ``neuron, factor, value, precision, base_rate``: share of the top images with the value, and of all pictures.
        Ties go to the value that comes first in the alphabet; without a top image all three are missing.
    """
    top = top_image_table(top_images)
    there = top >= 0
    if top.size and top.max() >= len(factors):
        raise UserError(f"Image id {top.max()} has no factors; they cover {len(factors)} pictures.")
    frames = []
    for column in columns:
        truth, values = one_hot(factors, column)
        counts = (truth[np.maximum(top, 0)] & there[:, :, None]).sum(axis=1)
        best, number = counts.argmax(axis=1), there.sum(axis=1)
        some = number > 0
        frame = pd.DataFrame({"neuron": np.arange(len(top)), "factor": column})
        frame["value"] = [values[i] if any_ else None for i, any_ in zip(best, some, strict=True)]
        frame["precision"] = np.where(some, counts[np.arange(len(top)), best] / np.maximum(number, 1), np.nan)
        frame["base_rate"] = np.where(some, truth.mean(axis=0)[best], np.nan)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True).sort_values(["neuron"], kind="stable", ignore_index=True)


def purity(
    activations: Any, factors: pd.DataFrame, column: str, *, weighted: bool = False
) -> Float[np.ndarray, " n_neurons"]:
    """Share of the pictures on which a neuron fires that show the value it fires on most (MonoLoss: class purity).

    Args:
        activations: (n, n_neurons), dense or sparse, none below zero; rows as in ``factors``.
        factors: one row per picture.
        column: a categorical factor.
        weighted: count a picture as much as the neuron fires on it.

    Returns:
        NaN for neurons that never fire. A neuron of one picture has purity 1.
    """
    rows = sp.csr_matrix(activation_matrix(activations), dtype=np.float64)
    if not weighted:
        rows = (rows > 0).astype(np.float64)
    truth = one_hot(factors, column)[0].astype(np.float64)
    if rows.shape[0] != len(truth):
        raise UserError(f"There are {rows.shape[0]} rows of activations but factors of {len(truth)} pictures.")
    counts = rows.T @ truth
    total = counts.sum(axis=1)
    return np.divide(counts.max(axis=1, initial=0), total, out=np.full(len(counts), np.nan), where=total > 0)


def name_neurons(scores: pd.DataFrame, by: str = "best_f1") -> pd.DataFrame:
    """For each neuron the factor value that it detects best: the row of `detection_scores` with the largest ``by``.

    Ties go to the first row; neurons without any defined score are left out.
    """
    if by not in scores:
        raise UserError(f"There is no score {by!r}; name neurons by precision, recall, f1, best_f1 or auroc.")
    ranked = scores.dropna(subset=[by]).sort_values(by, ascending=False, kind="stable")
    return ranked.drop_duplicates("neuron").sort_values("neuron", ignore_index=True)


def best_neurons(scores: pd.DataFrame, by: str = "best_f1") -> pd.DataFrame:
    """For each factor value the neuron that detects it best, ties to the smaller neuron."""
    if by not in scores:
        raise UserError(f"There is no score {by!r}; choose precision, recall, f1, best_f1 or auroc.")
    ranked = scores.dropna(subset=[by]).sort_values([by, "neuron"], ascending=[False, True], kind="stable")
    return ranked.drop_duplicates(["factor", "value"]).sort_values(["factor", "value"], ignore_index=True)
