"""What the tests of faults count: a test says ``tried("settings")``, the end of the run prints the sums.

A fault that could not be tried here, as a full disk where none may be mounted, is a skip: it is counted as not tested.
"""

import os
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from vlm_sae_lib.files import read_json, write_json
from vlm_sae_lib.records.made_by import machine

TRIED, NOT_TRIED = Counter(), []
FIGURE = "tried "
FIGURES = "FAULT_FIGURES"
"""The environment's name for a file that gets the sums as JSON, for the page that tells what is promised."""

OPEN = read_json(Path(__file__).with_name("open_numbers.json"))
"""Faults that are known and not yet mended, as the mend makes every published result anew: test, and which of it."""
KNOWN = sum(map(len, OPEN.values()))


@pytest.fixture
def tried(record_property) -> Callable[..., None]:
    """``tried("settings", 12)``: so many more of these; it reaches the sums from any worker."""
    return lambda what, number=1: record_property(FIGURE + what, number)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if "tests/faults/" not in report.nodeid:
        return
    if report.when == "call" and report.passed:
        for name, value in report.user_properties:
            if name.startswith(FIGURE):
                TRIED[name.removeprefix(FIGURE)] += value
    elif report.skipped:
        NOT_TRIED.append(report.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not TRIED and not NOT_TRIED:
        return
    terminalreporter.section("faults")
    for what, number in sorted(TRIED.items()):
        terminalreporter.line(f"{number:>9,}  {what}")
    terminalreporter.line(
        f"{len(NOT_TRIED):>9,}  not tested here" + "".join(f"\n           {one}" for one in NOT_TRIED)
    )
    terminalreporter.line(f"{KNOWN:>9,}  known and still open: open_numbers.json")
    if path := os.environ.get(FIGURES):
        told = {"date": date.today().isoformat(), "machine": machine(), "tried": dict(sorted(TRIED.items())),
                "not tested": sorted(NOT_TRIED), "known and open": KNOWN,
                "failed": len(terminalreporter.stats.get("failed", []))}  # fmt: skip
        write_json(path, told)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    known = {item for item in items if is_open(item)}
    config.hook.pytest_deselected(items=list(known))
    items[:] = [item for item in items if item not in known]


def is_open(item: pytest.Item) -> bool:
    if not item.path.name.startswith("test_numbers"):
        return False
    which = item.callspec.id if hasattr(item, "callspec") else ""
    ids = OPEN.get(item.originalname.removesuffix("_now_and_then"), [])
    return which.removesuffix("-arrays").removesuffix("-tensors") in ids
