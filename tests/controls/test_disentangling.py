"""Cause and isolation against the slow definition, and at the edges."""

import numpy as np
import oracles
import pandas as pd
import pytest

from vlm_sae_lib.controls.disentangling import BOTH, CAUSE, ISOLATION, answers, cause_and_isolation, entailed
from vlm_sae_lib.scores.absorption import value_names
from vlm_sae_lib.scores.detectors import truth_table

FACTORS = ("kingdom", "class", "colour")


def facts(n, seed):
    rng = np.random.default_rng(seed)
    class_ = rng.choice(["bird", "fish", "moss"], n)
    return pd.DataFrame({"class": class_, "kingdom": np.where(class_ == "moss", "plant", "animal"),
                         "colour": rng.choice(["red", "blue"], n)})  # fmt: skip


def said(table, names, answered):
    """Words of answers by factor, one dictionary for each picture."""
    words = {factor: names["value"].to_numpy()[rows] for factor, rows in answered.items()}
    return [{factor: words[factor][i] for factor in words} for i in range(len(table))]


def test_a_bird_entails_an_animal_and_not_the_other_way_round():
    table = facts(50, 0)
    names = value_names(table, FACTORS)
    place = {value: i for i, value in enumerate(names["value"])}
    entails = entailed(table, names)
    assert entails[place["bird"], place["animal"]] and entails[place["moss"], place["plant"]]
    assert entails[place["plant"], place["moss"]]  # there is no other plant
    assert not entails[place["animal"], place["bird"]] and not entails[place["red"], place["bird"]]
    unknown = pd.concat([names, pd.DataFrame({"factor": ["class"], "value": ["worm"]})], ignore_index=True)
    assert not entailed(table, unknown)[-1].any()


@pytest.mark.parametrize("seed", range(3))
def test_both_numbers_are_those_of_the_slow_definition(seed):
    rng = np.random.default_rng(seed)
    known, table = facts(80, seed), facts(60, seed + 10)
    names = value_names(known, FACTORS)
    truth = truth_table(table, names)
    readings = truth + rng.normal(0, 0.6, truth.shape)
    before = answers(readings, names)
    after = {factor: answers(readings + rng.normal(0, 0.6, truth.shape), names) for factor in FACTORS}
    found = cause_and_isolation(before, after, truth, names, entailed(known, names), resamples=3)
    plain, others = table.to_dict("records"), known.to_dict("records")
    for row, (factor, value) in enumerate(zip(names["factor"], names["value"], strict=True)):
        now = said(table, names, after[factor])
        cause, isolation = oracles.cause_and_isolation(said(table, names, before), now, plain, others, factor, value)
        assert found.scores[CAUSE][row] == pytest.approx(cause)
        assert found.scores[ISOLATION][row] == pytest.approx(isolation)
        assert found.scores[BOTH][row] == pytest.approx((cause + isolation) / 2)
    assert found.draws[CAUSE].shape == (3, len(names)) and not (found.draws[CAUSE] == found.scores[CAUSE]).all()


def test_a_value_that_was_never_said_rightly_is_undefined_and_nothing_done_isolates_wholly():
    table = facts(40, 1)
    names = value_names(table, FACTORS)
    truth = truth_table(table, names)
    before = answers(truth * 1.0, names)
    before["colour"] = np.full(len(table), int(np.flatnonzero(names["value"] == "red")[0]))
    found = cause_and_isolation(before, {factor: before for factor in FACTORS}, truth, names, entailed(table, names))
    blue = (names["value"] == "blue").to_numpy()
    assert np.isnan(found.scores[CAUSE][blue]).all() and (found.scores[CAUSE][~blue] == 0).all()
    assert (found.scores[ISOLATION][~blue] == 1).all()
