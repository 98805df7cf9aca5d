"""From effects to a word: the rule of book/analysis_plan.md, and nothing else."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

import numpy as np
from scipy import stats

from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.records.effects import Effect
from vlm_sae_lib.statistics.intervals import Estimate, student

ALPHA = 0.05
STABLE = 0.9
"""Share of the analyses with something left out that must give the same word."""


@dataclass(frozen=True, eq=False)
class Deciding:
    """One effect that decides a claim.

    Attributes:
        delta: the smallest size that matters.
        tower: where a claim is about several.
        room: how large the effect could be at most; below ``delta`` it cannot be tested.
    """

    effect: Effect
    delta: float
    tower: str = ""
    room: float = float("inf")


@dataclass(frozen=True)
class Judged:
    """What became of one effect.

    Attributes:
        estimate: with the interval of 95 %.
        corrected: with the interval that was widened after Holm; equal to it for a single effect.
        units: in how many units it is defined, and ``undefined`` in how many it is not.
    """

    estimate: Estimate
    corrected: Estimate
    units: int
    undefined: int
    word: Verdict


class Worded(Protocol):
    """An effect with the word that it has alone."""

    @property
    def word(self) -> Verdict: ...


E = TypeVar("E", bound=Worded)


@dataclass(frozen=True)
class Decision(Generic[E]):
    """The word for a claim.

    Attributes:
        word: after the rule of stability.
        before: before it.
        effects: one for each deciding effect, in their order.
        stability: share of the analyses with one thing left out that give ``before``; NaN where nothing can be.
        left_out: how many such analyses there are.
    """

    word: Verdict
    before: Verdict
    effects: tuple[E, ...]
    stability: float
    left_out: int


def decide(parts: Sequence[Deciding]) -> Decision[Judged]:
    """Judge a claim by its effects; it cannot be tested without any, or where each has fewer than two units."""
    return concluded(_judge(parts), map(_judge, _left_out(parts)))


def concluded(effects: tuple[E, ...], left_out: Iterable[tuple[E, ...]]) -> Decision[E]:
    """The word that judged effects give together, after the rule of stability.

    Args:
        left_out: the same effects, judged anew with one thing left out, for each thing that can be. Without any the
            word stands.
    """
    before = together([one.word for one in effects])
    if before is Verdict.UNTESTED:
        return Decision(before, before, effects, float("nan"), 0)
    words = [together([one.word for one in less]) for less in left_out]
    if not words:
        return Decision(before, before, effects, float("nan"), 0)
    share = Counter(words)[before] / len(words)
    return Decision(before if share >= STABLE else Verdict.UNDECIDED, before, effects, share, len(words))


def together(words: Sequence[Verdict]) -> Verdict:
    """The word of a claim with several effects: the one that all have; where they differ, it is undecided at best."""
    if len(set(words)) < 2:
        return words[0] if words else Verdict.UNTESTED
    return Verdict.FAILS if {Verdict.FAILS, Verdict.REVERSED} & set(words) else Verdict.UNDECIDED


def word_of(estimate: Estimate, delta: float) -> Verdict:
    """The word of one effect, from its corrected interval."""
    value, (low, high) = estimate
    if np.isnan(low):
        return Verdict.UNTESTED
    if low > 0 and value >= delta:
        return Verdict.HOLDS
    if high < 0 and value <= -delta:
        return Verdict.REVERSED
    return Verdict.FAILS if high < delta else Verdict.UNDECIDED


def holm_levels(p: Sequence[float]) -> list[float]:
    """The level of each effect's interval: 1 − α / m for the smallest p-value, 1 − α / (m − 1) for the next, …"""
    order = np.argsort(p, kind="stable")
    levels = np.empty(len(p))
    levels[order] = 1 - ALPHA / (len(p) - np.arange(len(p)))
    return levels.tolist()


def p_value(values: np.ndarray) -> float:
    """Two-sided, against a mean of zero; 1 where there is nothing to compute it from."""
    values = values[~np.isnan(values)]
    if len(values) < 2 or not values.any():
        return 1.0
    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(2 * stats.t.sf(abs(values.mean()) / error, len(values) - 1)) if error else 0.0


def _judge(parts: Sequence[Deciding]) -> tuple[Judged, ...]:
    levels, judged = holm_levels([p_value(part.effect.by_unit()) for part in parts]), []
    for part, level in zip(parts, levels, strict=True):
        values = part.effect.by_unit()
        corrected, undefined = student(values, level=level), int(np.isnan(values).sum())
        word = word_of(corrected, part.delta) if part.room >= part.delta else Verdict.UNTESTED
        judged.append(Judged(student(values), corrected, len(values) - undefined, undefined, word))
    return tuple(judged)


def _left_out(parts: Sequence[Deciding]) -> Iterator[list[Deciding]]:
    """The same parts with one unit, one hook point or encoder, or one tower left out."""
    most = max(len(part.effect.values) for part in parts)
    if min(len(part.effect.values) for part in parts) > 2:
        for place in range(most):
            yield [
                replace(part, effect=part.effect.without_unit(place)) if place < len(part.effect.values) else part
                for part in parts
            ]
    for position, name in dict.fromkeys(part for each in parts for part in each.effect.parts()):
        yield [
            replace(part, effect=part.effect.without(position, name))
            if (position, name) in part.effect.parts() else part
            for part in parts
        ]  # fmt: skip
    towers = dict.fromkeys(part.tower for part in parts)
    for tower in towers if len(towers) > 1 else ():
        yield [part for part in parts if part.tower != tower]
