"""A whole card of a toy SAE: rivals of its width and L0, notes, and the same bytes twice."""

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
import small_card

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.rivals import FROZEN, K_MEANS, RANDOM, RAW
from vlm_sae_lib.files import canonical_json
from vlm_sae_lib.scorecard import board, making, measuring, steered
from vlm_sae_lib.scorecard.card import schema
from vlm_sae_lib.scorecard.making import make_card
from vlm_sae_lib.scorecard.measures import NAMES
from vlm_sae_lib.scorecard.page import html
from vlm_sae_lib.scorecard.place import Place, material
from vlm_sae_lib.scorecard.rivals import config, rivals


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    monkeypatch.setattr(board, "folder", lambda: tmp_path / "leaderboard")
    monkeypatch.setattr(measuring.Measuring.start.__func__, "__defaults__", (5,))


@pytest.fixture
def card(bench, sae):
    return make_card(bench, small_card.PLACE, sae, name="toy", trained_with="by hand")


def test_a_card_holds_every_measure_of_the_sae_and_of_each_rival(card, sae):
    jsonschema.Draft202012Validator(schema()).validate(json.loads(json.dumps(card.as_dict())))
    assert [one.name for one in card.rivals] == [*FROZEN, RANDOM, RAW, K_MEANS]
    assert all(tuple(one.values) == NAMES for one in (card.subject, *card.rivals))
    assert {one.n_latents for one in card.rivals if one.name != RAW} == {sae.n_latents}
    assert card.facts == {"hash": sae.hash, "kind": "batch_top_k", "dim": 128, "k": 6, "trained_with": "by hand"}
    assert "block_4" in card.subject.values["insertion_both"].why


def test_two_runs_give_the_same_bytes(card, bench, sae):
    again = make_card(bench, small_card.PLACE, sae, name="toy", trained_with="by hand")
    assert canonical_json(again.as_dict()) == canonical_json(card.as_dict()) and html(again) == html(card)


def test_rivals_have_the_width_and_the_l0_of_the_sae(bench, on):
    found, missing = rivals(bench, on, 50, 4.2)
    rows = on.splits.train.astype(np.float32)
    for who, coder in found.items():
        assert coder.n_latents == (256 if who == RAW else 50), who
        if who not in FROZEN:  # what is trained for a few steps has not found its threshold
            assert coder.encode_sparse(rows).nnz / len(rows) == pytest.approx(4.2, abs=0.05), who
    assert not missing and all(sae.k == 4 for who, sae in found.items() if who in FROZEN)


def test_no_latent_is_lost_to_rounding(bench):
    assert all(config(bench, n, 128, 3).n_latents(128) == n for n in range(3, 1200))
    assert config(bench, 512, 128, 10).expansion == 4
    assert config(bench, 3, 128, 10).k == 3


def test_a_rival_that_cannot_be_is_told(bench, on):
    found, missing = rivals(bench, on, 300, 280.0)  # more centres than rows
    assert set(found) >= set(FROZEN) and any(K_MEANS in one for one in missing)


def test_a_second_training_gives_the_rivals_one_too(bench, sae, on):
    card = make_card(bench, small_card.PLACE, sae, second=sae)
    stable = {one.name: one.values["stability"] for one in (card.subject, *card.rivals)}
    assert stable["this SAE"].value == 1 and "no chance" in stable[RAW].why
    assert all(0 < stable[who].value < 1 for who in (*FROZEN, RANDOM, K_MEANS))
    narrow = replace(sae, w_enc=sae.w_enc[:64], w_dec=sae.w_dec[:, :64], b_dec=sae.b_dec[:64])
    with pytest.raises(UserError, match="width 64, and the first of width 128"):
        make_card(bench, small_card.PLACE, sae, second=narrow)


def test_a_dead_sae_gets_its_card(bench):
    card = make_card(bench, small_card.PLACE, small_card.dead_sae())
    jsonschema.Draft202012Validator(schema()).validate(json.loads(json.dumps(card.as_dict())))
    assert "fires on no training picture" in card.notes[0] and len(card.rivals) == 6
    assert "<h1>" in html(card)


def test_an_entry_stands_beside_and_around_the_card(card, bench, sae, on):
    board.enter("toy", card)
    other = small_card.sae_on(on, seed=4)
    beside = make_card(bench, small_card.PLACE, other, against=["toy"])
    assert [one.name for one in beside.against] == [one.name for one in beside.board] == ["toy"]
    assert beside.ranks()["r2"]["leaderboard"].of == 2
    assert make_card(bench, small_card.PLACE, sae).board == []  # itself
    with pytest.raises(UserError, match="no entry 'x'"):
        make_card(bench, small_card.PLACE, sae, against=["x"])


def test_where_llava_reads_latents_are_pushed_against_random_directions(runs, monkeypatch):
    place = Place("block_4", "random:2")
    bench = small_card.bench("pocket:60:13", place)
    size = steered.Size(kinds=("habitat",), per_kind=2, candidates=1, pictures=60, n_choosing=3, n_test=3)
    monkeypatch.setattr(making, "steered", lambda bench, sae: steered.steered(bench, sae, size))
    monkeypatch.setattr(steered, "STRENGTHS", {"insertion": (1,), "suppression": (0,)})
    card = make_card(bench, place, small_card.sae_on(material(bench, place)))
    pushed = {one.name: one.values["insertion_success"] for one in (card.subject, *card.rivals)}
    assert 0 <= pushed["this SAE"].value <= 1 and pushed["this SAE"].n == 2
    assert pushed[RANDOM].n == 2 and "random directions only" in pushed[K_MEANS].why


def test_a_dead_sae_cannot_be_pushed(runs):
    found, theirs = steered.steered(small_card.bench("pocket:30:13"), small_card.dead_sae(),
                                    steered.Size(kinds=("habitat",), pictures=40, n_choosing=2))  # fmt: skip
    assert found == theirs and all("0 latents that fire" in value.why for value in found.values())
