"""Two ways to do the same, timed in turns; a slow one on a stated part of the work, and scaled."""

import gc
import resource
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RUNS = 5
TURN = 1.0
"""Seconds that a turn lasts at least: what is shorter is done again and again, as training does its steps."""
WIDTH = 76
"""Of the column with a row's work."""


@dataclass
class Row:
    """One line of the table.

    Attributes:
        suite, work: what is timed, and its size.
        peer: whose time stands beside ours; empty where there is none.
        ours, theirs: seconds of each run, in turns; scaled ones are already those of the whole work.
        wanted: the ratio that was set as a goal, or None.
        note: how the peer was scaled, and whatever else a reader must know.
        facts: other numbers, such as bytes, and what its floor is worked out from (``floors.facts``).
        unit: of ours and theirs: s, or GiB.
    """

    suite: str
    work: str
    ours: list[float]
    peer: str = ""
    theirs: list[float] = field(default_factory=list)
    wanted: float | None = None
    note: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    unit: str = "s"

    @property
    def ratios(self) -> list[float]:
        """Theirs over ours, run by run."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    def as_dict(self) -> dict[str, Any]:
        found = asdict(self) | {"ours_median": statistics.median(self.ours)}
        if self.theirs:
            ratios = sorted(self.ratios)
            found |= {"theirs_median": statistics.median(self.theirs), "ratio": statistics.median(ratios),
                      "ratio_low": ratios[0], "ratio_high": ratios[-1]}  # fmt: skip
        return found

    def __str__(self) -> str:
        median = statistics.median(self.ours)
        ours = f"{self.work:<{WIDTH}} {amount(median, self.unit):>9}"
        if floor := self.facts.get("floor_seconds"):
            ours += f" (floor {seconds(floor)}, {median / floor:.1f} ×)"
        if not self.theirs:
            return ours
        ratios = sorted(self.ratios)
        goal = "" if self.wanted is None else f"   wanted {self.wanted:g}"
        theirs = amount(statistics.median(self.theirs), self.unit)
        return (
            f"{ours}   {self.peer} {theirs}: × {statistics.median(ratios):.1f} "
            f"[{ratios[0]:.1f}, {ratios[-1]:.1f}]{goal}"
        )


def amount(value: float, unit: str) -> str:
    return seconds(value) if unit == "s" else f"{value:.3g} {unit}"


def seconds(value: float) -> str:
    """``0.28 s``, ``4.1 ms``."""
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"


def timed(work: Callable[[], Any], least: float = 0.0) -> float:
    """Seconds of ``work``: the mean of as many in a row as it takes to fill ``least`` seconds."""
    gc.collect()
    started, times, passed = time.perf_counter(), 0, 0.0
    while not times or passed < least:
        work()
        times, passed = times + 1, time.perf_counter() - started
    return passed / times


def peak_gib(work: Callable[[], Any]) -> float:
    """How much more memory than before the process holds at its fullest while it works, in GiB, seen every 2 ms."""
    held = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()  # noqa: E731
    before, most, done = held(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.002):
            most = max(most, held())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return max(0, most - before) / 2**30


def side_by_side(
    ours: Callable[[], Any], theirs: Callable[[], Any] | None = None, *, runs: int = RUNS, scale: float = 1.0
) -> tuple[list[float], list[float]]:
    """Seconds of both in turns, after one run of each that does not count; theirs times ``scale``."""
    ours()
    if theirs is not None:
        theirs()
    mine, other = [], []
    for _ in range(runs):
        mine.append(timed(ours, TURN))
        if theirs is not None:
            other.append(scale * timed(theirs, TURN))
    return mine, other
