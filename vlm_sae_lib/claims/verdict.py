"""The four verdicts, and a conclusion that carries one with the numbers it rests on."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from vlm_sae_lib.records.results import Results


class Verdict(Enum):
    """What a measurement says of a claim."""

    HOLDS = "holds here"
    IN_PART = "holds in part"
    FAILS = "does not hold here"
    UNTESTED = "cannot be tested here"

    @classmethod
    def of(cls, *parts: bool) -> "Verdict":
        """All of a claim's parts hold, some, or none."""
        if not parts:
            return cls.UNTESTED
        return cls.HOLDS if all(parts) else cls.IN_PART if any(parts) else cls.FAILS


@dataclass(frozen=True)
class Conclusion:
    """One line below an experiment: what was asked, the verdict, and why, with the names of the results behind it."""

    claim: str
    verdict: Verdict
    because: str
    rests_on: tuple[str, ...]


def said(results: Results, name: str, digits: int = 2) -> str:
    """A result in words: ``0.52 [0.49, 0.55]``; a dash where it is not defined."""
    row = results.results[name]
    value, low, high = (number(row[key], digits) for key in ("value", "ci_low", "ci_high"))
    return value if row["ci_low"] is None else f"{value} [{low}, {high}]"


def clearly_above(results: Results, name: str, bar: float = 0.0) -> bool:
    """The whole interval lies above a bar; false where there is no interval."""
    low = results.results[name]["ci_low"]
    return low is not None and low > bar


def clearly_below(results: Results, name: str, bar: float = 0.0) -> bool:
    """The whole interval lies below a bar; false where there is no interval."""
    high = results.results[name]["ci_high"]
    return high is not None and high < bar


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
    return f"{value:.{digits}f}".replace("-", "−")
