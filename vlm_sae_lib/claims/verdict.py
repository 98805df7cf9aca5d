"""The words for a claim (book/analysis_plan.md), an observation that has none, and numbers as a reader wants them."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from vlm_sae_lib.records.results import Results


class Verdict(Enum):
    """What the measurements say of a claim."""

    HOLDS = "holds"
    REVERSED = "reversed"
    FAILS = "does not hold"
    UNDECIDED = "undecided"
    UNTESTED = "cannot be tested here"
    NO_SUCH_CLAIM = "no such claim was made"


@dataclass(frozen=True)
class Observation:
    """A question beside the plan and what the results answer, in numbers; it carries no verdict.

    Attributes:
        question: one sentence.
        answer: one or two sentences with the numbers.
        rests_on: names of the results behind it.
    """

    question: str
    answer: str
    rests_on: tuple[str, ...]


def said(results: Results, name: str, digits: int = 2) -> str:
    """A result in words: ``0.52 [0.49, 0.55]``; a dash where it is not defined."""
    row = results.results[name]
    return with_interval(row["value"], row["ci_low"], row["ci_high"], digits)


def apart(results: Results, name: str, digits: int = 2) -> str:
    """A difference in words: ``0.14 [0.11, 0.16] above``, or with its sign turned ``… below``; a dash if undefined."""
    row = results.results[name]
    value, low, high = row["value"], row["ci_low"], row["ci_high"]
    if value is None or value >= 0:
        return with_interval(value, low, high, digits) + (" above" if value is not None else "")
    low, high = (None, None) if low is None else (-high, -low)
    return with_interval(-value, low, high, digits) + " below"


def with_interval(value: Any, low: Any, high: Any, digits: int = 2) -> str:
    """A value with its interval, where it has one."""
    text = number(value, digits)
    return text if low is None else f"{text} [{number(low, digits)}, {number(high, digits)}]"


def clearly_above(results: Results, name: str, bar: float = 0.0) -> bool:
    """The whole interval lies above a bar; false where there is no interval."""
    low = results.results[name]["ci_low"]
    return low is not None and low > bar


def clearly_below(results: Results, name: str, bar: float = 0.0) -> bool:
    """The whole interval lies below a bar; false where there is no interval."""
    high = results.results[name]["ci_high"]
    return high is not None and high < bar


def counted(results: Results, names: tuple[str, ...] | list[str]) -> str:
    """How many of some differences have their whole interval on one side of zero, and how many on the other."""
    above, below = (sum(side(results, name) for name in names) for side in (clearly_above, clearly_below))
    return f"{above} of {len(names)} lie above zero with their whole interval, {below} below"


def number(value: Any, digits: int) -> str:
    """A number as a reader expects it: thousands apart in a count, a real minus, a dash for what is not defined."""
    if value is None:
        return "–"
    if isinstance(value, list):
        return ", ".join(number(item, digits) for item in value)
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if not float(text) else text.replace("-", "−")
