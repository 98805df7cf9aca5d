"""What an experiment comes to in short: every experiment has it, and its words turn with the numbers."""

import copy

import pytest

from vlm_sae_lib.claims.evidence import Evidence
from vlm_sae_lib.claims.in_short import SHORT, beside, in_short
from vlm_sae_lib.experiments.registry import NAMES
from vlm_sae_lib.records.results import Results


def results(value, low, high):
    found, interval = Results("toy", "pocket"), None if low is None else (low, high)
    found.add("gain", value, interval=interval, interval_kind=interval and "toy")
    return found


@pytest.mark.parametrize(
    ("value", "low", "high", "told"),
    [
        (0.2, 0.1, 0.3, "0.20 [0.10, 0.30] above theirs"),
        (-0.2, -0.3, -0.1, "0.20 [0.10, 0.30] below theirs"),
        (0.2, -0.1, 0.5, "not to be told from theirs (a difference of 0.20 [−0.10, 0.50])"),
        (0.2, 0.0, 0.4, "not to be told from theirs (a difference of 0.20 [0.00, 0.40])"),
        (0.2, None, None, "not to be told from theirs (a difference of 0.20)"),
    ],
)
def test_above_and_below_follow_from_the_interval(value, low, high, told):
    assert beside(results(value, low, high), "gain", "theirs") == told


def test_every_experiment_has_it_in_the_books_order():
    assert tuple(SHORT) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_other_numbers_give_another_sentence(name):
    found = Evidence().findings(name)
    told = in_short(name, found)
    assert told.endswith(".") and "  " not in told and "None" not in told
    turned = copy.deepcopy(found)
    for row in turned.results.values():
        if isinstance(row["value"], float) and row["ci_low"] is not None:
            row |= {"value": -row["value"] - 1, "ci_low": -row["ci_high"] - 1, "ci_high": -row["ci_low"] - 1}
    assert in_short(name, turned) != told
