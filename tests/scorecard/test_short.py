"""A card in short: ahead of every rival or behind one only where the intervals do not touch."""

from toy_card import card

from vlm_sae_lib.scorecard.card import Scores, Value
from vlm_sae_lib.scorecard.measures import NAMES
from vlm_sae_lib.scorecard.page import html
from vlm_sae_lib.scorecard.short import short


def scores(name, **given):
    return Scores(name, "what it is", 8, {one: given.get(one, Value(why="not measured")) for one in NAMES})


def value(middle):
    return Value(middle, middle - 0.02, middle + 0.02, 100)


OURS = scores("ours", r2=value(0.9), absorbed=value(0.1), cause=value(0.5), probe_1=value(0.5), l0=value(9),
              dead=Value(0.1, n=8))  # fmt: skip
A = scores("a frozen decoder", r2=value(0.5), absorbed=value(0.2), cause=value(0.53), probe_1=value(0.6), l0=value(3),
           dead=Value(0.0, n=8))  # fmt: skip
B = scores("random directions", probe_1=value(0.4), absorbed=value(0.3))


def test_ahead_behind_and_neither():
    ahead, behind, neither = short(card(subject=OURS, rivals=[A, B]))
    assert "R²; absorption." in ahead  # lower absorption is better; a rival without a value counts for nothing
    assert behind.endswith("probe of 1 latent, F1 (a frozen decoder).")
    assert neither == "Neither: cause."
    assert "L0" not in ahead + behind + neither and "dead" not in ahead + behind + neither


def test_the_page_tells_it_and_who_the_rivals_are():
    page = html(card(subject=OURS, rivals=[A, B]))
    assert "In short" in page and "Ahead of every rival" in page and page.count("<dd>what it is</dd>") == 2
    assert "In short" not in html(card(subject=OURS, rivals=[]))
