"""What the tests of faults count: a test says ``tried("settings")``, the end of the run prints the sums.

A fault that could not be tried here, as a full disk where none may be mounted, is a skip: it is counted as not tested.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date

import pytest
import torch

from vlm_sae_lib.files import write_json
from vlm_sae_lib.records.made_by import machine

TRIED, NOT_TRIED = Counter(), []
FIGURE = "tried "
FIGURES = "FAULT_FIGURES"
"""The environment's name for a file that gets the sums as JSON, for the page that tells what is promised."""


@pytest.fixture
def tried(record_property) -> Callable[..., None]:
    """``tried("settings", 12)``: so many more of these; it reaches the sums from any worker."""
    return lambda what, number=1: record_property(FIGURE + what, number)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """A fork of a process with more of torch's threads waits for ever."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if "tests/faults/" not in report.nodeid:
        return
    if report.when == "call" and report.passed:
        for name, value in report.user_properties:
            if name.startswith(FIGURE):
                TRIED[name.removeprefix(FIGURE)] += value
    elif report.skipped:
        NOT_TRIED.append(report.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    if not TRIED and not NOT_TRIED:
        return
    terminalreporter.section("faults")
    for what, number in sorted(TRIED.items()):
        terminalreporter.line(f"{number:>9,}  {what}")
    terminalreporter.line(
        f"{len(NOT_TRIED):>9,}  not tested here" + "".join(f"\n           {one}" for one in NOT_TRIED)
    )
    path = os.environ.get(FIGURES)
    if path and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):  # else it was broken off
        failed = sum(len(terminalreporter.stats.get(kind, [])) for kind in ("failed", "error"))
        told = {"date": date.today().isoformat(), "machine": machine(), "tried": dict(sorted(TRIED.items())),
                "not tested": sorted(NOT_TRIED), "failed": failed}  # fmt: skip
        write_json(path, told)
