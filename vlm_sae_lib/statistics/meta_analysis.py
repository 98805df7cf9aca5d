"""One effect measured in several places: what it is over all of them, and how much the places differ.

Random effects: place i has the true effect θᵢ ~ N(μ, τ²) and shows yᵢ ~ N(θᵢ, vᵢ). τ² is Paule and Mandel's
(`statsmodels`), the interval of μ Hartung and Knapp's.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from vlm_sae_lib.arrays import real_array
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.statistics.intervals import LEVEL, UNDEFINED, Estimate, Interval

ITERATIONS = 1000
"""Each at most doubles τ²; the 50 that are usual are too few where places differ a million times as much as units."""


@dataclass(frozen=True)
class Combined:
    """An effect over several places, in the effect's own unit.

    Attributes:
        value: μ.
        error: its standard error.
        tau: the standard deviation between the places' true effects.
        i2: share of the spread between the places that is more than their own variances explain, 0 to 1.
        places: how many there are.
    """

    value: float
    error: float
    tau: float
    i2: float
    places: int

    def estimate(self, level: float = LEVEL) -> Estimate:
        """μ with its interval: Student's t with one degree of freedom less than there are places."""
        half = float(stats.t.ppf((1 + level) / 2, self.places - 1)) * self.error
        return Estimate(self.value, Interval(self.value - half, self.value + half))

    def prediction(self, level: float = LEVEL) -> Interval:
        """Where the true effect of one more place would lie (Higgins, Thompson and Spiegelhalter 2009, Eq. 12).

        Undefined for fewer than three places. Of five places that differ about as much as their own errors, τ² is
        often taken to be 0, and it holds the next place 88 times in a hundred; elsewhere 95.
        """
        if self.places < 3:
            return Interval(*UNDEFINED)
        half = float(stats.t.ppf((1 + level) / 2, self.places - 2)) * float(np.hypot(self.tau, self.error))
        return Interval(self.value - half, self.value + half)

    def p_value(self) -> float:
        """Two-sided, against μ = 0, by the t of `estimate`; 1 where nothing differs from zero."""
        if not self.error:
            return 0.0 if self.value else 1.0
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.places - 1))


def random_effects(means: Float[np.ndarray, " places"], variances: Float[np.ndarray, " places"]) -> Combined:
    """Combine the effects of several places.

    With Paule and Mandel's τ² above 0, Hartung and Knapp's factor is 1; with τ² = 0 it is at most 1, and is not let
    narrow the interval (the "modified" form of Röver, Knapp and Friede 2015).

    Args:
        means: the effect in each place.
        variances: of these means. A place whose own is 0 gets the smallest of those that have one; where none has, each
            place counts alike and the interval is Student's t over the places.

    Raises:
        UserError: fewer than two places, or a value that is undefined or a variance below 0.
    """
    means, variances = (
        real_array(side, what).astype(np.float64) for side, what in ((means, "The means"), (variances, "The variances"))
    )
    if means.shape != variances.shape or means.ndim != 1 or len(means) < 2:
        raise UserError(f"Effects are combined over two places or more, each with a variance, not over {means.shape}.")
    if not (np.isfinite(means).all() and np.isfinite(variances).all() and (variances >= 0).all()):
        raise UserError(f"Means {means.tolist()} with variances {variances.tolist()}: leave out what is undefined.")
    if not variances.any():
        spread, places = float(means.std(ddof=1)), len(means)
        return Combined(float(means.mean()), spread / places**0.5, spread, float(spread > 0), places)
    variances = np.where(variances > 0, variances, variances[variances > 0].min())
    with np.errstate(divide="ignore"):  # in its own I², where all places are equal
        found = combine_effects(means, variances, method_re="iterated", use_t=True, maxiter=ITERATIONS)
    error = max(float(found.sd_eff_w_re), float(found.sd_eff_w_re_hksj))
    excess = 1 - (len(means) - 1) / found.q if found.q > 0 else 0.0
    return Combined(
        float(found.mean_effect_re), error, float(np.sqrt(found.tau2)), float(max(excess, 0.0)), len(means)
    )
