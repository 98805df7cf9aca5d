"""The command ``card``: a foreign SAE in, a page and a JSON out; mistakes are one sentence."""

import json
import re

import jsonschema
import pytest
import small_card
import torch
from foreign_saes import linear_state, write
from random_saes import make_sae

from vlm_sae_lib import paths
from vlm_sae_lib.__main__ import main
from vlm_sae_lib.scorecard import board, measuring, place
from vlm_sae_lib.scorecard.card import schema
from vlm_sae_lib.scorecard.measures import MEASURES


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setenv("VLM_SAE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(place, "final_bench", lambda profile, hook_point: small_card.bench())
    monkeypatch.setattr(measuring.Measuring.start.__func__, "__defaults__", (5,))
    monkeypatch.setattr(board, "folder", lambda: tmp_path / "leaderboard")
    return tmp_path


def foreign(folder):
    """A BatchTopK SAE as dictionary_learning leaves it, which tells nothing of where it reads."""
    sae = make_sae("batch_top_k", dim=128, width=40)
    return write(folder, linear_state(sae, k=torch.tensor(3), threshold=sae.threshold))


def test_a_foreign_sae_gets_its_card_and_its_place_on_the_board(small, capsys):
    path, out = foreign(small / "theirs"), small / "card"
    told = ["--name", "Theirs", "--trained-with", "dictionary_learning, by hand", "--enter", "theirs"]
    assert main(["card", "--sae", str(path), "--out", str(out), *told]) == 0
    said = capsys.readouterr()
    content = json.loads((out / "card.json").read_text())
    jsonschema.Draft202012Validator(schema()).validate(content)
    assert content["subject"]["name"] == "Theirs" and content["place"]["hook_point"] == "block_5"
    page = (out / "card.html").read_text()
    assert all(measure.title in page for measure in MEASURES if '"' not in measure.title)
    assert '/book/leaderboard.md">The leaderboard</a>' in page
    assert str(out / "card.html") in said.out and re.search(r"^R²  +\S+ \[", said.out, re.M)
    assert "give --second" in said.out and "measuring k-means" in said.err
    (entry,) = board.entries().values()
    assert entry.facts["trained_with"] == "dictionary_learning, by hand" and entry.subject.name == "theirs"


def complaint(capsys, *arguments):
    assert main(["card", *map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_mistakes_are_one_sentence(small, capsys):
    ours, out = paths.pocket() / "sae" / "main_matryoshka", small / "out"
    narrow = make_sae("relu").save(small / "narrow")
    (small / "file").write_text("x")
    (small / "empty").mkdir()
    assert "is a file" in complaint(capsys, "--sae", ours, "--out", small / "file")
    assert "neither cfg.json" in complaint(capsys, "--sae", small / "empty", "--out", out)
    assert "no SAE at" in complaint(capsys, "--sae", small / "nothing", "--out", out)
    assert "128: block_0" in complaint(capsys, "--sae", narrow, "--out", out)
    assert "no hook point" in complaint(capsys, "--sae", ours, "--out", out, "--hook-point", "layer3")
    assert "small letters" in complaint(capsys, "--sae", ours, "--out", out, "--enter", "No Name")
    assert not out.exists()


def test_an_unknown_entry_is_told_before_anything_is_computed(small, capsys):
    ours = paths.pocket() / "sae" / "main_matryoshka"
    assert "has no entry 'x'" in complaint(capsys, "--sae", ours, "--out", small / "o", "--against", "x")
