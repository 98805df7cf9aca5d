"""A claim: who makes it, and which effects decide it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class By:
    """An effect that decides a claim.

    Attributes:
        experiment: that measures it.
        effect: its name there; all that begin so where it ends in ``*``.
        delta: the smallest size that matters.
        words: what it is, for a reader.
        room: the effect there that says how large this one could be at most; empty where nothing bounds it.
    """

    experiment: str
    effect: str
    delta: float
    words: str
    room: str = ""


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        text: the claim, in our words.
        where: who makes it, and where.
        evidence: what the paper shows for it, with its tables and figures.
        decided_by: the effects that decide it; empty if none can.
        beside: (experiment, effect or result, words) of what is told beside them and decides nothing.
        enough: whether neurons of at least ten pictures decide, and not every defined neuron.
        whom: the two populations, in words.
        made: whether any version of the paper makes the claim.
        remark: what a reader should know before believing the verdict.
    """

    text: str
    where: str
    evidence: str
    decided_by: tuple[By, ...] = ()
    beside: tuple[tuple[str, str, str], ...] = ()
    enough: bool = False
    whom: tuple[str, str] = ("every neuron whose score is defined", "neurons active on at least ten pictures")
    made: bool = True
    remark: str = ""
