"""Several hook points from one pass, against each collected alone."""

import shutil
import threading

import numpy as np
import pytest
import slow_collect
import torch
from tiny_towers import noise, toy_tower

from vlm_sae_lib.activations import collect, collect_activations, collect_together, writing
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import folder_hash, read_json, write_json
from vlm_sae_lib.pictures import load_pictures

POINTS = [("block_0", "cls"), ("block_1", "random:2"), ("block_1", "cls"), ("projection", "cls"), ("block_0", "mean"),
          ("block_1", "all")]  # fmt: skip
OPTIONS = {"batch_size": 2, "seed": 5}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "pictures"
    root.mkdir()
    for i, picture in enumerate(noise(11)):
        picture.save(root / f"{i:02d}.png")
    for i in (4, 10):
        (root / f"{i:02d}.png").write_bytes((root / f"{i:02d}.png").read_bytes()[:200])
    return root


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Shards of five, two and one pictures, where batches are of two."""
    monkeypatch.setattr(collect, "PICTURES_PER_SHARD", 5)
    monkeypatch.setattr(collect, "SHARD_BYTES", 200)


def outs(root):
    return {point: root / f"{i}" for i, point in enumerate(POINTS)}


def hashes(root):
    return [folder_hash(out) for out in outs(root).values()]


@pytest.fixture
def alone(folder, tmp_path):
    """The hash of each store collected by itself."""
    for (hook_point, tokens), out in outs(tmp_path / "alone").items():
        collect_activations(toy_tower(), load_pictures(folder), hook_point, out, tokens=tokens, **OPTIONS)
    return hashes(tmp_path / "alone")


def together(folder, root, tower=None):
    return collect_together(tower or toy_tower(), load_pictures(folder), outs(root), **OPTIONS)


def watched(monkeypatch, tower, pictures):
    """How many pictures each forward pass has, and from which id on pictures are read."""
    seen, reads, forward, iterate = [], [], tower._project, pictures.iterate
    monkeypatch.setattr(tower, "_project", lambda pixels: (seen.append(len(pixels)), forward(pixels))[1])
    monkeypatch.setattr(pictures, "iterate", lambda *given: (reads.append(given[0]), iterate(*given))[1])
    return seen, reads


def test_the_stores_are_byte_for_byte_those_collected_alone(folder, tmp_path, alone):
    pictures = load_pictures(folder)
    stores = collect_together(toy_tower(), pictures, outs(tmp_path / "together"), **OPTIONS)
    assert list(stores) == POINTS and hashes(tmp_path / "together") == alone
    assert {store.metadata["pictures_per_shard"] for store in stores.values()} == {5, 2, 1}
    assert [name for _, name, _ in pictures.unreadable] == ["04.png", "10.png"]
    assert all([bad["name"] for bad in store.metadata["unreadable"]] == ["04.png", "10.png"]
               for store in stores.values())  # fmt: skip


def test_each_picture_is_read_once_and_goes_through_the_tower_once(folder, tmp_path, monkeypatch):
    tower, pictures = toy_tower(), load_pictures(folder)
    seen, reads = watched(monkeypatch, tower, pictures)
    collect_together(tower, pictures, outs(tmp_path), batch_size=2)
    assert sum(seen) == 9 and reads == [0]


def test_no_more_waits_in_memory_than_the_shard_being_filled(folder, tmp_path, monkeypatch):
    pictures, waiting = load_pictures(folder), []
    iterate = pictures.iterate

    def looking(*given):
        for image_id, pixels in iterate(*given):
            written = [read_json(out / "metadata.json")["shards"] for out in outs(tmp_path).values()]
            waiting.append([image_id - (shards[-1]["last_image_id"] + 1 if shards else 0) for shards in written])
            yield image_id, pixels

    monkeypatch.setattr(pictures, "iterate", looking)
    stores = collect_together(toy_tower(), pictures, outs(tmp_path), batch_size=2)
    most = [store.metadata["pictures_per_shard"] + 2 for store in stores.values()]  # and a batch
    assert (np.max(waiting, axis=0) <= most).all()


def test_a_killed_pass_ends_up_as_if_nothing_had_happened(folder, tmp_path):
    options = {"batch_size": 2, "pictures_per_shard": 3}
    collect_together(toy_tower(), folder, outs(tmp_path / "whole"), **options)
    root = tmp_path / "killed"
    stores = [word for point, out in outs(root).items() for word in (*point, out)]
    slow_collect.killed(folder, stores, root / "5")
    facts = slow_collect.facts
    assert all(facts(out)["shards"] and not facts(out)["complete"] for out in outs(root).values())
    collect_together(toy_tower(), folder, outs(root), **options)
    assert hashes(root) == hashes(tmp_path / "whole")


def test_every_single_write_of_a_pass_may_be_the_last(folder, tmp_path, alone, monkeypatch):
    """Stores whose shards are of unequal length are then unequally far."""
    unequal = set()
    for stop in range(100):
        left, out = [stop], tmp_path / f"stop-{stop}"

        def dying(write, left=left):
            def then(*given):
                if left[0] == 0:
                    raise KeyboardInterrupt
                left[0] -= 1
                write(*given)

            return then

        with monkeypatch.context() as patch:
            for module, name in ((writing, "write_bytes"), (writing, "write_json"), (collect, "write_json")):
                patch.setattr(module, name, dying(getattr(module, name)))
            try:
                together(folder, out)
                break
            except KeyboardInterrupt:
                pass
        written = [read_json(store / "metadata.json")["shards"] for store in outs(out).values()
                   if (store / "metadata.json").is_file()]  # fmt: skip
        unequal.add(tuple(shards[-1]["last_image_id"] if shards else -1 for shards in written))
        together(folder, out)
        assert hashes(out) == alone, stop
    assert stop > 40 and any(len(set(ends)) > 2 for ends in unequal)


def test_only_what_is_lacking_is_computed(folder, tmp_path, alone, monkeypatch):
    root, pictures = tmp_path / "together", load_pictures(folder)
    together(folder, root)
    tower = toy_tower()
    seen, reads = watched(monkeypatch, tower, pictures)
    collect_together(tower, pictures, outs(root), **OPTIONS)
    assert not seen and not reads  # all is there
    shutil.rmtree(root / "4")  # of block_0
    kept = {path: path.stat().st_mtime_ns for out in outs(root).values() for path in out.rglob("*")}
    before = [block.calls for block in tower.module.blocks]
    collect_together(tower, pictures, outs(root), **OPTIONS)
    assert [block.calls - b for block, b in zip(tower.module.blocks, before, strict=True)] == [5, 0, 0]  # five batches
    assert hashes(root) == alone and all(path.stat().st_mtime_ns == time for path, time in kept.items())


def cut(store, shards):
    """The store as a kill leaves it when so many shards are entered."""
    facts = read_json(store / "metadata.json")
    kept = facts["shards"][:shards]
    first = kept[-1]["last_image_id"] + 1 if kept else 0
    known = [bad for bad in facts["unreadable"] if bad["image_id"] < first]
    facts |= {"complete": False, "shards": kept, "rows": sum(shard["rows"] for shard in kept), "unreadable": known}
    write_json(store / "metadata.json", facts)


def test_the_pass_begins_at_the_earliest_picture_that_is_lacking(folder, tmp_path, alone, monkeypatch):
    root, tower, pictures = tmp_path / "together", toy_tower(), load_pictures(folder)
    together(folder, root)
    cut(root / "0", 1)  # pictures 0 to 4 are there, of which 4 cannot be read
    cut(root / "5", 7)  # 0 to 7
    seen, reads = watched(monkeypatch, tower, pictures)
    before = tower.module.blocks[1].calls
    collect_together(tower, pictures, outs(root), **OPTIONS)
    assert hashes(root) == alone
    assert reads == [4] and sum(seen) == 5  # 5, 6 and 7, 8, 9: whole batches, as they were
    assert tower.module.blocks[1].calls - before == 1  # block_1 lacks only what comes after 7


def test_a_store_begun_by_an_earlier_release_loses_no_picture(folder, tmp_path):
    """Its shards held so many readable pictures, so one may end anywhere among the candidates."""
    options = {"batch_size": 2, "pictures_per_shard": 3, "tokens": "mean"}
    whole = collect_activations(toy_tower(), folder, "block_1", tmp_path / "whole", **options)
    out = tmp_path / "begun"
    some = load_pictures(folder).subset([0, 1, 2, 3, 5, 6, 7, 8])
    begun = collect_activations(toy_tower(), some, "block_1", out, **options | {"pictures_per_shard": 4})
    facts = {key: whole.metadata[key] for key in ("id", "fingerprint", "source", "pictures_per_shard")}
    write_json(out / "metadata.json", begun.metadata | facts | {"complete": False})
    store = collect_activations(toy_tower(), folder, "block_1", out, **options)
    assert store.image_ids.tolist() == whole.image_ids.tolist()
    torch.testing.assert_close(store.array(), whole.array())


def test_a_subset_has_the_batches_of_its_own_places(tmp_path, monkeypatch):
    tower, pictures = toy_tower(), load_pictures(noise(90)).subset(range(0, 90, 10))
    seen, _ = watched(monkeypatch, tower, pictures)
    collect_together(tower, pictures, outs(tmp_path), batch_size=4)
    assert seen == [4, 4, 1]


def test_two_who_want_some_of_the_same_stores_wait_for_each_other_and_make_each_once(folder, tmp_path, alone):
    root, towers, failures = tmp_path / "together", [toy_tower(delay=0.02) for _ in range(2)], []

    def run(tower, points):
        try:
            collect_together(tower, folder, {point: outs(root)[point] for point in points}, **OPTIONS)
        except Exception as error:
            failures.append(error)

    before = [tower.module.blocks[0].calls for tower in towers]
    threads = [threading.Thread(target=run, args=given, daemon=True)
               for given in zip(towers, (POINTS[:5], POINTS[:0:-1]), strict=True)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads) and not failures
    assert hashes(root) == alone
    assert sorted(tower.module.blocks[0].calls - b for tower, b in zip(towers, before, strict=True)) == [5, 5]


def test_one_folder_for_two_points_is_refused(folder, tmp_path):
    same = {("block_0", "cls"): tmp_path / "a", ("block_1", "random:2"): tmp_path / "b" / ".." / "a"}
    with pytest.raises(UserError, match=r"named for block_0 cls and for block_1 random:2"):
        collect_together(toy_tower(), folder, same)
    assert not (tmp_path / "a").exists()


def test_one_wrong_point_of_several_stops_before_anything_is_written(folder, tmp_path):
    collect_activations(toy_tower(), folder, "block_1", tmp_path / "2", tokens="mean")
    for wrong, words in ((("block_9", "cls"), "no hook point"), (("block_1", "cls"), "another store")):
        with pytest.raises(UserError, match=words):
            collect_together(toy_tower(), folder, {("block_0", "cls"): tmp_path / "1", wrong: tmp_path / "2"})
    assert not (tmp_path / "1").exists()


def test_no_readable_picture_leaves_no_store_behind(tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"None of the 1 .*a\.jpg \(empty file\)"):
        together(tmp_path / "bad", tmp_path / "stores")
    assert not any(out.exists() for out in outs(tmp_path / "stores").values())


def test_stores_of_half_width_hold_the_rounded_activations(folder, tmp_path):
    full = collect_together(toy_tower(), folder, outs(tmp_path / "full"), **OPTIONS)
    half = collect_together(toy_tower(), folder, outs(tmp_path / "half"), **OPTIONS, dtype="float16")
    for point, store in half.items():
        assert torch.equal(store.array(), full[point].array().half().float()) and store.id != full[point].id


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


def test_a_batch_that_memory_does_not_hold_is_one_sentence_and_what_was_collected_stays(folder, tmp_path, monkeypatch):
    tower, pictures = toy_tower(), load_pictures(folder)
    whole = collect_together(tower, pictures, outs(tmp_path / "whole"), **OPTIONS)
    compute, batches = type(tower).activations_at, []

    def short_of_memory(self, *arguments, **options):
        batches.append(arguments)
        if len(batches) == 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return compute(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(tower), "activations_at", short_of_memory)
        with pytest.raises(UserError, match="too little memory for 2 pictures at once: take a smaller batch"):
            collect_together(tower, pictures, outs(tmp_path / "cut"), **OPTIONS)
    cut = outs(tmp_path / "cut")
    assert any((path / "shards").glob("*.safetensors") for path in cut.values())
    again = collect_together(tower, pictures, cut, **OPTIONS)
    assert [folder_hash(one.path) for one in again.values()] == [folder_hash(one.path) for one in whole.values()]
