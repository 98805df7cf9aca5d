import argparse

import numpy as np
import pytest
import slow_collect
import torch
from PIL import Image
from tiny_towers import noise, toy_tower, write_open_clip

from vlm_sae_lib.activations import ActivationStore, collect, collect_activations, writing
from vlm_sae_lib.commands import collect as command
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures import load_pictures
from vlm_sae_lib.towers.tokens import token_indices

N = 14  # pictures in the folder: five shards of three readable ones, less two bad files


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "pictures"
    root.mkdir()
    for i, picture in enumerate(noise(N)):
        picture.save(root / f"{i:02d}.png")
    (root / "04.png").write_bytes((root / "04.png").read_bytes()[:200])
    (root / "13.png").write_bytes(b"")
    return root


def content(folder):
    """Every file of a folder, hidden ones too, as name to bytes."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(folder, out, **options):
    options = {"tokens": "random:2", "batch_size": 2, "pictures_per_shard": 3} | options
    return collect_activations(toy_tower(), load_pictures(folder), "block_1", out, **options)


def test_rows_ids_and_unreadable_pictures(folder, tmp_path):
    store = run(folder, tmp_path / "store")
    readable = [i for i in range(N) if i not in (4, 13)]
    assert len(store) == 24 and store.image_ids.tolist() == list(np.repeat(readable, 2))
    assert store.metadata["unreadable"] == [
        {"image_id": 4, "name": "04.png", "reason": "damaged or truncated"},
        {"image_id": 13, "name": "13.png", "reason": "empty file"},
    ]
    every = toy_tower().activations([noise(N)[i] for i in readable], "block_1", "all")
    drawn = token_indices("random:2", 5, np.array(readable), 0)
    np.testing.assert_array_equal(store.token_ids, drawn.ravel())
    torch.testing.assert_close(store.array(), every[torch.arange(12)[:, None], torch.from_numpy(drawn)].reshape(24, 6))


@pytest.mark.parametrize(("point", "rule", "rows", "tokens"), [
    ("block_1", "cls", 12, {0}), ("block_1", "mean", 12, {-1}), ("block_1", "all", 60, {0, 1, 2, 3, 4}),
    ("projection", "cls", 12, {-1}), ("projection", "random:2", 12, {-1}),
])
def test_token_column(folder, tmp_path, point, rule, rows, tokens):
    store = collect_activations(toy_tower(), folder, point, tmp_path / "store", tokens=rule)
    assert len(store) == rows and set(store.token_ids.tolist()) == tokens
    assert store.dim == (4 if point == "projection" else 6)


def test_batch_and_shard_size_change_no_row(folder, tmp_path):
    one = run(folder, tmp_path / "one")
    other = run(folder, tmp_path / "other", batch_size=5, pictures_per_shard=None)
    assert one.id == other.id and len(other.metadata["shards"]) == 1
    torch.testing.assert_close(one.array(), other.array())
    assert np.array_equal(one.token_ids, other.token_ids) and np.array_equal(one.image_ids, other.image_ids)
    assert not torch.equal(one.array(), run(folder, tmp_path / "seed", seed=1).array())


def test_the_same_request_is_answered_at_once(folder, tmp_path):
    first = run(folder, tmp_path / "store")
    before = {path: path.stat().st_mtime_ns for path in first.path.rglob("*")}
    tower, pictures = toy_tower(), load_pictures(folder)
    probes = tower.module.blocks[0].calls
    again = collect_activations(tower, pictures, "block_1", first.path, tokens="random:02", batch_size=7)
    assert tower.module.blocks[0].calls == probes and again.id == first.id
    assert {path: path.stat().st_mtime_ns for path in first.path.rglob("*")} == before
    assert [name for _, name, _ in pictures.unreadable] == ["04.png", "13.png"]


def test_another_request_is_refused_and_leaves_the_store_alone(folder, tmp_path):
    store = run(folder, tmp_path / "store")
    before = content(store.path)
    noise(1, seed=9)[0].save(tmp_path / "new.png")
    for options, words in (({"tokens": "mean"}, "tokens"), ({"seed": 1}, "seed"), ({"dtype": "float16"}, "dtype")):
        with pytest.raises(UserError, match=f"another store.*{words}"):
            run(folder, store.path, **options)
    with pytest.raises(UserError, match="weights hash"):
        collect_activations(toy_tower(seed=1), folder, "block_1", store.path, tokens="random:2")
    (tmp_path / "new.png").rename(folder / "new.png")
    with pytest.raises(UserError, match="fingerprint"):
        run(folder, store.path)
    assert content(store.path) == before


def test_a_killed_process_leaves_no_trace(folder, tmp_path):
    whole = run(folder, tmp_path / "whole")
    out = tmp_path / "killed"
    slow_collect.killed(folder, ["block_1", "random:2", out], out)
    unfinished = slow_collect.facts(out)
    assert not unfinished["complete"] and 1 <= len(unfinished["shards"]) < len(whole.metadata["shards"])
    with pytest.raises(UserError, match="unfinished"):
        ActivationStore.open(out)
    (out / ".metadata.json.h41f").write_text("{")  # what a kill in the middle of a write leaves
    (out / "shards" / ".000002.safetensors.abc").write_bytes(b"half")
    (out / "shards" / "000003.safetensors").write_bytes(b"not yet named")
    assert run(folder, out).id == whole.id
    assert content(out) == content(whole.path)


def test_every_single_write_may_be_the_last(folder, tmp_path, monkeypatch):
    """A run that dies before or after any of its writes resumes to the same bytes."""
    whole = content(run(folder, tmp_path / "whole").path)
    places = ((writing, "write_bytes"), (writing, "write_json"), (collect, "write_json"))
    originals = {place: getattr(*place) for place in places}
    survived = False
    for stop in range(100):
        for after in (False, True):
            left = [stop]

            def dying(original, left=left, after=after):
                def write(*args):
                    if left[0] == 0 and not after:
                        raise KeyboardInterrupt
                    original(*args)
                    if left[0] == 0:
                        raise KeyboardInterrupt
                    left[0] -= 1

                return write

            out = tmp_path / f"stop-{stop}-{after}"
            for place, original in originals.items():
                monkeypatch.setattr(*place, dying(original))
            try:
                run(folder, out)
                survived = True
            except KeyboardInterrupt:
                pass
            for place, original in originals.items():
                monkeypatch.setattr(*place, original)
            run(folder, out)
            assert content(out) == whole, (stop, after)
        if survived:
            break
    assert stop == 12  # metadata, five shards with metadata each, metadata: none of the twelve was passed over


def test_a_damaged_shard_of_an_unfinished_store_is_made_anew(folder, tmp_path, monkeypatch):
    whole = content(run(folder, tmp_path / "whole").path)
    calls = []

    def dying(path, value):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        original(path, value)

    original = writing.write_json
    monkeypatch.setattr(writing, "write_json", dying)
    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path / "store")
    monkeypatch.undo()
    (tmp_path / "store" / "shards" / "000001.safetensors").write_bytes(b"damaged")
    assert content(run(folder, tmp_path / "store").path) == whole


def test_a_subset_and_pictures_in_hand(tmp_path):
    source = load_pictures(noise(6))
    store = collect_activations(toy_tower(), source.subset([1, 4, 5]), "block_0", tmp_path / "a", pictures_per_shard=2)
    assert store.image_ids.tolist() == [1, 4, 5]
    pocket = collect_activations(toy_tower(), "pocket:4:1", "block_0", tmp_path / "b", pictures_per_shard=3)
    assert pocket.image_ids.tolist() == [0, 1, 2, 3] and pocket.metadata["source"] == "pocket:4:1"


def test_no_readable_picture_leaves_nothing_behind(tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"None of the 1 .*a\.jpg \(empty file\)"):
        run(tmp_path / "bad", tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_place_that_is_not_for_stores_is_refused(folder, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    for out, words in ((tmp_path / "file", "a file has that name"), (tmp_path / "file" / "below", "cannot be written"),
                       (tmp_path / "mine", "holds other files"), (folder / "store", "among the pictures"),
                       ("/proc/store", "cannot be written")):
        with pytest.raises(UserError, match=words):
            run(folder, out)
    assert (tmp_path / "mine" / "thesis.tex").exists() and not (folder / "store").exists()


@pytest.mark.parametrize("options", [{"dtype": "bfloat16"}, {"batch_size": 0}, {"tokens": "max"},
                                     {"pictures_per_shard": 0}, {"seed": -1}])
def test_wrong_options_are_refused_before_anything_is_written(folder, tmp_path, options):
    with pytest.raises(UserError):
        run(folder, tmp_path / "store", **options)
    assert not (tmp_path / "store").exists()


def test_an_activation_that_is_not_finite_names_the_picture(tmp_path):
    (tmp_path / "pictures").mkdir()
    for name, colour in (("a", "black"), ("b", "black"), ("white", "white")):
        Image.new("RGB", (16, 16), colour).save(tmp_path / "pictures" / f"{name}.png")
    cases = ((float("inf"), "float32", "not finite for white.png"), (1e6, "float16", "float32 store"))
    for huge, dtype, words in cases:
        tower = toy_tower()
        inner = tower.preprocess
        tower.preprocess = lambda p, inner=inner, huge=huge: inner(p) * (huge if p.getpixel((0, 0))[0] else 1)
        with pytest.raises(UserError, match=words):
            collect_activations(tower, tmp_path / "pictures", "block_0", tmp_path / dtype, tokens="mean", dtype=dtype)


def test_the_command_names_unreadable_pictures_on_every_run(folder, tmp_path, capsys):
    tower = write_open_clip(tmp_path / "clip")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    arguments = ["--pictures", str(folder), "--tower", f"open_clip:local-dir:{tower}", "--hook-point", "block_1",
                 "--tokens", "cls", "--out", str(tmp_path / "store"), "--device", "cpu"]
    for _ in range(2):
        assert command.main(parser.parse_args(arguments)) == 0
        out, err = capsys.readouterr()
        assert out == f"12 rows of dimension 32\n{tmp_path / 'store'}\n"
        assert "not read: 04.png (damaged or truncated)\nnot read: 13.png (empty file)\n" in err
        assert "2 of 14 pictures could not be read" in err
    assert str(tmp_path) not in (tmp_path / "store" / "metadata.json").read_text()
