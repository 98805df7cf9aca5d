"""A store that is put together from parts is the store of one pass, byte for byte, in whatever order they come."""

from dataclasses import asdict

import numpy as np
import pytest
from tiny_towers import noise, toy_tower

from vlm_sae_lib.activations import ActivationStore, collect_activations
from vlm_sae_lib.activations.collect import request
from vlm_sae_lib.activations.parts import Assembly, Laid, Span, computed, ids_of, lay_down, spans
from vlm_sae_lib.activations.store import METADATA, read_metadata
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import folder_hash, write_json
from vlm_sae_lib.pictures import load_pictures

N, PER_SHARD = 17, 4
BAD = (3, 5, 8, 9, 10, 11, 16)
"""Pictures that cannot be read: the last of a shard, one in its middle, a whole shard, the very last."""


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "pictures"
    root.mkdir()
    for i, picture in enumerate(noise(N)):
        picture.save(root / f"{i:02d}.png")
    for i in BAD:
        (root / f"{i:02d}.png").write_bytes(b"")
    return root


def begun(folder, out, tokens="random:2"):
    tower, pictures = toy_tower(), load_pictures(folder)
    fresh = request(tower, pictures, "block_1", tokens, pictures_per_shard=PER_SHARD)
    if not (out / METADATA).exists():
        write_json(out / METADATA, fresh)
    return tower, pictures, Assembly.begin(out, read_metadata(out), pictures)


def come(tower, pictures, assembly, order, batch_size=2):
    for span in order:
        tensors, unreadable = computed(tower, pictures, assembly.metadata, span, batch_size=batch_size)
        laid = lay_down(assembly.out, assembly.metadata["id"], tensors, unreadable)
        assembly.enter(span, Laid(**asdict(laid)))


def whole(folder, out, batch_size=2):
    options = {"tokens": "random:2", "batch_size": batch_size, "pictures_per_shard": PER_SHARD}
    return collect_activations(toy_tower(), load_pictures(folder), "block_1", out, **options)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
@pytest.mark.parametrize("seed", range(3))
def test_parts_in_any_order_make_the_store_of_one_pass(folder, tmp_path, seed, batch_size):
    tower, pictures, assembly = begun(folder, tmp_path / "parts")
    order = [assembly.lacking[i] for i in np.random.default_rng(seed).permutation(len(assembly.lacking))]
    come(tower, pictures, assembly, order, batch_size)
    assembly.finish()
    assert folder_hash(tmp_path / "parts") == folder_hash(whole(folder, tmp_path / "whole", batch_size).path)


def test_a_part_that_comes_twice_is_there_once(folder, tmp_path):
    tower, pictures, assembly = begun(folder, tmp_path / "parts")
    spans_ = assembly.lacking
    come(tower, pictures, assembly, [spans_[0], spans_[0], *spans_[1:]])
    tensors, unreadable = computed(tower, pictures, assembly.metadata, spans_[1], batch_size=2)
    lay_down(assembly.out, assembly.metadata["id"], tensors, unreadable)  # a task given out twice
    assembly.finish()
    assert folder_hash(tmp_path / "parts") == folder_hash(whole(folder, tmp_path / "whole").path)


@pytest.mark.parametrize("done", range(6))
def test_who_goes_on_after_a_kill_needs_what_is_lacking_alone(folder, tmp_path, done):
    """Killed after some parts, with one written and not yet in its place."""
    tower, pictures, assembly = begun(folder, tmp_path / "parts")
    first = assembly.lacking
    come(tower, pictures, assembly, first[:done])
    if done + 1 < len(first):
        tensors, unreadable = computed(tower, pictures, assembly.metadata, first[done + 1], batch_size=2)
        lay_down(assembly.out, assembly.metadata["id"], tensors, unreadable)
    tower, pictures, again = begun(folder, tmp_path / "parts")
    # of a shard whose last pictures cannot be read, and of one without any, the reading alone comes once more
    assert len(again.lacking) <= len(first) - done + 2
    come(tower, pictures, again, again.lacking)
    again.finish()
    assert folder_hash(tmp_path / "parts") == folder_hash(whole(folder, tmp_path / "whole").path)


def test_one_who_began_in_parts_and_one_who_goes_on_alone_agree(folder, tmp_path):
    tower, pictures, assembly = begun(folder, tmp_path / "parts")
    come(tower, pictures, assembly, assembly.lacking[:2])
    whole(folder, tmp_path / "parts")
    assert folder_hash(tmp_path / "parts") == folder_hash(whole(folder, tmp_path / "whole").path)


def test_a_store_that_lacks_parts_is_not_marked_complete(folder, tmp_path):
    tower, pictures, assembly = begun(folder, tmp_path / "parts")
    come(tower, pictures, assembly, assembly.lacking[1:])
    with pytest.raises(UserError, match="lacks"):
        assembly.finish()
    with pytest.raises(UserError, match="unfinished"):
        ActivationStore.open(tmp_path / "parts")


def test_without_a_readable_picture_there_are_no_rows(tmp_path):
    (tmp_path / "pictures").mkdir()
    for i in range(3):
        (tmp_path / "pictures" / f"{i}.png").write_bytes(b"")
    tower, pictures, assembly = begun(tmp_path / "pictures", tmp_path / "parts")
    come(tower, pictures, assembly, assembly.lacking)
    assembly.finish()
    assert not assembly.metadata["complete"] and len(assembly.metadata["unreadable"]) == 3


def test_a_worker_that_does_not_see_the_store_says_so(folder, tmp_path):
    tower, pictures, assembly = begun(folder, tmp_path / "parts")
    tensors, unreadable = computed(tower, pictures, assembly.metadata, assembly.lacking[0])
    for out, store_id in ((tmp_path / "elsewhere", assembly.metadata["id"]), (tmp_path / "parts", "another")):
        with pytest.raises(UserError, match="all machines share"):
            lay_down(out, store_id, tensors, unreadable)


def test_spans_cover_each_picture_once(folder):
    pictures = load_pictures(folder).subset([0, 2, 3, 7, 8, 16])
    assert spans(pictures, {"pictures_per_shard": 4}) == [Span(0, 7), Span(8, 16)]
    assert spans(pictures, {"pictures_per_shard": 4}, first=3) == [Span(3, 7), Span(8, 16)]
    assert spans(pictures, {"pictures_per_shard": 4}, first=17) == []
    assert ids_of(pictures).tolist() == [0, 2, 3, 7, 8, 16] and ids_of([None] * 3).tolist() == [0, 1, 2]
