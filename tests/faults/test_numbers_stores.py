"""Stores and towers among bad numbers: what is asked for by row, what a hook point gives, what goes into a tower."""

import numpy as np
import pytest
import torch
from bad_numbers import AROUND, NOT_FINITE, assert_same, refused
from stores import make_store
from tiny_towers import noise, toy_pixels, toy_tower

from vlm_sae_lib.activations import ActivationStore, collect_activations, collect_together
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.towers import Tower

WHAT = "bad numbers and shapes"
ROWS = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
PLACES = np.array([3, 0, -1, 3])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store") / "it", ROWS, np.arange(12))


FORMS = {
    "list": lambda x: x.tolist(), "int8": lambda x: x.astype(np.int8), "big-endian": lambda x: x.astype(">i4"),
    "every second": lambda x: np.repeat(x, 2)[::2], "backwards": lambda x: x[::-1].copy()[::-1],
    "tensor": torch.tensor, "int32 tensor": lambda x: torch.tensor(x, dtype=torch.int32),
    "object": lambda x: x.astype(object),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_asked_for_by_whole_numbers_of_any_make(form, store, tried):
    assert_same(store[FORMS[form](PLACES)], ROWS[PLACES], 0, 0)
    tried(WHAT)


WRONG = {
    "beyond": [12], "before": [-13], "far beyond": np.array([2**63], dtype=np.uint64), "half": [0.5], "NaN": [np.nan],
    "None": None, "words": ["a"], "complex": [1j], "a table": [[0, 1]], "ragged": [[0], [0, 1]], "short mask": [True],
    "no numbers": torch.zeros(2, dtype=torch.long, device="meta"), "a mask of two axes": np.ones((12, 1), dtype=bool),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_rows_that_are_none_are_an_error_of_index(name, store, tried):
    assert refused(lambda: store[WRONG[name]], (IndexError,))
    tried(WHAT)


@pytest.mark.parametrize("rows", [[], slice(5, 5), np.zeros(12, dtype=bool), 4, np.int64(4), torch.tensor(4)])
def test_no_row_and_one_row_have_the_width(rows, store, tried):
    assert store[rows].shape in ((0, 4), (1, 4))
    tried(WHAT)


@pytest.mark.parametrize("around", AROUND)
def test_what_is_switched_around_changes_neither_store_nor_type(around, store, tmp_path, tried):
    tower, pictures = toy_tower(), noise(5)
    before = collect_activations(tower, pictures, "block_1", tmp_path / "before", tokens="all", batch_size=2)
    with AROUND[around]():
        opened = ActivationStore.open(store.path, verify=True)
        for rows in (opened[[0, 7, 11]], opened[2:9], opened.array()):
            assert rows.dtype == torch.float32 and rows.device.type == "cpu"
        assert_same(opened.array(), ROWS, 0, 0)
        after = collect_activations(tower, pictures, "block_1", tmp_path / "after", tokens="all", batch_size=2)
        assert after.array().dtype == torch.float32
    for file in before._files:
        assert file.read_bytes() == (after.path / "shards" / file.name).read_bytes()
    tried(WHAT)


def tower_that_gives(value, picture) -> Tower:
    """A tower whose second block gives a value on the first number of one picture of a batch."""
    tower = toy_tower()
    tower._blocks[1].register_forward_hook(lambda module, given, out: put(out, value, picture))
    return tower


def put(hidden, value, picture):
    if len(hidden) > picture:
        hidden = hidden.clone()
        hidden[picture, 0, 0] = value
    return hidden


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("value", [*NOT_FINITE, 70000.0, -70000.0, 3e38])
def test_what_a_store_cannot_hold_ends_the_collection_with_the_picture(value, dtype, tmp_path, tried):
    tower, point = tower_that_gives(value, 1), ("block_1", "cls")

    def collect():
        return collect_together(tower, noise(3), {point: tmp_path / "it"}, batch_size=4, dtype=dtype)

    if np.isfinite(value) and dtype == "float32":
        assert collect()[point].array()[1, 0] == np.float32(value)
    else:
        said = refused(collect)
        assert "picture 1" in said and ("too large for float16" in said if np.isfinite(value) else "not finite" in said)
        with pytest.raises(UserError, match="no activation store|unfinished"):
            ActivationStore.open(tmp_path / "it")
    tried(WHAT)


PIXELS = torch.stack([toy_pixels(picture) for picture in noise(3)])


@pytest.mark.parametrize("name", ["transposed", "backwards", "gradient", "inference", "every second"])
def test_pixels_of_another_layout_give_the_same(name, tried):
    tower = toy_tower()
    wide = torch.zeros(6, *PIXELS.shape[1:])
    wide[::2] = PIXELS
    with torch.inference_mode():
        other = PIXELS.clone()
    forms = {
        "transposed": PIXELS.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2), "every second": wide[::2],
        "backwards": PIXELS.flip(0).flip(0), "gradient": PIXELS.clone().requires_grad_(), "inference": other,
    }  # fmt: skip
    for tokens in ("cls", "mean", "all", "random:2"):
        found = tower.activations(forms[name], "block_1", tokens)
        assert_same(found, tower.activations(PIXELS, "block_1", tokens))
        assert not found.requires_grad and found.dtype == torch.float32
        tried(WHAT)


@pytest.mark.parametrize("ids", [[0, 1], [0, 1, 2, 3], [[0, 1, 2]]])
def test_ids_are_one_for_each_picture(ids, tried):
    assert refused(lambda: toy_tower().activations(PIXELS, "block_1", image_ids=ids), (ValueError,))
    tried(WHAT)


def test_no_picture_has_activations_of_the_width(tried):
    for tokens, shape in (("cls", (0, 6)), ("all", (0, 5, 6)), ("random:2", (0, 2, 6))):
        assert toy_tower().activations([], "block_1", tokens).shape == shape
        tried(WHAT)


def test_a_picture_that_is_not_finite_is_not_stored(tmp_path, tried):
    tower = toy_tower()
    pixels = PIXELS.clone()
    pixels[2, 0, 3, 3] = float("nan")
    assert tower.activations(pixels, "block_1", "all")[2].isnan().any()
    assert torch.isfinite(tower.activations(pixels, "block_1", "all")[:2]).all()
    preprocess = tower.preprocess
    tower.preprocess = lambda picture: preprocess(picture) * float("inf")
    store = tmp_path / "it"
    assert "not finite" in refused(lambda: collect_activations(tower, noise(2), "block_1", store, tokens="mean"))
    tried(WHAT)
