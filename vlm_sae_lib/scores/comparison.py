"""Kinds of neurons side by side under one scoring encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score, ms_bootstrap
from vlm_sae_lib.statistics.inputs import activation_matrix
from vlm_sae_lib.statistics.intervals import Estimate, percentiles, student


@dataclass(frozen=True, eq=False)
class Scored:
    """MS of one kind of neurons, with bootstrap draws of the pictures.

    Two kinds scored with the same pictures, seed and number of draws saw the same draws, so that their differences are
    paired.

    Attributes:
        ms: (n_neurons,), NaN where undefined.
        draws: (n_resamples, n_neurons), as of `ms_bootstrap`.
        pictures: on how many pictures each neuron lies above its minimum.
    """

    ms: Float[np.ndarray, " n_neurons"]
    draws: Float[np.ndarray, "n_resamples n_neurons"]
    pictures: Int[np.ndarray, " n_neurons"]

    def kept(self, at_least: int = 2) -> np.ndarray:
        """Which neurons are above their minimum on ``at_least`` pictures; fewer than two leave MS undefined."""
        return (self.pictures >= at_least) & ~np.isnan(self.ms)

    def mean(self, at_least: int = 2) -> Estimate:
        """Mean MS, and the mean plus the middle 95 % of what the draws move it by."""
        return _estimate(*self.moved(at_least))

    def minus(self, other: "Scored", at_least: int = 2) -> Estimate:
        """Difference of the mean MS of two kinds, paired by draw.

        Raises:
            UserError: the two were drawn a different number of times.
        """
        self._check_draws(other)
        (value, draws), (other_value, other_draws) = self.moved(at_least), other.moved(at_least)
        return _estimate(value - other_value, draws - other_draws)

    def share_above(self, other: "Scored", at_least: int = 2, *, best: bool = False) -> Estimate:
        """Share of the neurons whose MS exceeds the other kind's mean, or with ``best`` the other kind's best."""
        return _estimate(*self.above(other, at_least, best=best))

    def above(
        self, other: "Scored", at_least: int = 2, *, best: bool = False
    ) -> tuple[float, Float[np.ndarray, " n_resamples"]]:
        """`share_above`, and what it becomes in each draw."""
        self._check_draws(other)
        ours, theirs = self.kept(at_least), other.kept(at_least)
        if best:
            bar, bars = _best(other.ms[None, theirs]), _best(other.draws[:, theirs])
        else:
            value, bars = other.moved(at_least)
            bar = np.array([value])
        return float(_share(self.ms[None, ours], bar)[0]), _share(self.draws[:, ours], bars)

    def moved(self, at_least: int) -> tuple[float, Float[np.ndarray, " n_resamples"]]:
        """Mean MS, and what it becomes in each draw.

        A neuron of two pictures is undefined in most draws. The mean over whoever is left would then change with the
        company, not with the scores; so the draws tell by how much the neurons that they define have moved.
        """
        kept = self.kept(at_least)
        value = _mean(self.ms[None, kept])[0]
        return value, value + _mean(self.draws[:, kept] - self.ms[kept])

    def _check_draws(self, other: "Scored") -> None:
        if len(self.draws) != len(other.draws):
            raise UserError(f"Kinds drawn {len(self.draws)} and {len(other.draws)} times cannot be paired by draw.")


def over_seeds(runs: Sequence[Scored], at_least: int = 2, *, minus: Sequence[Scored] = ()) -> Estimate:
    """Mean MS over trainings, with Student's t over them; of one training, with what its draws of the pictures give.

    Args:
        runs: one SAE's scores for each seed.
        minus: another kind's of the same seeds, whose means are taken off one by one; or of one alone, where training
            has no part in it.

    Raises:
        UserError: none at all, kinds of different numbers of seeds, or single ones drawn a different number of times.
    """
    if not runs:
        raise UserError("A mean over seeds needs the scores of at least one.")
    if len(runs) == 1 == len(minus):
        runs[0]._check_draws(minus[0])
    moved = [[run.moved(at_least) for run in kind] for kind in (runs, minus)]
    return over_trainings(moved[0], minus=moved[1])


def over_trainings(
    runs: Sequence[tuple[float, np.ndarray]], *, minus: Sequence[tuple[float, np.ndarray]] = ()
) -> Estimate:
    """Mean over trainings of any statistic, with Student's t over them.

    Args:
        runs: for each seed the statistic and its draws ``(n_resamples,)``, which count where there is one seed only.
        minus: another kind's of the same seeds, or of one alone.

    Raises:
        UserError: kinds of different numbers of seeds.
    """
    if len(runs) == 1 and len(minus) < 2:
        value, draws = runs[0]
        other, other_draws = minus[0] if minus else (0.0, np.zeros(len(draws)))
        return _estimate(value - other, draws - other_draws)
    return student(by_training(runs, minus=minus))


def by_training(
    runs: Sequence[tuple[float, np.ndarray]], *, minus: Sequence[tuple[float, np.ndarray]] = ()
) -> Float[np.ndarray, " n_seeds"]:
    """A statistic of each training, less that of the other kind's training of the same seed."""
    if len(minus) not in (0, 1, len(runs)):
        raise UserError(f"{len(runs)} trainings cannot be held against {len(minus)}: give one for each seed, or one.")
    values = np.array([value for value, _ in runs], dtype=np.float64)
    return values - np.array([value for value, _ in minus], dtype=np.float64) if minus else values


def score(activations: Any, embeddings: Any, *, resamples: int, seed: int = 0) -> Scored:
    """MS of every column of ``activations`` (paper v3 Eq. 5-9), and what other draws of the pictures would have given.

    Args:
        activations: (n, n_neurons), dense or sparse.
        embeddings: (n, dim) of the scoring encoder, rows as in ``activations``.
        resamples: bootstrap draws, at least one.
    """
    ms = monosemanticity_score(activations, embeddings)
    draws = ms_bootstrap(activations, embeddings, resamples, seed, per_neuron=True)
    return Scored(ms, draws, pictures_above_minimum(activations))


def pictures_above_minimum(activations: Any) -> Int[np.ndarray, " n_neurons"]:
    """On how many pictures each neuron lies above its minimum; the zeros that a sparse matrix leaves out count."""
    matrix = activation_matrix(activations)
    if isinstance(matrix, np.ndarray):
        return (matrix > matrix.min(axis=0, initial=np.inf)).sum(axis=0)
    columns = matrix.tocsc()
    stored = [columns.data[a:b] for a, b in zip(columns.indptr[:-1], columns.indptr[1:], strict=True)]
    counts = np.zeros(len(stored), dtype=np.int64)
    for neuron, values in enumerate(stored):
        implicit = matrix.shape[0] - len(values)
        low = min(values.min(initial=np.inf), 0.0 if implicit else np.inf)
        counts[neuron] = np.count_nonzero(values > low) + (implicit if low < 0 else 0)
    return counts


def _mean(values: Float[np.ndarray, "r f"]) -> Float[np.ndarray, " r"]:
    number = (~np.isnan(values)).sum(axis=1)
    return np.where(number > 0, np.nansum(values, axis=1) / np.maximum(number, 1), np.nan)


def _best(values: Float[np.ndarray, "r f"]) -> Float[np.ndarray, " r"]:
    return np.where(np.isnan(values), -np.inf, values).max(axis=1, initial=-np.inf)


def _share(values: Float[np.ndarray, "r f"], bars: Float[np.ndarray, " r"]) -> Float[np.ndarray, " r"]:
    return _mean(np.where(np.isnan(values), np.nan, values > bars[:, None]))


def _estimate(value: float, replicates: np.ndarray) -> Estimate:
    return Estimate(float(value), percentiles(replicates))
