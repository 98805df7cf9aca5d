"""A card in a few sentences: where the SAE is ahead of all its rivals, and where one of them is ahead of it."""

from collections.abc import Sequence

from vlm_sae_lib.scorecard.card import Scorecard, Value
from vlm_sae_lib.scorecard.measures import Measure

COUNTED = (
    "Intervals are called apart where they do not touch. A rank counts who has a value: directions have no decoder, so "
    "that they rebuild nothing and nothing can be taken out with them. With only one training of each, none of this "
    "says how another training would come out."
)


def short(card: Scorecard) -> list[str]:
    """Sentences on the measures of which one way is better; nothing on those without an interval."""
    ahead, behind, between = [], [], []
    for measure in card.measures:
        own = card.subject.values[measure.name]
        theirs = [one for one in card.rivals if _interval(one.values.get(measure.name, Value()))]
        if measure.better == "neither" or not _interval(own) or not theirs:
            continue
        better = [one.name for one in theirs if _apart(measure, one.values[measure.name], own)]
        if better:
            behind.append(f"{measure.title} ({', '.join(better)})")
        elif all(_apart(measure, own, one.values[measure.name]) for one in theirs):
            ahead.append(measure.title)
        else:
            between.append(measure.title)
    return [
        f"Ahead of every rival, the intervals apart: {_list(ahead)}.",
        f"Behind a rival, the intervals apart: {_list(behind)}.",
        f"Neither: {_list(between)}.",
    ]


def _apart(measure: Measure, better: Value, worse: Value) -> bool:
    """Whether one value is the better one with its whole interval."""
    (low, high), (other_low, other_high) = _ends(better), _ends(worse)
    return low > other_high if measure.better == "higher" else high < other_low


def _ends(value: Value) -> tuple[float, float]:
    assert value.low is not None and value.high is not None
    return value.low, value.high


def _interval(value: Value) -> bool:
    return value.low is not None and value.high is not None


def _list(names: Sequence[str]) -> str:
    return "; ".join(names) or "nowhere"

