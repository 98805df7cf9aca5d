import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tiny_towers import noise, toy_tower

from vlm_sae_lib.activations import ActivationStore, collect_activations
from vlm_sae_lib.errors import UserError


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Seven pictures of five tokens in three shards, and beside it what must lie in it."""
    tower, out = toy_tower(), tmp_path_factory.mktemp("store") / "all"
    made = collect_activations(tower, noise(7), "block_1", out, tokens="all", batch_size=2, pictures_per_shard=3)
    made.expected = tower.activations(noise(7), "block_1", "all").reshape(35, 6)
    return made


def test_the_format_is_the_written_one(store):
    metadata = json.loads((store.path / "metadata.json").read_text())
    assert metadata == store.metadata and metadata["complete"] is True
    for key in ("schema", "id", "tower", "weights_hash", "hook_point", "tokens", "preprocessing", "source",
                "fingerprint", "dtype", "dim", "seed", "shards", "rows", "unreadable"):
        assert key in metadata
    assert [shard["rows"] for shard in metadata["shards"]] == [15, 15, 5]
    assert sorted(path.name for path in store.path.iterdir()) == ["metadata.json", "shards"]
    names = [f"{i:06d}.safetensors" for i in range(3)]
    assert sorted(path.name for path in (store.path / "shards").iterdir()) == names
    shard = load_file(store.path / "shards" / names[2])  # by another reader than ours
    assert shard["activations"].shape == (5, 6) and shard["activations"].dtype == np.float32
    assert shard["image_id"].dtype == np.int64 and shard["image_id"].tolist() == [6] * 5
    assert shard["token"].tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(shard["activations"], store.expected[30:], rtol=1e-5, atol=1e-6)


def test_rows_come_back_however_they_are_asked_for(store):
    assert len(store) == 35 and store.dim == 6
    whole = store.array()
    torch.testing.assert_close(whole, store.expected)
    mask = np.arange(35) % 3 == 1
    order = np.random.default_rng(0).permutation(35)
    for rows in (slice(None), slice(13, 17), slice(30, 2, -4), slice(5, 5), order, torch.from_numpy(order),
                 [0, 34, 0, -35], mask, torch.from_numpy(mask), order.astype(np.int32)):
        plain = rows.numpy() if isinstance(rows, torch.Tensor) else rows
        expected = whole.numpy()[plain]
        assert store[rows].dtype == torch.float32
        np.testing.assert_array_equal(store[rows].numpy(), expected)
    assert torch.equal(store[3], whole[3:4]) and torch.equal(store[-1], whole[34:])
    assert store[[]].shape == (0, 6) and store[np.zeros(35, bool)].shape == (0, 6)


@pytest.mark.parametrize("rows", [35, -36, [0, 35], np.ones(34, bool), [[0, 1]], 0.5])
def test_rows_that_are_not_there_are_an_error(store, rows):
    with pytest.raises(IndexError):
        store[rows]


def test_ids_and_batches_follow_the_stored_order(store):
    np.testing.assert_array_equal(store.image_ids, np.repeat(np.arange(7), 5))
    np.testing.assert_array_equal(store.token_ids, np.tile(np.arange(5), 7))
    batches = list(store.batches(16))
    assert [len(batch) for batch in batches] == [16, 16, 3]
    assert torch.equal(torch.cat(batches), store.array())


def test_what_is_handed_out_is_the_callers_own(store):
    """The files are mapped into memory: writing to a batch must reach neither them nor the next reader."""
    before = store.array()
    for mine in (store[0:5], store.array(), store[[1, 2]]):
        mine.zero_()
    assert torch.equal(store.array(), before) and store.verify()


def test_activations_may_be_trained_on(store):
    weight = torch.ones(6, requires_grad=True)
    (store[0:4] @ weight).sum().backward()
    assert weight.grad is not None


def test_half_precision_is_stored_as_such_and_read_as_single(store, tmp_path):
    half = collect_activations(toy_tower(), noise(7), "block_1", tmp_path / "half", tokens="all", dtype="float16")
    assert half.id != store.id and half[0].dtype == torch.float32
    assert load_file(half.path / "shards" / "000000.safetensors")["activations"].dtype == np.float16
    torch.testing.assert_close(half.array(), store.expected.half().float(), rtol=2e-3, atol=1e-4)


@pytest.fixture
def copy(store, tmp_path):
    import shutil

    shutil.copytree(store.path, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_store_may_be_moved(store, copy):
    assert torch.equal(ActivationStore.open(copy, verify=True).array(), store.array())


def test_a_changed_shard_is_named(copy):
    shard = copy / "shards" / "000001.safetensors"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    opened = ActivationStore.open(copy)
    with pytest.raises(UserError, match="000001.safetensors"):
        opened.verify()
    with pytest.raises(UserError, match="000001.safetensors"):
        ActivationStore.open(copy, verify=True)
    shard.write_bytes(b"\x08")
    with pytest.raises(UserError, match="000001.safetensors"):
        ActivationStore.open(copy).array()
    shard.unlink()
    with pytest.raises(UserError, match="lost 1 of its . shards: 000001.safetensors .missing."):
        ActivationStore.open(copy)


@pytest.mark.parametrize(("change", "words"), [
    ({"complete": False}, "run the same collect again"),
    ({"schema": 99}, "schema 99"),
    ({"shards": None}, "not the metadata"),
])
def test_a_store_that_cannot_be_read_says_why(copy, change, words):
    metadata = json.loads((copy / "metadata.json").read_text()) | change
    metadata = {key: value for key, value in metadata.items() if value is not None}
    (copy / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(UserError, match=words):
        ActivationStore.open(copy)


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(UserError, match="no activation store"):
        ActivationStore.open(tmp_path)
    with pytest.raises(UserError, match="no activation store"):
        ActivationStore.open(tmp_path / "nowhere")
    for text in ("", "[1]", '{"a": 1}', "\x00"):
        (tmp_path / "metadata.json").write_text(text)
        with pytest.raises(UserError, match="not the metadata"):
            ActivationStore.open(tmp_path)
