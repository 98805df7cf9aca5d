"""Exported activations are the store's, in the reader's own form, and are there whole or not at all."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from stores import make_store

from vlm_sae_lib.__main__ import main
from vlm_sae_lib.activations import ActivationStore, exporting
from vlm_sae_lib.activations.exporting import FORMS, export_activations
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import folder_hash, write_json


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    values = np.random.default_rng(0).standard_normal((50, 6))
    return make_store(tmp_path_factory.mktemp("export") / "store", values, np.arange(50))


def saev_row(folder, i: int) -> np.ndarray:
    """Row i as saev 0.1 finds it (``Dataset.get_img_patches``, the class token of the one layer)."""
    facts = json.loads((folder / "metadata.json").read_text())
    tokens = facts["n_patches_per_img"] + 1
    per_shard = facts["n_patches_per_shard"] // len(facts["layers"]) // tokens
    shape = (per_shard, len(facts["layers"]), tokens, facts["d_vit"])
    shard = np.memmap(folder / f"acts{i // per_shard:06}.bin", mode="c", dtype=np.float32, shape=shape)
    return shard[i % per_shard, 0, 0]


@pytest.mark.parametrize("rows_at_once", [1, 7, 50, 1000])
def test_an_array_holds_the_stores_rows_in_their_order(store, tmp_path, monkeypatch, rows_at_once):
    monkeypatch.setattr(exporting, "ROWS_AT_ONCE", rows_at_once)
    out = export_activations(store, tmp_path / "out")
    array = np.load(out / "activations.npy", allow_pickle=False)
    assert array.dtype == np.float32 and array.flags.c_contiguous
    assert torch.equal(torch.from_numpy(array), store.array())
    assert sorted(path.name for path in out.iterdir()) == ["activations.npy", "store.json"]


@pytest.mark.parametrize("shard_rows", [1, 7, 25, 50, 2_400_000])
def test_saevs_shards_hold_them_too(store, tmp_path, monkeypatch, shard_rows):
    """Also where the last shard is not full: saev maps each of them at its full length."""
    monkeypatch.setattr(exporting, "SAEV_SHARD_ROWS", shard_rows)
    out = export_activations(store, tmp_path / "out", "saev")
    facts = json.loads((out / "metadata.json").read_text())
    assert facts["n_imgs"] == 50 and facts["layers"] == [0]
    assert len(list(out.glob("acts*.bin"))) == -(-50 // min(shard_rows, 50))
    np.testing.assert_array_equal(np.stack([saev_row(out, i) for i in range(50)]), store.array().numpy())


def test_a_projection_is_no_layer(store, tmp_path):
    facts = store.metadata | {"hook_point": "projection"}
    out = export_activations(ActivationStore(store.path, facts), tmp_path / "out", "saev")
    assert json.loads((out / "metadata.json").read_text())["layers"] == [-1]


@pytest.mark.parametrize("form", FORMS)
def test_where_they_come_from_lies_beside_them(store, tmp_path, form):
    out = export_activations(store, tmp_path / "out", form)
    origin = json.loads((out / "store.json").read_text())
    assert origin["id"] == store.id and origin["hook_point"] == "block_0" and "shards" not in origin
    again = export_activations(store, tmp_path / "again", form)
    assert folder_hash(out) == folder_hash(again)


@pytest.mark.parametrize("form", FORMS)
def test_a_store_in_half_precision_is_exported_in_full(store, tmp_path, form):
    half = {"activations": store.array().half(), "image_id": torch.arange(50), "token": torch.zeros(50).long()}
    reader = ActivationStore(store.path, store.metadata | {"dtype": "float16"})
    reader._shard = lambda index: {name: part[:7] if index == 0 else part[7:] for name, part in half.items()}
    out = export_activations(reader, tmp_path / "out", form)
    rows = np.load(out / "activations.npy") if form == "npy" else np.stack([saev_row(out, i) for i in range(50)])
    np.testing.assert_array_equal(rows, half["activations"].float().numpy())


def test_an_unknown_form_is_one_sentence(store, tmp_path):
    with pytest.raises(UserError, match="as 'zarr': the forms are npy, saev"):
        export_activations(store, tmp_path / "out", "zarr")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", FORMS)
def test_a_store_without_rows_is_one_sentence(store, tmp_path, form):
    write_json(tmp_path / "store" / "metadata.json", store.metadata | {"rows": 0, "shards": []})
    empty = ActivationStore.open(tmp_path / "store")
    with pytest.raises(UserError, match="has no rows to export"):
        export_activations(empty, tmp_path / "out", form)
    assert not (tmp_path / "out").exists()


def test_only_an_export_is_replaced(store, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UserError, match="something else"):
        export_activations(store, file)
    assert file.read_text() == "mine"
    with pytest.raises(UserError, match="cannot be written"):
        export_activations(store, file / "below")
    with pytest.raises(UserError, match="something else"):
        export_activations(store, store.path)
    assert store.verify()

    out = export_activations(store, tmp_path / "out", "saev")
    export_activations(store, out, "npy")
    assert sorted(path.name for path in out.iterdir()) == ["activations.npy", "store.json"]
    (out / "ae.pt").write_bytes(b"an SAE that was trained on them")
    with pytest.raises(UserError, match="ae.pt"):
        export_activations(store, out, "npy")
    assert (out / "ae.pt").exists()


@pytest.mark.parametrize("form", FORMS)
def test_one_that_fails_leaves_what_was_there(store, tmp_path, monkeypatch, form):
    out = export_activations(store, tmp_path / "out", form)
    before = folder_hash(out)

    def few(*_):
        yield store[:3].numpy()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "_pieces", few)
    with pytest.raises(UserError, match="No space left on device"):
        export_activations(store, out, form)
    assert folder_hash(out) == before and [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("form", FORMS)
def test_a_killed_one_leaves_no_half_export(store, tmp_path, form):
    code = f"""
import os, signal
from vlm_sae_lib.activations import ActivationStore, exporting
exporting.ROWS_AT_ONCE = 5
whole = exporting._pieces
def dying(*arguments):
    for number, rows in enumerate(whole(*arguments)):
        if number == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        yield rows
exporting._pieces = dying
exporting.export_activations(ActivationStore.open({str(store.path)!r}), {str(tmp_path / "out")!r}, {form!r})
"""
    killed = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    assert killed.returncode == -9
    assert not (tmp_path / "out").exists()
    assert len(list(export_activations(store, tmp_path / "out", form).iterdir())) > 1


def test_the_command_exports_and_says_where(store, tmp_path, capsys):
    words = ["export", "--activations", str(store.path), "--out", str(tmp_path / "out")]
    assert main([*words, "--as", "saev"]) == 0
    assert (tmp_path / "out" / "acts000000.bin").exists()
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["50 rows of dimension 6", str(tmp_path / "out")]
    assert main([*words, "--as", "sae_lens"]) == 2
    assert capsys.readouterr().err.startswith("error: activations cannot be exported as 'sae_lens'")
