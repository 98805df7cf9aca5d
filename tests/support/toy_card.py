"""Scorecards of made-up values, without anything measured."""

from vlm_sae_lib.scorecard.card import Scorecard, Scores, Value
from vlm_sae_lib.scorecard.measures import NAMES

PLACE = {"tower": "pocket", "weights_hash": "a" * 64, "hook_point": "block_5", "tokens": "cls"}
PICTURES = {"train": "pocket:9:1", "choosing": "pocket:9:2", "test": "pocket:9:3", "n": 9}


def scores(name, value, **values):
    every = dict.fromkeys(NAMES, Value(value, value - 0.1, value + 0.1, 9) if value is not None else Value(why="None."))
    return Scores(name, "a toy", 4, every | values)


def card(value=0.5, name="own", hash="b" * 64, **changed):
    facts = {"hash": hash, "kind": "relu", "dim": 2, "k": None, "trained_with": "hand"}
    parts = {"facts": facts, "place": PLACE, "pictures": PICTURES, "subject": scores(name, value), "code": "c" * 64}
    return Scorecard(**(parts | changed))
