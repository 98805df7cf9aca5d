"""Several hook points from one pass, against each collected alone."""

import numpy as np
import pytest
import torch
from tiny_towers import noise, toy_tower

from vlm_sae_lib.activations import collect, collect_activations, together
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import folder_hash, read_json, write_json
from vlm_sae_lib.pictures import load_pictures

POINTS = [("block_0", "cls"), ("block_1", "random:2"), ("block_1", "cls"), ("projection", "cls"), ("block_0", "mean")]


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "pictures"
    root.mkdir()
    for i, picture in enumerate(noise(11)):
        picture.save(root / f"{i:02d}.png")
    (root / "04.png").write_bytes((root / "04.png").read_bytes()[:200])
    return root


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(collect, "PICTURES_PER_SHARD", 3)


def outs(root):
    return {point: root / f"{i}" for i, point in enumerate(POINTS)}


def alone(folder, root):
    for (hook_point, tokens), out in outs(root).items():
        collect_activations(toy_tower(), load_pictures(folder), hook_point, out, tokens=tokens, batch_size=2, seed=5)
    return {point: folder_hash(out) for point, out in outs(root).items()}


def test_the_stores_are_byte_for_byte_those_collected_alone(folder, tmp_path):
    expected = alone(folder, tmp_path / "alone")
    pictures = load_pictures(folder)
    stores = together.collect_together(toy_tower(), pictures, outs(tmp_path / "together"), batch_size=2, seed=5)
    assert list(stores) == POINTS
    assert {point: folder_hash(store.path) for point, store in stores.items()} == expected
    assert [name for _, name, _ in pictures.unreadable] == ["04.png"]
    assert all(store.metadata["unreadable"][0]["name"] == "04.png" for store in stores.values())


def test_each_picture_is_read_once_and_goes_through_the_tower_once(folder, tmp_path, monkeypatch):
    tower, pictures, seen, reads = toy_tower(), load_pictures(folder), [], []
    forward, iterate = tower._project, pictures.iterate
    monkeypatch.setattr(tower, "_project", lambda pixels: (seen.append(len(pixels)), forward(pixels))[1])
    monkeypatch.setattr(pictures, "iterate", lambda *given: (reads.append(given[0]), iterate(*given))[1])
    together.collect_together(tower, pictures, outs(tmp_path), batch_size=2)
    assert sum(seen) == 10 and reads == [0]


def test_unfinished_stores_are_resumed_to_the_same_bytes(folder, tmp_path):
    expected = alone(folder, tmp_path / "alone")
    root = tmp_path / "together"
    together.collect_together(toy_tower(), load_pictures(folder), outs(root), batch_size=2, seed=5)
    for i, lost_shards in ((0, 1), (1, 3)):
        facts = read_json(root / f"{i}" / "metadata.json")
        lost = [facts["shards"].pop() for _ in range(lost_shards)]
        rows = facts["rows"] - sum(shard["rows"] for shard in lost)
        write_json(root / f"{i}" / "metadata.json", facts | {"complete": False, "rows": rows, "unreadable": []})
    stores = together.collect_together(toy_tower(), load_pictures(folder), outs(root), batch_size=2, seed=5)
    rows = {point: store.array() for point, store in stores.items()}
    for point, out in outs(tmp_path / "alone").items():
        assert torch.equal(rows[point], together.ActivationStore.open(out, verify=True).array())
    untouched = POINTS[2:]
    assert {point: folder_hash(stores[point].path) for point in untouched} == {p: expected[p] for p in untouched}


def test_what_does_not_fit_into_memory_is_collected_one_by_one(folder, tmp_path, monkeypatch):
    expected = alone(folder, tmp_path / "alone")
    monkeypatch.setattr(together, "MEMORY_LIMIT", 10)
    monkeypatch.setattr(together, "_OnePass", None)  # would fail if it were used
    stores = together.collect_together(toy_tower(), load_pictures(folder), outs(tmp_path / "b"), batch_size=2, seed=5)
    assert {point: folder_hash(store.path) for point, store in stores.items()} == expected


def test_a_tower_gives_at_several_points_what_it_gives_at_each():
    tower, images = toy_tower(), noise(3)
    found = tower.activations_at(images, [*POINTS, ("projection", "mean")], seed=2, image_ids=[4, 5, 9])
    for (hook_point, tokens), rows in zip([*POINTS, ("projection", "mean")], found, strict=True):
        assert torch.equal(rows, tower.activations(images, hook_point, tokens, seed=2, image_ids=np.array([4, 5, 9])))
    assert tower.activations_at(images, []) == []
    empty = tower.activations_at([], POINTS)
    assert [tuple(rows.shape)[0] for rows in empty] == [0] * len(POINTS)
    with pytest.raises(UserError, match="hook point"):
        tower.activations_at(images, [("block_9", "cls")])
