"""One neuron as a detector of each factor value: chosen on some pictures, scored on others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from vlm_sae_lib.scores.truth import best_neurons, detection_scores, one_hot
from vlm_sae_lib.statistics.inputs import activation_matrix

METRICS = ("f1", "auroc", "precision")
AT_LEAST = 10
"""Pictures on which a neuron must fire to be chosen for its precision: one lucky picture is no detector."""


@dataclass(frozen=True, eq=False)
class Detected:
    """How well the chosen neurons detect the values, on pictures that had no part in the choice.

    Attributes:
        names: ``factor, value``, one row per value.
        scores: per metric (values,), NaN where undefined.
        draws: per metric (n_resamples, values): other draws of the pictures. Those of the same pictures, seed and
            number were drawn alike, so that differences are paired.
    """

    names: pd.DataFrame
    scores: dict[str, Float[np.ndarray, " values"]]
    draws: dict[str, Float[np.ndarray, "n_resamples values"]]

    def mean(self, metric: str, factors: Sequence[str]) -> tuple[float, Float[np.ndarray, " n_resamples"]]:
        """Mean over each factor's values, then over the factors alike; and what the draws make of it."""
        means, draws = [], []
        for name in factors:
            kept = (self.names["factor"] == name).to_numpy() & ~np.isnan(self.scores[metric])
            if kept.any():
                means.append(self.scores[metric][kept].mean())
                moved = self.draws[metric][:, kept] - self.scores[metric][kept]
                draws.append(means[-1] + np.nan_to_num(moved).mean(axis=1))
        if not means:
            return float("nan"), np.full(len(self.draws[metric]), np.nan)
        return float(np.mean(means)), np.mean(draws, axis=0)


def choose_detectors(activations: Any, factors: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """For each value the neuron with the best F1 over all thresholds and that threshold, the one with the best AUROC,
    and the one of the best precision when it fires (of those that fire on at least `AT_LEAST` pictures).

    Returns:
        ``factor, value, f1, threshold, auroc, precision``, the three metrics holding neurons; -1 where there is none.
    """
    matrix = activation_matrix(activations)
    table = detection_scores(matrix, factors, columns)
    often = firing(matrix).sum(axis=0) >= AT_LEAST
    precise = table.assign(precision=table["precision"].where(often[table["neuron"]]))
    keys = ["factor", "value"]
    chosen = table[keys].drop_duplicates(ignore_index=True)
    ranked_by = {"f1": (table, "best_f1"), "auroc": (table, "auroc"), "precision": (precise, "precision")}
    for metric, (scores, by) in ranked_by.items():
        best = best_neurons(scores, by)[[*keys, "neuron"]].rename(columns={"neuron": metric})
        chosen = chosen.merge(best, how="left", on=keys)
    chosen[list(METRICS)] = chosen[list(METRICS)].fillna(-1).astype(int)
    truth = truth_table(factors, chosen)
    chosen["threshold"] = [
        _f1_threshold(_column(matrix, neuron), truth[:, row]) if neuron >= 0 else np.nan
        for row, neuron in enumerate(chosen["f1"])
    ]
    return chosen


def score_detectors(
    chosen: pd.DataFrame, activations: Any, factors: pd.DataFrame, *, resamples: int, seed: int = 0
) -> Detected:
    """Score chosen detectors on other pictures, with the bootstrap over pictures.

    F1 is at the chosen threshold. The draws of AUROC take its two averages of placement values apart, DeLong's
    components (of a positive picture among the negatives, of a negative one among the positives), and draw each.
    """
    matrix = activation_matrix(activations)
    n, rows = matrix.shape[0], range(len(chosen))
    truth = truth_table(factors, chosen).astype(np.float64)
    rng = np.random.default_rng(seed)
    counts = np.concatenate([np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), size=resamples)])
    columns = {metric: [_column(matrix, neuron) for neuron in chosen[metric]] for metric in METRICS}
    bars = chosen["threshold"].to_numpy()
    above = np.stack([columns["f1"][row] > bars[row] for row in rows], axis=1).astype(np.float64)
    fires = np.stack([c > min(c.min(initial=0), 0) for c in columns["precision"]], axis=1).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        positives = counts @ truth
        values = {
            "f1": np.where(positives > 0, 2 * (counts @ (above * truth)) / (counts @ above + positives), np.nan),
            "precision": (counts @ (fires * truth)) / (counts @ fires),
            "auroc": _auroc_draws(columns["auroc"], truth, counts),
        }
    for metric in METRICS:
        values[metric][:, chosen[metric].to_numpy() < 0] = np.nan
    names = chosen[["factor", "value"]].reset_index(drop=True)
    return Detected(names, {m: v[0] for m, v in values.items()}, {m: v[1:] for m, v in values.items()})


def truth_table(factors: pd.DataFrame, names: pd.DataFrame) -> Bool[np.ndarray, "n values"]:
    """Which pictures show each ``factor, value`` of ``names``; none, for a value that the pictures lack."""
    tables = {column: one_hot(factors, column) for column in names["factor"].unique()}
    none = np.zeros(len(factors), dtype=bool)
    pairs = zip(names["factor"], names["value"], strict=True)
    found = [tables[f][0][:, tables[f][1].index(v)] if v in tables[f][1] else none for f, v in pairs]
    return np.stack(found, axis=1)


def firing(matrix: Any) -> Bool[np.ndarray, "n n_neurons"]:
    """Where each neuron fires: above zero, or above its minimum where that is negative."""
    dense = matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)
    return dense > np.minimum(dense.min(axis=0, initial=np.inf), 0)


def _auroc_draws(columns: list[np.ndarray], truth: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """AUROC of each column and each row of multiplicities, to first order in the multiplicities; NaN if undefined."""
    placed = np.zeros_like(truth)  # of a picture among those of the other side: how often on its right side
    area = np.empty(len(columns))
    for value, column in enumerate(columns):
        yes = truth[:, value] > 0
        m, k = yes.sum(), (~yes).sum()
        ranks = rankdata(column)
        area[value] = (ranks[yes].sum() - m * (m + 1) / 2) / (m * k) if m and k else np.nan
        if m and k:
            placed[yes, value] = (ranks[yes] - rankdata(column[yes])) / k
            placed[~yes, value] = 1 - (ranks[~yes] - rankdata(column[~yes])) / m
    hits, misses = counts @ (placed * truth), counts @ (placed * (1 - truth))
    return hits / (counts @ truth) + misses / (counts @ (1 - truth)) - area


def _f1_threshold(column: np.ndarray, truth: np.ndarray) -> float:
    """The threshold t for which "above t" has the best F1; the highest of several."""
    order = np.argsort(-column, kind="stable")
    ranked = column[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    f1 = 2 * np.cumsum(truth[order])[ends] / (ends + 1 + truth.sum())
    last = ends[f1.argmax()]
    return float(ranked[last + 1]) if last + 1 < len(ranked) else -np.inf


def _column(matrix: Any, neuron: int) -> Float[np.ndarray, " n"]:
    if neuron < 0:
        return np.zeros(matrix.shape[0])
    column = matrix[:, [neuron]]
    return np.asarray(column.toarray() if sp.issparse(column) else column, dtype=np.float64).ravel()
