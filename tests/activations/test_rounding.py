"""The loss of half precision, on which the profiles of real models rest: as stated, and told by the store."""

import re

import numpy as np
import pytest
import torch
from tiny_towers import noise, toy_tower, write_transformers

from vlm_sae_lib import paths
from vlm_sae_lib.activations import collect_activations, rounding
from vlm_sae_lib.activations.rounding import RoundingLoss, rounding_loss
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pocket.world import pocket_pictures
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.scores.reconstruction import reconstruction
from vlm_sae_lib.towers import load_tower
from vlm_sae_lib.towers.tower import Tower

HALVES = ("float16", "bfloat16")
STATED = {half: [float(line.split()[-2 + i]) for line in re.findall(r"^``.*$|^R².*$", rounding.__doc__, re.M)]
          for i, half in enumerate(HALVES)}  # fmt: skip


def points(tower: Tower) -> list[tuple[str, str]]:
    return [(point, "cls" if tower.has_cls or point == "projection" else "mean") for point in tower.hook_points]


@pytest.fixture(scope="module")
def specs(tmp_path_factory):
    clip = write_transformers(tmp_path_factory.mktemp("models") / "clip", "clip")
    return {"pocket": "pocket", "self-supervised": "pocket:self_supervised", "CLIP": f"hf:{clip}"}


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("which", ["pocket", "self-supervised", "CLIP"])
def test_the_loss_is_the_stated_one(specs, which, half):
    pictures = pocket_pictures(64, 13).images
    full, halved = (load_tower(specs[which], device="cpu", dtype=dtype) for dtype in ("float32", half))
    assert halved.precision == half and next(halved.module.parameters()).dtype == getattr(torch, half)
    pairs = zip(full.activations_at(pictures, points(full)), halved.activations_at(pictures, points(full)), strict=True)
    for point, (a, b) in zip(points(full), pairs, strict=True):
        loss = rounding_loss(a, b)
        found = [loss.error, loss.lost_variance, loss.cosine]
        assert all(value <= bound for value, bound in zip(found, STATED[half][:3], strict=True)), (point, loss)
        assert min(found) > 0  # it did compute in half precision


@pytest.mark.parametrize("half", HALVES)
def test_an_sae_explains_as_much_of_half_precision(half):
    pictures = pocket_pictures(128, 13).images
    places = {"main_matryoshka": ("block_5", "cls"), "main_batch_top_k": ("block_5", "cls"),
              "taxonomy_matryoshka": ("projection", "cls"), "steering": ("block_4", "random:8")}  # fmt: skip
    rows = [load_tower("pocket", device="cpu", dtype=dtype).activations_at(pictures, list(places.values()))
            for dtype in ("float32", half)]  # fmt: skip
    for name, full, halved in zip(places, *rows, strict=True):
        sae = SparseAutoencoder.load(paths.pocket() / "sae" / name)
        explained = [reconstruction(sae, acts.reshape(-1, acts.shape[-1])).r2 for acts in (full, halved)]
        assert explained[0] > 0.9 and abs(explained[0] - explained[1]) <= STATED[half][3], name


def test_the_loss_is_worked_out_as_defined():
    full = torch.tensor([[3.0, 4.0], [-3.0, 4.0]])
    loss = rounding_loss(full, full + torch.tensor([[0.0, 0.5], [0.0, 0.0]]))
    cosine = (-9 + 4.5 * 4) / (np.hypot(3, 4.5) * 5) - 7 / 25
    assert loss == RoundingLoss(pytest.approx(0.1), pytest.approx(0.25 / 18), pytest.approx(cosine))
    assert rounding_loss(full, full) == RoundingLoss(0, 0, pytest.approx(0, abs=1e-15))
    for other in (full[:1], full[:, :1]):
        with pytest.raises(UserError, match="cannot be compared"):
            rounding_loss(full, other)


def test_no_two_precisions_have_one_store(specs, tmp_path):
    towers = {dtype: load_tower(specs["CLIP"], device="cpu", dtype=dtype) for dtype in ("float32", *HALVES)}
    stores = {dtype: collect_activations(tower, noise(3), "block_1", tmp_path / dtype)
              for dtype, tower in towers.items()}  # fmt: skip
    assert len({store.id for store in stores.values()}) == 3
    assert {dtype: store.metadata["precision"] for dtype, store in stores.items()} == {d: d for d in towers}
    with pytest.raises(UserError, match=r"another store \(its precision differs\)"):
        collect_activations(towers["float16"], noise(3), "block_1", tmp_path / "float32")


def test_a_float16_store_of_a_float16_tower_loses_nothing(specs, tmp_path):
    tower = load_tower(specs["CLIP"], device="cpu", dtype="float16")
    whole = collect_activations(tower, noise(3), "block_1", tmp_path / "32", tokens="random:4")
    half = collect_activations(tower, noise(3), "block_1", tmp_path / "16", tokens="random:4", dtype="float16")
    assert torch.equal(whole.array(), half.array()) and whole.id != half.id


def test_what_half_precision_cannot_hold_is_refused_with_the_way_out(tmp_path):
    tower = toy_tower()
    tower.dtype = torch.float16
    tower.module.half()
    with torch.no_grad():
        tower.module.patches.bias.fill_(6e4)
        tower.module.blocks[0].inner.weight.fill_(1)
    with pytest.raises(UserError, match="block_1 in float16 is not finite for picture 0: load the tower in float32"):
        collect_activations(tower, noise(2), "block_1", tmp_path / "store", tokens="mean")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_autocast_around_it_changes_nothing(specs, dtype):
    tower = load_tower(specs["CLIP"], device="cpu", dtype=dtype)
    expected = [tower.activations(noise(3), point, "all") for point in tower.hook_points]
    with torch.autocast("cpu", torch.bfloat16):
        inside = load_tower(specs["CLIP"], device="cpu", dtype=dtype)
        assert torch.is_autocast_enabled("cpu")
        for point, before in zip(tower.hook_points, expected, strict=True):
            assert torch.equal(tower.activations(noise(3), point, "all"), before)
            assert torch.equal(inside.activations_at(noise(3), [(point, "all")])[0], before)
