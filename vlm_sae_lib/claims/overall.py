"""A claim over several islands: its effects combined, and the word that follows (book/analysis_plan.md, Changes)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vlm_sae_lib.claims.judging import Judgement
from vlm_sae_lib.claims.rule import Deciding, holm_levels, stable, together, word_of
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


@dataclass(frozen=True)
class Overall:
    """The word for a claim over the islands.

    Attributes:
        word: after the rule of stability.
        before: before it.
        effects: one for each deciding effect, in their order on the first island.
        stability: share of the analyses with one island left out that give ``before``; NaN below three islands.
        left_out: how many such analyses there are.
    """

    word: Verdict
    before: Verdict
    effects: tuple[OverallEffect, ...]
    stability: float
    left_out: int


def overall(judgements: Mapping[str, Judgement]) -> Overall:
    """Combine a claim's effects over islands, by the island's name; it cannot be tested on fewer than two."""
    effects = _judge(judgements)
    before = together([one.word for one in effects])
    if before is Verdict.UNTESTED:
        return Overall(before, before, effects, float("nan"), 0)
    less = [_without(judgements, name) for name in judgements] if len(judgements) > 2 else []
    words = [together([one.word for one in _judge(some)]) for some in less]
    word, stability = stable(before, words)
    return Overall(word, before, effects, stability, len(words))


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
