"""Settings given by hand: how they are written, and that one of the wrong type or range is refused by name."""

import argparse
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pytest

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.overrides import Count, Misfit, Seed, Shares, fit, hold, in_words, option, parse_override, parse_value
from vlm_sae_lib.profiles import PROFILES, load_profile
from vlm_sae_lib.sae import SaeConfig


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("True", True), ("false", False), ("False", False), ("null", None), ("None", None), ("7", 7),
        ("-0.5", -0.5), ("1e-3", 0.001), ("[0.25, 0.75]", [0.25, 0.75]), ("(1, 2)", (1, 2)), ("[null]", [None]),
        ("{'k': 8}", {"k": 8}), ('{"k": false}', {"k": False}), ("text", "text"), ("'7'", "7"), ('"7"', "7"),
        ("", ""), ("[1, 2", "[1, 2"), ("[" * 100_000, "[" * 100_000), ("9" * 5000, "9" * 5000),
    ],
)  # fmt: skip
def test_a_value_is_read_as_json_or_python_write_it(text, value):
    read = parse_value(text)
    assert read == value and type(read) is type(value)


def test_an_override_is_a_name_and_a_value():
    assert parse_override("steps=7") == ("steps", 7)
    assert parse_override("name=a=b") == ("name", "a=b")
    for wrong in ("steps", "=7", "a b=7"):
        with pytest.raises(UserError, match="NAME=VALUE"):
            parse_override(wrong)


@pytest.mark.parametrize(
    ("value", "annotation", "becomes"),
    [
        (3, int, 3), (np.int64(3), int, 3), (4, float, 4), (np.float32(0.5), float, 0.5), (Fraction(1, 4), float, 0.25),
        (0.0, float, 0.0), (None, int | None, None), ("text", float | Literal["text"] | None, "text"),
        ([1, 2.5], tuple[float, ...], (1, 2.5)), (np.array([0.5, 0.5]), Shares, (0.5, 0.5)),
        ([["a", "b"]], tuple[tuple[str, str], ...], (("a", "b"),)), ({"k": []}, dict[str, Any], {"k": []}),
    ],
)  # fmt: skip
def test_a_value_that_fits_is_pythons_own(value, annotation, becomes):
    fitted = fit(value, annotation)
    assert fitted == becomes and type(fitted) is type(becomes)


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (True, int), (True, float), (3.0, int), ("3", int), (2**63, Count), (0, Count), (-1, Seed), (np.nan, float),
        (np.inf, float), (10**400, float), ("False", bool), (0, bool), (None, str), (0.5, Shares),
        ("ab", tuple[str, ...]), ([], tuple[float, ...]), ({0.5}, Shares), ([0.5, "0.5"], Shares), ([0.5, 0.4], Shares),
        ([np.nan, 1], Shares), (["a"], tuple[str, str]), (4.0, Literal[4, 8]), ({1: 2}, dict[str, Any]),
        ([1], dict[str, Any]), (3, SaeConfig),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused(value, annotation):
    with pytest.raises(Misfit):
        fit(value, annotation)
    assert in_words(annotation)


def test_what_is_asked_for_is_said_in_words():
    assert in_words(float | Literal["text", "code"] | None) == "a finite number, 'text' or 'code' or None"
    assert in_words(tuple[Count, ...]).startswith("a list of one or more, each of them a whole number of at least 1")
    assert in_words(tuple[str, int]) == "a list of 2: a string, a whole number"


def test_no_annotation_goes_unchecked():
    @dataclass(frozen=True)
    class Odd:
        value: bytes = b""

    with pytest.raises(NotImplementedError, match="bytes"):
        hold(Odd(), "Odd")


def test_an_option_is_held_to_its_annotation():
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--seed", type=option(Seed), default=0)
    assert parser.parse_args([]).seed == 0 and parser.parse_args(["--seed", "12"]).seed == 12
    for wrong in ("abc", "-1", "1.5", str(2**63)):
        with pytest.raises(argparse.ArgumentError, match=f"'{wrong}' must be a whole number of at least 0"):
            parser.parse_args(["--seed", wrong])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": "abc"}, "pocket's seed='abc' must be a whole number of at least 0"),
        ({"seed": 2**64}, "seed=18446744073709551616"),
        ({"steps": "60"}, "steps='60'"),
        ({"steps": 0}, "steps=0 must be a whole number of at least 1"),
        ({"lr": float("nan")}, "lr=nan must be a positive, finite number, 'text' or None"),
        ({"hook_points": "block_4"}, "hook_points='block_4' must be a list"),
        ({"hook_points": []}, r"hook_points=\[\] must be a list of one or more"),
        ({"scoring_towers": ["pocket"]}, "scoring_towers"),
        ({"kinds": ["batch_topk"]}, "kinds=.*'batch_top_k'"),
        ({"group_fractions": [0.5, 0.4]}, "sum to 1"),
        ({"shipped": "False"}, "shipped='False' must be True or False"),
        ({"vlm_bits": 5}, "vlm_bits=5 must be 4 or 8 or None"),
        ({"steering": 3}, "steering=3 must be a mapping"),
        ({"steering": {"concepts": 1.5}}, "steering study's concepts=1.5"),
        ({"steering": {"doses": []}}, "steering study's doses"),
        ({"steering": {"dozes": [1]}}, "The steering study has no setting 'dozes': .*doses"),
        ({"stepps": 3}, "A profile has no setting 'stepps': .*steps"),
    ],
)
def test_a_profile_refuses_what_makes_no_sense(changes, message):
    with pytest.raises(UserError, match=message) as refused:
        load_profile("pocket", **changes)
    assert "\n" not in str(refused.value)


def test_a_profile_takes_what_papermill_hands_on():
    profile = load_profile("pocket", hook_points=["block_4"], scoring_towers=[["one", "pocket"]], lr="text",
                           steering={"doses": [1, 2.5], "shown_pictures": 0})  # fmt: skip
    assert profile.hook_points == ("block_4",) and profile.scoring_towers == (("one", "pocket"),)
    assert profile.steering == replace(PROFILES["pocket"].steering, doses=(1, 2.5), shown_pictures=0)
    assert hash(profile) and load_profile("pocket") == PROFILES["pocket"]
    with pytest.raises(UserError, match="no profile 'huge'; the profiles are pocket"):
        load_profile("huge")
