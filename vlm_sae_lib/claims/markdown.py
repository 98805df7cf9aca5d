"""Judgements and observations as Markdown lines, for the pages."""

import math
from collections.abc import Iterator, Sequence

from vlm_sae_lib.claims.claim import Claim
from vlm_sae_lib.claims.counting import behind, n_and_what, what_n_counts
from vlm_sae_lib.claims.evidence import Evidence
from vlm_sae_lib.claims.judging import Judgement, Named
from vlm_sae_lib.claims.rule import Decision, Judged
from vlm_sae_lib.claims.verdict import Verdict, number, with_interval
from vlm_sae_lib.statistics.intervals import Estimate, Interval, student

CARDS = {
    Verdict.HOLDS: "tip", Verdict.REVERSED: "danger", Verdict.FAILS: "warning", Verdict.UNDECIDED: "note",
    Verdict.UNTESTED: "seealso", Verdict.NO_SUCH_CLAIM: "attention",
}  # fmt: skip
ONE_TRAINING = ("latent", "concept", "picture")
"""Units within one autoencoder: an interval over them says nothing of another training."""
MANY = 100
"""Units of which one left out can hardly change a word."""


def card(judgement: Judgement, evidence: Evidence, *, islands: Sequence[str] = (), tally: str = "") -> list[str]:
    """One claim with its word in the head, who makes it, and what decides it.

    Args:
        islands: what became of it on several islands (``island_markdown``), before the details.
        tally: on how many it holds, for the head; empty where it was asked on this one alone.
    """
    claim, word = judgement.claim, judgement.verdict.value
    if tally:
        word = f"{here(word)}, {tally}"
    if judgement.other is not None and judgement.other.word is not judgement.decision.word:
        word = f"{word} ({_whom(claim)[1]}: {judgement.other.word.value})"
    lines = [f":::{{admonition}} {claim.text} — {word}", f":class: {CARDS[judgement.verdict]}", ""]
    lines += [f"*Claimed in* {claim.where}. *The paper's evidence*: {claim.evidence}", "", *islands]
    return [*lines, *reasons(judgement, evidence), "", *([claim.remark, ""] if claim.remark else []), ":::", ""]


def here(word: str) -> str:
    """A word with the place that it is about: *holds here*; "cannot be tested here" has it already."""
    return word if word.endswith("here") else f"{word} here"


def reasons(judgement: Judgement, evidence: Evidence, page: str | None = None) -> list[str]:
    """Each effect with its interval, n and bar; the other population; stability; what stands beside.

    Args:
        page: the experiment on whose own page they stand, so that they need not lead there; None on the claims page.
    """
    claim, decision = judgement.claim, judgement.decision

    def link(experiment: str) -> str:
        return "" if experiment == page else f" ({{doc}}`{'' if page else 'experiments/'}{experiment}`)"

    several = len(decision.effects) > 1
    lines = [
        f"- {named.words}: {_effect(one, named, several)}{link(named.experiment)}"
        for named, one in zip(judgement.named, decision.effects, strict=True)
    ]
    for experiment, name, words in claim.beside:
        lines += [f"- *Beside it, deciding nothing*: {words}, {told}{link(experiment)}."
                  for told in _beside(evidence, experiment, name)]  # fmt: skip
    for unit in sorted({one.part.effect.unit for one in judgement.named} & set(ONE_TRAINING)):
        lines += [f"- *One autoencoder* stands behind it: an interval over {unit}s says nothing of another training."]
    if judgement.other is not None:
        mine, theirs = _whom(claim)
        word = judgement.other.word
        if word is not decision.word:  # the plan: where the two populations differ, the page says so first
            lines.insert(0, f"- **It depends on the neurons**: of {theirs} it would say “{word.value}”.")
        pairs = zip(judgement.other.effects, judgement.others, strict=True)
        values = "; ".join(f"{_widened(one, several)} (n = {_behind(named)})" for one, named in pairs)
        lines += [f"- All this is about {mine}. Of {theirs}, in the same order: {values}."]
    return lines + _stability(decision, judgement)


def _whom(claim: Claim) -> tuple[str, str]:
    """The population that decides a claim, and the other."""
    return claim.whom[::-1] if claim.enough else claim.whom


def _beside(evidence: Evidence, experiment: str, name: str) -> Iterator[str]:
    """An effect, or all that begin so, or else a result of that name: value, interval, quantity and n."""
    effects = evidence.effects(experiment, name)
    for effect in effects.values():
        yield f"{in_words(student(effect.by_unit()))} {effect.of}, {_count(len(effect.values), effect.unit)}"
    if not effects:
        found = evidence.findings(experiment)
        row = found.results[name]
        low, high = (math.nan if row[end] is None else row[end] for end in ("ci_low", "ci_high"))
        told = f"{in_words(Estimate(row['value'], Interval(low, high)))} {row['unit'] or ''}".rstrip()
        yield f"{told}, n = {' '.join(n_and_what(found, experiment, name))}"


def observed(evidence: Evidence, experiment: str) -> list[str]:
    """What an experiment shows beside the plan: questions with their answers and the n behind them, a line each."""
    found = evidence.findings(experiment)
    return [
        f"- *{one.question}* {one.answer}" + (f" (n: {n}.)" if (n := behind(found, experiment, one.rests_on)) else "")
        for one in evidence.observations(experiment)
    ]


def _effect(one: Judged, named: Named, several: bool) -> str:
    part, effect = named.part, named.part.effect
    units = _count(one.units, effect.unit) + (f" ({one.undefined} undefined)" if one.undefined else "")
    behind = f", n = {_behind(named)}" if effect.n != len(effect.values) else ""
    return (
        f"{_widened(one, several)} {effect.of} ({units}{behind}, {effect.split}); {part.delta:g} or more would matter: "
        f"**{one.word.value}**{_smaller(one, part.delta)}"
    )


def _behind(named: Named) -> str:
    """The n of an effect, and what it counts."""
    return f"{number(named.part.effect.n, 0)} {what_n_counts(named.experiment, f'effect/{named.name}')}"


def _widened(one: Judged, several: bool) -> str:
    """A value with its interval; and with the one that was widened because several decide, where that looks wider."""
    text, wider = in_words(one.estimate), in_words(one.corrected)
    return f"{text}, for several comparisons at once {wider}" if several and wider != text else text


def _smaller(one: Judged, delta: float) -> str:
    """Of an effect too small to matter: on which side of zero it lies."""
    if one.word is not Verdict.FAILS:
        return ""
    _, (low, high) = one.corrected
    if low > 0:
        return " (there is one, but a smaller one)"
    return " (it lies on the other side)" if high < 0 else f" (one of {delta:g} is excluded; a smaller one is not)"


def in_words(estimate: Estimate) -> str:
    """A value with its interval, with as many places as show two figures of a small one, and at least two."""
    value, (low, high) = estimate
    if math.isnan(value):
        return "–"
    digits = min(6, max(2, 1 - math.floor(math.log10(abs(value))))) if value else 2
    return number(value, digits) if math.isnan(low) else with_interval(value, low, high, digits)


def _stability(decision: Decision[Judged], judgement: Judgement) -> list[str]:
    if math.isnan(decision.stability):
        return []
    same = round(decision.stability * decision.left_out)
    units = " or ".join(sorted({one.part.effect.unit for one in judgement.named}))
    places = any(one.part.effect.parts() for one in judgement.named)
    left_out = f"{units}, layer, encoder or tower" if places else units
    text = f"- With one {left_out} left out, {same} of {decision.left_out} analyses say “{decision.before.value}”"
    few = "; of so many a single one never weighs much" if decision.left_out > MANY else ""
    return [f"{text}, too few to say so." if decision.word is not decision.before else f"{text}{few}."]


def _count(units: int, unit: str) -> str:
    return f"{units:,} {unit}{'' if units == 1 else 's'}"
