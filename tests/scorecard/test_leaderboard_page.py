"""The leaderboard's entries as they lie in the repository, and the page that is drawn from them."""

import json

import jsonschema
import pytest
from book_extensions import extension
from toy_card import card, scores

from vlm_sae_lib.experiments.recovery_kinds import KINDS
from vlm_sae_lib.experiments.rivals import K_MEANS, RANDOM, RAW
from vlm_sae_lib.scorecard import board, ours
from vlm_sae_lib.scorecard.card import Value, schema
from vlm_sae_lib.scorecard.measures import MEASURES, NAMES
from vlm_sae_lib.scorecard.place import FINAL

leaderboard = extension("leaderboard")
FILES = sorted(board.folder().glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_entry_keeps_to_the_schema_and_was_measured_on_the_final_pictures(path):
    content = json.loads(path.read_text())
    jsonschema.Draft202012Validator(schema()).validate(content)
    assert content["pictures"]["test"] == FINAL and content["rivals"] == [] and content["ranks"] == {}
    assert content["subject"]["name"] == path.stem and tuple(content["subject"]["values"]) == tuple(sorted(NAMES))


def test_all_our_kinds_are_on_it():
    assert set(ours.ENTRIES) <= {path.stem for path in FILES}
    assert set(ours.ENTRIES.values()) == {*KINDS, RANDOM, RAW, K_MEANS} and len(ours.ENTRIES) == 11


def test_the_page_ranks_with_ties_and_dashes():
    cards = [card(name="a", subject=scores("a", 0.5)), card(name="b", subject=scores("b", 0.5)),
             card(name="c", subject=scores("c", 0.4, r2=Value(why="No.")))]  # fmt: skip
    text = "\n".join(leaderboard.page(cards, "c" * 64))
    assert "| 1 | 1." in text and "| `a` | 0.500 [0.400, 0.600] · 1 |" in text
    rows = [line for line in text.splitlines() if line.startswith("| `c` | –")]
    assert len(rows) == 1 and "warning" not in text
    assert "L0 ↑" not in text and "R² ↑" in text and "absorption ↓" in text
    assert "changed since these were measured: a, b, c" in "\n".join(leaderboard.page(cards, "d" * 64))


def test_the_page_says_over_which_measures_the_mean_rank_is_and_who_lacks_the_others():
    cards = [card(name="a", subject=scores("a", 0.5)),
             card(name="c", subject=scores("c", 0.4, r2=Value(why="No."), stability=Value(why="No.")))]  # fmt: skip
    (told,) = leaderboard.mean_rank(cards)
    ranked = [one.title for one in MEASURES if one.better != "neither"]
    assert told.startswith(f"The mean rank is over {len(ranked) - 2} measures, of which every entry has a value: dead ")
    within, _, without = told.partition("Ranked, and not in the mean: ")
    assert without == "R² (without: `c`); stability (without: `c`). Not ranked at all: L0."
    assert all(title in within for title in ranked if title not in ("R²", "stability"))


def test_each_measure_of_the_page_says_n_and_of_what_and_what_its_interval_is():
    cards = [
        card(name=name, subject=scores(name, 0.5, r2=Value(0.5, 0.4, 0.6, 4000), cause=Value(0.5, 0.4, 0.6, n)))
        for name, n in (("a", 150), ("b", 90))
    ]
    text = "\n".join(leaderboard.page(cards, "c" * 64))
    assert "that it rebuilds (n = 4,000 pictures; bootstrap over the final pictures)" in text
    assert "(n = 90 to 150 values; bootstrap over the final pictures)" in text


def test_places_stand_apart():
    elsewhere = card(subject=scores("d", 0.9), place=card().place | {"hook_point": "block_4"})
    text = "\n".join(leaderboard.page([card(), elsewhere], "c" * 64))
    assert text.count("| place |") == 2 and "**1 SAEs" not in text


def test_an_empty_board_is_an_empty_page():
    assert leaderboard.page([], "") == []


def test_a_measure_that_nobody_has_is_left_out():
    text = "\n".join(leaderboard.page([card(subject=scores("a", 0.5, stability=Value(why="No.")))], "c" * 64))
    assert "**Stability.**" not in text and "**Steering.**" in text


def test_an_entry_that_is_entered_again_says_nothing_of_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(board, "folder", lambda: tmp_path)
    board.enter("own", card(notes=["It is, weight for weight, the leaderboard's entry own."]))
    assert board.entries()["own"].notes == ()
