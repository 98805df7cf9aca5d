"""Judgements and observations as Markdown lines, for the pages."""

import math
from collections.abc import Sequence

from vlm_sae_lib.claims.evidence import Evidence
from vlm_sae_lib.claims.judging import Judgement
from vlm_sae_lib.claims.rule import Deciding, Decision, Judged
from vlm_sae_lib.claims.verdict import Observation, Verdict, number, with_interval
from vlm_sae_lib.statistics.intervals import Estimate, student

CARDS = {
    Verdict.HOLDS: "tip", Verdict.REVERSED: "danger", Verdict.FAILS: "warning", Verdict.UNDECIDED: "note",
    Verdict.UNTESTED: "seealso", Verdict.NO_SUCH_CLAIM: "attention",
}  # fmt: skip
FIRST, SECOND = "every neuron whose score is defined", "neurons active on at least ten pictures"


def card(judgement: Judgement, evidence: Evidence, *, islands: Sequence[str] = (), tally: str = "") -> list[str]:
    """One claim with its word in the head, who makes it, and what decides it.

    Args:
        islands: what became of it on several islands (``island_markdown``), before the details.
        tally: on how many it holds, for the head; empty where it was asked on this one alone.
    """
    claim, word = judgement.claim, judgement.verdict.value
    if tally:
        word = f"{word} here, {tally}"
    lines = [f":::{{admonition}} {claim.text} — {word}", f":class: {CARDS[judgement.verdict]}", ""]
    lines += [f"*Claimed in* {claim.where}. *The paper's evidence*: {claim.evidence}", "", *islands]
    return [*lines, *reasons(judgement, evidence), "", *([claim.remark, ""] if claim.remark else []), ":::", ""]


def reasons(judgement: Judgement, evidence: Evidence, page: str | None = None) -> list[str]:
    """Each effect with its interval, n and bar; the other population; stability; what stands beside.

    Args:
        page: the experiment on whose own page they stand, so that they need not lead there; None on the claims page.
    """
    claim, decision = judgement.claim, judgement.decision

    def link(experiment: str) -> str:
        return "" if experiment == page else f" ({{doc}}`{'' if page else 'experiments/'}{experiment}`)"

    lines = [
        f"- {named.words}: {_effect(one, named.part)}{link(named.experiment)}"
        for named, one in zip(judgement.named, decision.effects, strict=True)
    ]
    for experiment, name, words in claim.beside:
        for effect in evidence.effects(experiment, name).values():
            told = f"{in_words(student(effect.by_unit()))} {effect.of}, {_count(len(effect.values), effect.unit)}"
            lines += [f"- told beside, deciding nothing: {words}: {told}{link(experiment)}"]
    if judgement.other is not None:
        mine, theirs = (SECOND, FIRST) if claim.enough else (FIRST, SECOND)
        word = judgement.other.word
        if word is not decision.word:  # the plan: where the two populations differ, the page says so first
            lines.insert(0, f"- **It depends on the neurons**: of {theirs} it would say “{word.value}”.")
        values = "; ".join(in_words(one.corrected) for one in judgement.other.effects)
        lines += [f"- These are means over {mine}. Of {theirs}, in the same order: {values}."]
    return lines + _stability(decision)


def observed(observations: Sequence[Observation]) -> list[str]:
    """Questions with their answers, a line each."""
    return [f"- *{one.question}* {one.answer}" for one in observations]


def _effect(one: Judged, part: Deciding) -> str:
    text, corrected, effect = in_words(one.estimate), in_words(one.corrected), part.effect
    widened = "" if corrected == text else f", for several comparisons at once {corrected}"
    units = _count(one.units, effect.unit) + (f" ({one.undefined} undefined)" if one.undefined else "")
    behind = f", n = {number(effect.n, 0)}" if effect.n != len(effect.values) else ""
    return (
        f"{text}{widened} {effect.of}; {units}{behind}, {effect.split}; "
        f"matters from {part.delta:g} on: **{one.word.value}**"
    )


def in_words(estimate: Estimate) -> str:
    """A value with its interval, with as many places as show two figures of a small one, and at least two."""
    value, (low, high) = estimate
    if math.isnan(value):
        return "–"
    digits = min(6, max(2, 1 - math.floor(math.log10(abs(value))))) if value else 2
    return number(value, digits) if math.isnan(low) else with_interval(value, low, high, digits)


def _stability(decision: Decision[Judged]) -> list[str]:
    if math.isnan(decision.stability):
        return []
    same = round(decision.stability * decision.left_out)
    text = f"- With one thing left out, {same} of {decision.left_out} analyses say “{decision.before.value}”"
    return [f"{text}, too few to say so." if decision.word is not decision.before else f"{text}."]


def _count(units: int, unit: str) -> str:
    return f"{units:,} {unit}{'' if units == 1 else 's'}"
