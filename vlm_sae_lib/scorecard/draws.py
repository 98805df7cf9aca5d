"""Other draws of the final pictures, alike for all that is measured; what statistics become in each of them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from jaxtyping import Bool, Float

from vlm_sae_lib.scores.matching import NEAR
from vlm_sae_lib.statistics.intervals import Estimate, percentiles


@dataclass(frozen=True, eq=False)
class Draws:
    """How often each draw holds each picture; the first row is the pictures as they are."""

    counts: Float[np.ndarray, "draws n"]

    @classmethod
    def of(cls, n: int, number: int, seed: int = 0) -> Self:
        drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=number)
        return cls(np.concatenate([np.ones((1, n)), drawn]))

    @cached_property
    def n(self) -> int:
        return self.counts.shape[1]

    def mean(self, values: Float[np.ndarray, " n"]) -> Estimate:
        """Mean of a value that each picture has."""
        return estimate(self.counts @ values / self.n)

    def r2(
        self, x: Float[np.ndarray, "rows d"], x_hat: Float[np.ndarray, "rows d"], per_picture: int
    ) -> Estimate:
        """R² over all rows, whole pictures drawn; the mean is taken anew in each draw."""
        centred = x - x.mean(axis=0)

        def by_picture(of_rows: np.ndarray) -> np.ndarray:
            return of_rows.reshape(self.n, per_picture, -1).sum(axis=1)

        error, square = (by_picture((part**2).sum(axis=1)) for part in (x - x_hat, centred))
        moved = ((self.counts @ by_picture(centred)) ** 2).sum(axis=1) / (self.n * per_picture)
        with np.errstate(invalid="ignore", divide="ignore"):
            return estimate(1 - (self.counts @ error)[:, 0] / ((self.counts @ square)[:, 0] - moved))

    def shares(
        self,
        part: Bool[np.ndarray, "n values"],
        whole: Bool[np.ndarray, "n values"],
        defined: Bool[np.ndarray, " values"],
    ) -> Estimate:
        """Share of a whole that is part, mean over some values; one that a draw lacks is left where it was."""
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = (self.counts @ part) / (self.counts @ whole)
        return estimate(mean_of(shares[:, defined]))

    def recovered(
        self, code: Float[np.ndarray, "n pairs"], truth: Bool[np.ndarray, "n pairs"], known: int
    ) -> tuple[Estimate, Estimate, Estimate]:
        """Correlation, share found and F1 of matched pairs, as of `scores.matching.of_values`."""
        facts, fires = truth.astype(np.float64), (code > 0).astype(np.float64)
        mean_z, mean_y, square, both = (self.counts @ part / self.n for part in (code, facts, code**2, code * facts))
        spread = np.sqrt(np.maximum(square - mean_z**2, 0) * np.maximum(mean_y - mean_y**2, 0))
        correlation = np.divide(both - mean_z * mean_y, spread, out=np.full(both.shape, np.nan), where=spread > 1e-12)
        hits, said, shown = (self.counts @ part for part in (fires * facts, fires, facts))
        with np.errstate(invalid="ignore", divide="ignore"):
            f1 = 2 * hits / (said + shown)
        found = (correlation > NEAR).sum(axis=1) / known
        return estimate(mean_of(correlation)), estimate(found), estimate(mean_of(f1))


def mean_of(values: Float[np.ndarray, "draws values"]) -> Float[np.ndarray, " draws"]:
    """Mean over the values that the pictures as they are define; one that a draw does not define stays as it is."""
    kept = values[:, ~np.isnan(values[0])]
    if not kept.shape[1]:
        return np.full(len(values), np.nan)
    return np.where(np.isnan(kept), kept[0], kept).mean(axis=1)


def estimate(draws: Float[np.ndarray, " draws"]) -> Estimate:
    """The first is the value, the middle 95 % of the others the interval."""
    return Estimate(float(draws[0]), percentiles(draws[1:]))
