"""The page's folder: whole, of this model, and without a script in its markup."""

import json
import re

import nbformat
import pytest

from vlm_sae_lib import load_vlm, paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import folder_hash
from vlm_sae_lib.live import latents, publish

PAGES = sorted(publish.PAGE.iterdir())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "live"
    folder.mkdir()
    (folder / "of_an_older_book.js").write_text("")
    publish.publish(folder)
    return folder


def test_the_folder_is_whole_and_holds_nothing_old(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {path.name for path in PAGES} < names and "of_an_older_book.js" not in names
    assert {"model/tower.onnx", "model/edit.onnx", "model/language.onnx", "studio/0.bin"} < names
    assert {path.name for path in folder.parent.iterdir()} == {"live"}


def test_the_same_files_give_the_same_bytes(folder, tmp_path):
    publish.publish(tmp_path / "again")
    assert folder_hash(tmp_path / "again") == folder_hash(folder)


def test_a_failure_leaves_the_folder_as_it_was(folder, monkeypatch):
    before = folder_hash(folder)
    monkeypatch.setattr(publish, "beforehand", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        publish.publish(folder)
    assert folder_hash(folder) == before


def test_the_page_is_told_what_the_model_is(folder):
    facts, vlm = json.loads((folder / "model.json").read_text()), load_vlm("pocket", device="cpu")
    ids = vlm.processor.tokenizer(vlm.chat(""))["input_ids"]
    assert [*facts["before"], vlm.model.config.image_token_id, *facts["after"]] == ids
    assert vlm.processor.tokenizer.convert_ids_to_tokens(range(len(facts["vocabulary"]))) == facts["vocabulary"]
    assert len(facts["vocabulary"]) == vlm.model.config.text_config.vocab_size
    assert facts["end"] == vlm.model.generation_config.eos_token_id
    weights = sum(path.stat().st_size for path in (folder / "model").iterdir())
    assert facts["bytes"] == weights + publish.runtime_size() < 30e6
    assert [sum(x * x for x in one) for one in facts["directions"]] == pytest.approx([1] * publish.DIRECTIONS)


def test_names_of_another_model_are_refused(monkeypatch):
    monkeypatch.setattr(latents, "latents", lambda: {"made_from": "another", "latents": []})
    with pytest.raises(UserError, match="live.latents"):
        publish.model_facts(0)


def test_answers_beforehand_are_the_notebooks(folder):
    data = json.loads((folder / "beforehand.json").read_text())
    shape = len(data["neurons"]), len(data["pictures"]), len(data["multiples"])
    assert shape[0] == len(data["captions"]) >= 2
    assert {len(rows) for rows in data["captions"]} == {shape[1]}
    assert {len(steps) for rows in data["captions"] for steps in rows} == {shape[2]}
    assert all(picture["src"].startswith("data:image/") for picture in data["pictures"])
    assert all(set(neuron) == {"label", "learned"} and neuron["label"] for neuron in data["neurons"])


def test_a_notebook_without_its_panel_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "notebooks", lambda: tmp_path)
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / f"{publish.NOTEBOOK}.ipynb")
    with pytest.raises(UserError, match="run --only 05"):
        publish.beforehand()


def test_the_page_allows_no_script_but_its_own_and_asks_for_nothing_outside():
    page = (publish.PAGE / "index.html").read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)[1]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["script-src"] == "'self' 'wasm-unsafe-eval'"
    assert "unsafe-inline" not in policy and "http" not in policy
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"\son\w+=|style=|javascript:", page) == []
    for path in PAGES:
        assert "http://" not in (text := path.read_text(encoding="utf-8")) and "https://" not in text, path.name


@pytest.mark.parametrize("path", [path for path in PAGES if path.suffix == ".js"], ids=lambda path: path.name)
def test_no_script_of_the_page_writes_markup(path):
    """What a model says must not be able to become an element."""
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    assert re.findall(ways, path.read_text(encoding="utf-8")) == []
