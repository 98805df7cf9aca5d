"""From a claim to its word: its effects, looked up in the results and put to the plan's rule."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlm_sae_lib.claims.claim import By, Claim
from vlm_sae_lib.claims.evidence import Evidence
from vlm_sae_lib.claims.paper import CLAIMS
from vlm_sae_lib.claims.rule import Deciding, Decision, Judged, decide
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.records.effects import ENOUGH


@dataclass(frozen=True, eq=False)
class Named:
    """A deciding effect with its words, the experiment that measured it, and its name there."""

    words: str
    part: Deciding
    experiment: str
    name: str


@dataclass(frozen=True)
class Judgement:
    """A claim with its word, and what the other population would have given.

    Attributes:
        named: the effects, in the order of those of ``decision``.
        other: the decision on the other population; None where the claim has one population only.
        others: its effects, in the order of those of ``other``; what has one population only counts in both.
    """

    claim: Claim
    verdict: Verdict
    decision: Decision[Judged]
    named: tuple[Named, ...]
    other: Decision[Judged] | None
    others: tuple[Named, ...] = ()


def judge(claim: Claim, evidence: Evidence) -> Judgement:
    """The word of a claim by the plan."""
    first, second = (ENOUGH, "") if claim.enough else ("", ENOUGH)
    ours, theirs = ([_named(by, evidence, ending) for by in claim.decided_by] for ending in (first, second))
    named = tuple(one for several in ours for one in several)
    decision = decide([one.part for one in named])
    verdict = decision.word if claim.made else Verdict.NO_SUCH_CLAIM
    # what has one population only, such as R², counts in both
    others = tuple(one for mine, their in zip(ours, theirs, strict=True) for one in their or mine)
    other = decide([one.part for one in others]) if any(theirs) else None
    return Judgement(claim, verdict, decision, named, other, others)


def judged(evidence: Evidence, claims: Sequence[Claim] = CLAIMS) -> list[Judgement]:
    """Every claim with its word."""
    return [judge(claim, evidence) for claim in claims]


def word_of_claim(beginning: str) -> Verdict:
    """The word of the one claim that begins so, on the published island.

    Raises:
        UserError: none or several do.
    """
    found = [claim for claim in CLAIMS if claim.text.startswith(beginning)]
    if len(found) != 1:
        raise UserError(f"{len(found)} claims begin with {beginning!r}; they are: {' '.join(c.text for c in CLAIMS)}")
    return judge(found[0], Evidence()).verdict


def _named(by: By, evidence: Evidence, ending: str) -> list[Named]:
    """The effects that one line of a claim names, on one population."""
    found = []
    bounds = evidence.effects(by.experiment, by.room, ending).values() if by.room else ()
    room = min((float(np.nanmean(bound.by_unit())) for bound in bounds), default=float("inf"))
    for name, effect in evidence.effects(by.experiment, by.effect, ending).items():
        case = name.removesuffix(ending).removeprefix(by.effect.removesuffix("*")) if "*" in by.effect else ""
        part = Deciding(effect, by.delta, tower=case.partition(" by ")[0], room=room)
        found.append(Named(f"{by.words}, {case}" if case else by.words, part, by.experiment, name))
    return found
