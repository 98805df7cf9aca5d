"""On a processor with other instructions numbers move, and what the notebooks conclude does not.

Held by results that were saved from a run without the wide instructions; ``results_elsewhere`` says how to make them.
"""

import pytest
from results_elsewhere import FILE

from vlm_sae_lib import paths
from vlm_sae_lib.files import read_json

ELSEWHERE = read_json(FILE)["notebooks"]
HERE = {name: read_json(paths.published_results() / f"{name}.json") for name in ELSEWHERE}
OUTSIDE = 0.01
"""The share of numbers that may lie outside their published interval: these say nothing about rounding."""


def moved() -> list[tuple[str, float, dict]]:
    """(name, value there, published entry) of each number that is another one there."""
    return [(f"{notebook}/{name}", there, HERE[notebook]["results"][name])
            for notebook, found in ELSEWHERE.items() for name, (there, _) in found["results"].items()
            if there != HERE[notebook]["results"][name]["value"]]  # fmt: skip


@pytest.mark.parametrize("notebook", ELSEWHERE)
def test_both_were_made_from_the_same(notebook):
    here, there = HERE[notebook], ELSEWHERE[notebook]
    assert there["inputs"] == here["inputs"], "published anew since: make the results of elsewhere anew, too"
    assert there["results"].keys() == here["results"].keys()


def test_all_notebooks_are_compared_and_many_numbers_moved():
    assert len(ELSEWHERE) == len(list(paths.notebooks().glob("0*.ipynb")))
    assert len(moved()) > 50, "the same bytes everywhere: nothing was tried"


@pytest.mark.parametrize("notebook", ELSEWHERE)
def test_no_verdict_is_another_one(notebook):
    there = {name: verdict for name, (_, verdict) in ELSEWHERE[notebook]["results"].items()}
    assert there == {name: row["verdict"] for name, row in HERE[notebook]["results"].items()}


def test_all_but_a_few_numbers_lie_within_their_published_intervals():
    judged = [(name, there, row) for name, there, row in moved() if row["ci_low"] is not None]
    outside = [name for name, there, row in judged if there is None or not row["ci_low"] <= there <= row["ci_high"]]
    intervals = sum(row["ci_low"] is not None for found in HERE.values() for row in found["results"].values())
    assert len(outside) <= OUTSIDE * intervals, outside
