"""A claim over several islands: its effects combined, and the word that follows (book/analysis_plan.md, Changes)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vlm_sae_lib.claims.judging import Judgement
from vlm_sae_lib.claims.rule import Deciding, Decision, concluded, holm_levels, word_of
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.statistics.intervals import UNDEFINED, Estimate, Interval
from vlm_sae_lib.statistics.meta_analysis import Combined, random_effects

NONE = Estimate(float("nan"), Interval(*UNDEFINED))


@dataclass(frozen=True)
class OverallEffect:
    """One deciding effect over the islands that have it.

    Attributes:
        words: what it is.
        of: the quantity, such as "MS".
        delta: the smallest size that matters.
        islands: whose effects were combined.
        combined: None for fewer than two islands.
        corrected: with the interval that was widened after Holm, from which the word follows.
    """

    words: str
    of: str
    delta: float
    islands: tuple[str, ...]
    combined: Combined | None
    corrected: Estimate
    word: Verdict


def overall(judgements: Mapping[str, Judgement]) -> Decision[OverallEffect]:
    """Combine a claim's effects over islands, by the island's name; it cannot be tested on fewer than two."""
    less = (_without(judgements, name) for name in judgements) if len(judgements) > 2 else ()
    return concluded(_judge(judgements), map(_judge, less))


def _without(judgements: Mapping[str, Judgement], name: str) -> dict[str, Judgement]:
    return {other: judgement for other, judgement in judgements.items() if other != name}


def _judge(judgements: Mapping[str, Judgement]) -> tuple[OverallEffect, ...]:
    named = {one.words: one.part for judgement in judgements.values() for one in judgement.named}
    parts = {
        words: {
            island: one.part for island, judgement in judgements.items() for one in judgement.named
            if one.words == words and len(_defined(one.part)) > 1
        }
        for words in named
    }  # fmt: skip
    combined = [_combine(list(there.values())) for there in parts.values()]
    levels, judged = holm_levels([one.p_value() if one else 1.0 for one in combined]), []
    for (words, part), one, level in zip(named.items(), combined, levels, strict=True):
        corrected, of = one.estimate(level) if one else NONE, part.effect.of
        word = word_of(corrected, part.delta)
        judged.append(OverallEffect(words, of, part.delta, tuple(parts[words]), one, corrected, word))
    return tuple(judged)


def _combine(parts: Sequence[Deciding]) -> Combined | None:
    """Each island's effect is the mean over its units, its variance that of this mean."""
    if len(parts) < 2:
        return None
    units = [_defined(part) for part in parts]
    # units that are all alike have no variance; numpy's would be what rounding left
    variances = [values.var(ddof=1) / len(values) if np.ptp(values) else 0.0 for values in units]
    return random_effects(np.array([values.mean() for values in units]), np.array(variances))


def _defined(part: Deciding) -> Float[np.ndarray, " n_defined"]:
    """The effect in the units in which it is defined."""
    values = part.effect.by_unit()
    return values[~np.isnan(values)]
