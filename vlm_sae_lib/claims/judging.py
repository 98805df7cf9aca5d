"""From a claim to its word: its effects, looked up in the results and put to the plan's rule."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlm_sae_lib.claims.claim import By, Claim
from vlm_sae_lib.claims.evidence import Evidence
from vlm_sae_lib.claims.paper import CLAIMS
from vlm_sae_lib.claims.rule import Deciding, Decision, decide
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.records.effects import ENOUGH


@dataclass(frozen=True)
class Judgement:
    """A claim with its word, and what the other population would have given.

    Attributes:
        named, parts, experiments: the words of each effect of ``decision``, the effect, and who measured it.
        other: the decision on the other population; None where the claim has one population only.
    """

    claim: Claim
    verdict: Verdict
    decision: Decision
    named: tuple[str, ...]
    parts: tuple[Deciding, ...]
    experiments: tuple[str, ...]
    other: Decision | None


def judge(claim: Claim, evidence: Evidence) -> Judgement:
    """The word of a claim by the plan."""
    first, second = (ENOUGH, "") if claim.enough else ("", ENOUGH)
    ours = [part for by in claim.decided_by for part in _parts(by, evidence, first)]
    on_other = [_parts(by, evidence, second) for by in claim.decided_by]
    # what has one population only, such as R², counts in both
    theirs = [part for by, parts in zip(claim.decided_by, on_other, strict=True)
              for part in parts or _parts(by, evidence, first)]  # fmt: skip
    decision = decide([part for _, part, _ in ours])
    verdict = decision.word if claim.made else Verdict.NO_SUCH_CLAIM
    named, parts, experiments = map(tuple, zip(*ours, strict=True)) if ours else ((), (), ())
    other = decide([part for _, part, _ in theirs]) if any(on_other) else None
    return Judgement(claim, verdict, decision, named, parts, experiments, other)


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


def _parts(by: By, evidence: Evidence, ending: str) -> list[tuple[str, Deciding, str]]:
    """Words, effect and experiment of each effect that one line of a claim names, on one population."""
    found = []
    for name, effect in evidence.effects(by.experiment, by.effect, ending).items():
        case = name.removesuffix(ending).removeprefix(by.effect.removesuffix("*")) if "*" in by.effect else ""
        part = Deciding(effect, by.delta, tower=case.partition(" by ")[0])
        found.append((f"{by.words}, {case}" if case else by.words, part, by.experiment))
    return found
