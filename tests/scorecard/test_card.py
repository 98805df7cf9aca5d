"""A scorecard's JSON, its ranks and its page; the leaderboard's order."""

import json
import re
from dataclasses import replace
from html import escape

import jsonschema
import pytest
from toy_card import PLACE, card, scores

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.scorecard import board
from vlm_sae_lib.scorecard.card import Rank, Scorecard, Value, rank, schema
from vlm_sae_lib.scorecard.measures import MEASURES, Measure
from vlm_sae_lib.scorecard.page import html, written
from vlm_sae_lib.scorecard.strip import strip
from vlm_sae_lib.statistics.intervals import Estimate, Interval

HIGHER, LOWER, NEITHER = (Measure(n, "g", n, "m", n) for n in ("higher", "lower", "neither"))
@pytest.fixture
def leaderboard(tmp_path, monkeypatch):
    monkeypatch.setattr(board, "folder", lambda: tmp_path / "leaderboard")
    return tmp_path / "leaderboard"


def validate(one):
    jsonschema.Draft202012Validator(schema()).validate(json.loads(json.dumps(one.as_dict(), allow_nan=False)))


def test_the_json_keeps_to_its_schema_and_comes_back():
    one = card(rivals=[scores("other", 0.7)], against=[scores("third", None)], notes=["Aha."])
    jsonschema.Draft202012Validator.check_schema(schema())
    validate(one)
    assert Scorecard.from_dict(one.as_dict()) == replace(one, rivals=tuple(one.rivals), against=tuple(one.against),
                                                         notes=tuple(one.notes))  # fmt: skip


@pytest.mark.parametrize("spoil", [{"schema": 2}, {"extra": 1}, {"subject": {}}, {"code": "x"}])
def test_the_schema_refuses_what_is_no_card(spoil):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema()).validate(card().as_dict() | spoil)


def test_the_schema_asks_why_a_value_is_missing():
    one = card(subject=scores("own", 0.5, r2=Value()))
    with pytest.raises(jsonschema.ValidationError):
        validate(one)


def test_a_card_of_another_schema_is_refused():
    with pytest.raises(UserError, match="schema 2, and 1"):
        Scorecard.from_dict(card().as_dict() | {"schema": 2})


def test_values_have_six_digits_and_no_nan():
    value = Value.of(Estimate(1 / 3, Interval(float("nan"), float("inf"))), 3)
    assert value == Value(0.333333, None, None, 3, "")
    assert Value.of(Estimate(float("nan"), Interval(0, 1)), 0).why


def test_equal_values_share_a_rank_and_missing_ones_have_none():
    def of(measure, own, *others):
        return rank(measure, scores("o", None, **{measure.name: Value(own)}),
                    [scores("x", None, **{measure.name: Value(other)}) for other in others])  # fmt: skip

    assert of(HIGHER, 0.5, 0.5, 0.7, None) == Rank(2, 3)
    assert of(HIGHER, 0.7, 0.5, 0.7) == Rank(1, 3)
    assert of(LOWER, 0.5, 0.5, 0.7, 0.1) == Rank(2, 4)
    assert of(HIGHER, None, 0.5) is None and of(NEITHER, 0.5, 0.4) is None
    assert of(HIGHER, 0.5) == Rank(1, 1)


def test_ranks_stand_apart_for_rivals_and_leaderboard():
    one = card(rivals=[scores("a", 0.7), scores("b", 0.1)], board=[scores("c", 0.1), scores("d", None)])
    assert one.ranks()["r2"] == {"rivals": Rank(2, 3), "leaderboard": Rank(1, 2)}
    assert "l0" not in one.ranks() and card().ranks() == {}


def test_the_boards_order_is_by_mean_rank_over_what_all_have():
    several = [scores("b", 0.5), scores("a", 0.5), scores("c", 0.9), scores("d", 0.1, r2=Value(why="No."))]
    order = board.in_order(several)
    names = [one.name for one, _ in order]
    ranked = [m for m in MEASURES if m.better != "neither" and m.name != "r2"]
    low = sum(m.better == "lower" for m in ranked)
    assert dict((one.name, mean) for one, mean in order)["c"] == pytest.approx(
        (4 * low + (len(ranked) - low)) / len(ranked)
    )
    assert names.index("a") + 1 == names.index("b")  # equal: by name
    assert board.ranks(several)["d"].get("r2") is None and board.ranks(several)["c"]["r2"] == Rank(1, 3)
    assert board.in_order([]) == []
    (_, mean), *_ = board.in_order([scores("x", None), scores("y", 0.2)])
    assert mean != mean


def test_an_entry_is_the_card_without_its_rivals(leaderboard):
    path = board.enter("toy-1", card(rivals=[scores("a", 0.7)], board=[scores("c", 0.1)]))
    assert path == leaderboard / "toy-1.json"
    (found,) = board.entries().values()
    validate(found)
    assert found.subject.name == "toy-1" and found.rivals == () and found.ranks() == {}
    assert board.comparable(card(hash="d" * 64), board.entries()) == [found.subject]
    assert board.comparable(card(), board.entries()) == []  # itself
    assert board.comparable(card(hash="d" * 64, place=PLACE | {"tokens": "mean"}), board.entries()) == []


def test_names_that_the_board_lacks_or_cannot_hold_are_told(leaderboard):
    with pytest.raises(UserError, match="no entry 'x'; it has none yet"):
        board.named(["x"], card(), board.entries())
    board.enter("toy", card())
    with pytest.raises(UserError, match="it has toy"):
        board.named(["x"], card(), board.entries())
    with pytest.raises(UserError, match="cannot be compared"):
        board.named(["toy"], card(place=PLACE | {"hook_point": "block_4"}), board.entries())
    assert board.named(["toy"], card(), board.entries())[0].name == "toy"
    with pytest.raises(UserError, match="small letters"):
        board.enter("../x", card())


def test_a_file_that_is_no_card_is_named(leaderboard):
    leaderboard.mkdir()
    (leaderboard / "bad.json").write_text('{"schema": 1}')
    with pytest.raises(UserError, match="bad.json is no scorecard"):
        board.entries()


def test_the_page_names_every_measure_and_asks_for_nothing_outside():
    one = card(name="<b>own</b>", rivals=[scores("<i>rival</i>", 0.7), scores("nothing", None)], notes=["A & B."],
               board=[scores("c", 0.1)])  # fmt: skip
    text = html(one)
    assert all(f"<h3>{escape(measure.title)}</h3>" in text and escape(measure.meaning) in text for measure in MEASURES)
    assert not re.search(r"(src|href|action|srcset)\s*=|url\(|@import|<script|<link|<iframe|https?:", text)
    assert "<b>own" not in text and "&lt;b&gt;own" in text and "<i>rival" not in text and "A &amp; B." in text
    assert "prefers-color-scheme: dark" in text and "rank 2 of 2 with its rivals" in text
    assert html(one) == text


def test_the_page_links_to_the_book_where_it_is_told_the_address():
    assert "page The leaderboard." in html(card()) and "<a " not in html(card())
    assert 'page <a href="https://x/?a&amp;b">The leaderboard</a>.' in html(card(), "https://x/?a&b")


def test_the_page_of_a_card_of_nothing_says_why():
    text = html(card(value=None))
    assert text.count("None.") >= len(MEASURES) and "<svg" not in text


def test_numbers_are_written_with_their_interval():
    assert written(Value(0.1234, -0.1, 0.2)) == "0.123 [−0.100, 0.200]"
    assert written(Value(12.345)) == "12.3" and written(Value(why="x")) == "–"


def test_marks_that_would_cover_each_other_hang_in_lanes():
    rivals = [(letter, letter, Value(value)) for letter, value in zip("ABC", (0.5, 0.5, 0.9), strict=True)]
    drawn = strip("t", Value(0.1, 0.0, 0.2), [*rivals, ("D", "D", Value(why="no"))], [0.3, None])
    heights = dict(re.findall(r'<title>(\w)</title><circle [^>]*cy="(\d+)"', drawn))
    assert heights["A"] != heights["B"] and heights["A"] == heights["C"] and "D" not in heights
    assert drawn.count('class="board"') == 1
    assert "nan" not in strip("t", Value(0.1), [], [])
