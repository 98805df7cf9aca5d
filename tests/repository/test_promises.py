"""The page of promises: every figure is that of the last run, every file it names is there, and none is forgotten."""

import re

import pytest
from book_extensions import extension

from vlm_sae_lib import paths
from vlm_sae_lib.files import read_json

PAGE = (paths.root() / "book" / "promises.md").read_text(encoding="utf-8")
FIGURES = read_json(paths.data() / "faults.json")
promises = extension("promises")


def named(role: str) -> set[str]:
    return set(re.findall(rf"\{{{role}\}}`([^`]+)`", PAGE))


def test_every_file_of_faults_holds_a_promise_and_every_file_named_is_there():
    files = {f"faults/{path.name}" for path in (paths.root() / "tests" / "faults").glob("test_*.py")}
    assert files <= named("held-by")
    assert all((paths.root() / "tests" / name).is_file() for name in named("held-by"))


def test_every_kind_of_fault_that_was_tried_is_on_the_page_and_no_other():
    assert named("tried") == set(FIGURES["tried"])


def test_the_figures_are_those_of_a_whole_run_without_a_failure():
    assert FIGURES["failed"] == 0 and min(FIGURES["tried"].values()) > 0


def test_figures_are_told_with_their_day_and_machine_and_with_what_was_not_tried():
    found = {"date": "2026-01-02", "machine": {"processor": "P", "instructions": "AVX2", "system": "Linux x86_64"},
             "tried": {"pictures": 1234}, "not tested": [], "failed": 0}  # fmt: skip
    assert promises.number_of("pictures", found) == "1,234"
    assert promises.when(found) == "Figures of 2026-01-02: P, AVX2, Linux x86_64. Nothing was left out."
    assert "Not tested there: `a::b`." in promises.when({**found, "not tested": ["a::b"]})
    assert "**2 tests failed.**" in promises.when({**found, "failed": 2})
    with pytest.raises(KeyError, match="'kills' was not tried; there are pictures"):
        promises.number_of("kills", found)


def test_what_other_instructions_change_is_counted():
    def row(value, low, high, verdict=None):
        return {"value": value, "ci_low": low, "ci_high": high, "verdict": verdict}

    here = {"01": {"a": row(1.0, 0.9, 1.1, "holds"), "b": row(2.0, 1.9, 2.1, "holds"), "c": row(3, None, None)}}
    there = {"instructions": "AVX2", "notebooks": {"01": {"results": {
        "a": [1.05, "holds"], "b": [2.2, "does not hold"], "c": [3, None]}}}}  # fmt: skip
    assert promises.elsewhere(there, here) == (
        "With AVX2: 2 of 3 numbers moved, 1 of them out of their published intervals; 1 of 2 verdicts are the same."
    )
