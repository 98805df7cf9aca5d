"""Numbers in words: rounded, with their interval, or a dash."""

import math


def number(value: float | None, digits: int = 3) -> str:
    """A number for a sentence or table; a dash where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.{digits}f}"


def with_interval(value: float, low: float | None, high: float | None, digits: int = 3) -> str:
    """``0.52 [0.49, 0.55]``."""
    if low is None or high is None or math.isnan(low):
        return number(value, digits)
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"
