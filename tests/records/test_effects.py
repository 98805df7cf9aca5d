"""Effects by unit: what is kept of them on disk, their parts, and what can be left out."""

import json

import numpy as np
import pytest

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.records.effects import Effect

CASES = ("block_0/clip", "block_0/self-supervised", "block_1/clip", "block_1/self-supervised")
BASIS = {"unit": "training", "of": "MS", "n": 40, "split": "test"}


def effect(values, cases=CASES):
    return Effect(np.asarray(values), "training", cases, "MS", 40, "test")


@pytest.fixture
def two():
    return effect([[0.1, 0.2, 0.3, 0.4], [0.5, np.nan, 0.7, 0.8]])


def test_an_effect_comes_back_as_it_was_written(two, tmp_path, monkeypatch):
    found = Findings("layers", "pocket")
    found.effect("gain", two.values, cases=CASES, seeds=[0, 1], **BASIS)
    found.effect("alone", [1.0, np.nan, 3.0], **BASIS | {"unit": "latent"})
    monkeypatch.setenv("VLM_SAE_RUNS", str(tmp_path))
    again = Findings.read(found.write())
    assert set(again.effects) == {"gain", "alone"}
    np.testing.assert_array_equal(again.effects["gain"].values, two.values)
    assert again.effects["gain"].cases == CASES and again.effects["gain"].as_dict() == two.as_dict()
    assert again.effects["alone"].values.shape == (3, 1) and again.effects["alone"].cases == ("",)
    assert again.effects["alone"].unit == "latent" and again.effects["alone"].n == 40
    assert "NaN" not in json.dumps(two.as_dict())


def test_its_result_is_the_mean_over_units_with_students_interval():
    found = Findings("layers", "pocket")
    found.effect("gain", [[1.0, 2.0], [2.0, 3.0], [6.0, 1.0]], cases=("a", "b"), **BASIS)
    row = found.results["effect/gain"]
    means = np.array([1.5, 2.5, 3.5])
    half = 4.302653 * means.std(ddof=1) / np.sqrt(3)  # t of two degrees of freedom
    assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx((2.5, 2.5 - half, 2.5 + half), rel=1e-4)
    assert (row["unit"], row["n"], row["split"]) == ("MS", 40, "test")
    assert "Student's t over 3 trainings" in str(row)


def test_a_unit_with_an_undefined_case_is_undefined(two):
    assert two.by_unit()[0] == pytest.approx(0.25) and np.isnan(two.by_unit()[1])
    np.testing.assert_allclose(two.without(1, "self-supervised").by_unit(), [0.2, 0.6])


def test_every_part_of_a_case_and_every_unit_can_be_left_out(two):
    assert two.parts() == [(0, "block_0"), (0, "block_1"), (1, "clip"), (1, "self-supervised")]
    assert two.without(0, "block_0").cases == ("block_1/clip", "block_1/self-supervised")
    assert effect([[1.0, 2.0]], ("block_0/clip", "block_1/clip")).parts() == [(0, "block_0"), (0, "block_1")]
    assert effect([[1.0]], ("",)).parts() == []
    less = two.without_unit(1)
    np.testing.assert_array_equal(less.values, two.values[:1])
    assert less.cases == CASES and (less.unit, less.of, less.n, less.split) == ("training", "MS", 40, "test")


@pytest.mark.parametrize(("values", "cases"), [([1.0, 2.0], ("",)), ([[1.0, 2.0]], ("a",)), (np.empty((2, 0)), ())])
def test_values_need_a_column_for_each_case(values, cases):
    with pytest.raises(UserError, match="a column for each"):
        effect(values, cases)


def test_an_effect_without_units_is_kept_and_undefined():
    empty = effect(np.empty((0, 1)), ("",))
    assert Effect.from_dict(empty.as_dict()).values.shape == (0, 1) and len(empty.by_unit()) == 0
