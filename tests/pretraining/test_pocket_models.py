"""The committed pocket models meet their bars on pictures that they have not seen."""

import numpy as np
import pytest
import torch

from vlm_sae_lib import paths
from vlm_sae_lib.pocket import world
from vlm_sae_lib.pocket.islands import HOME, MODELS
from vlm_sae_lib.pretraining import exam, train
from vlm_sae_lib.pretraining.convert import to_vision_model
from vlm_sae_lib.pretraining.llava import load as load_llava
from vlm_sae_lib.pretraining.pictures import to_tensor
from vlm_sae_lib.taxonomy import RANKS
from vlm_sae_lib.towers import pocket_models

SEED = 90_210  # no model, no exam and no notebook has used it


def accuracy(table) -> dict[str, float]:
    return dict(zip(table["what"], table["accuracy"], strict=True))


@pytest.mark.parametrize("name", ["clip", "second_clip"])
def test_clip_names_what_it_sees(name):
    found = accuracy(exam.examine_clip(name, world.pocket_pictures(400, SEED)))
    assert found["species"] >= 0.95 and found["family"] >= 0.93
    assert all(found[rank] >= 0.90 for rank in RANKS)


def test_the_scoring_encoder_is_well_spread_and_knows_species():
    reference, held_out = world.pocket_pictures(6000, SEED + 1), world.pocket_pictures(500, SEED)
    found = accuracy(exam.examine_scoring_encoder(reference, held_out))
    assert abs(found["mean cosine of held-out pairs"]) <= 0.05
    assert found["5 nearest neighbours share the species"] >= 0.74


def test_llava_answers_and_describes():
    found = accuracy(exam.examine_llava(world.pocket_pictures(80, SEED), n_captions=40))
    for slot in ("order", "colour", "pattern", "habitat", "species"):
        assert found[f"one word: {slot}"] >= 0.95, slot
        assert found[f"caption: {slot}"] >= 0.95, slot
    assert found["empty scene: nothing"] >= 0.95 and found["blank page: nothing"] == 1


@torch.no_grad()
def test_the_llavas_tower_is_that_clip():
    clip, _, _ = pocket_models.load_clip()
    llava, _ = load_llava(HOME.folder("llava"))
    pixels = to_tensor(exam.pixels_of(world.pocket_pictures(4, SEED)))
    converted = to_vision_model(clip)
    for name, tensor in llava.model.vision_tower.state_dict().items():
        assert torch.equal(tensor, converted.state_dict()[name]), name
    projected = converted(pixels).pooler_output @ clip.visual.proj
    torch.testing.assert_close(projected, clip.encode_image(pixels), atol=1e-5, rtol=1e-5)


def test_the_llava_is_trained_behind_that_clip(monkeypatch):
    taken = []
    monkeypatch.setattr(train, "paint_training_pictures", lambda *_: None)
    monkeypatch.setattr(train.llava, "train", lambda tower, *_, **__: taken.append(tower))
    monkeypatch.setattr(train.llava, "save", lambda *_: None)
    train.train_llava()
    same, theirs = (model.state_dict() for model in (taken[0], pocket_models.load_clip("clip")[0]))
    assert all(torch.equal(same[name], weight) for name, weight in theirs.items())


@torch.no_grad()
def test_the_second_clip_is_another_model():
    pixels = to_tensor(exam.pixels_of(world.pocket_pictures(64, SEED)))
    first, second = (pocket_models.load_clip(name)[0].encode_image(pixels) for name in ("clip", "second_clip"))
    similar = np.corrcoef(first.flatten(), second.flatten())[0, 1]
    assert abs(similar) < 0.5


def test_all_weights_together_are_small_and_have_cards():
    folder = paths.pocket()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert size <= 20 * 2**20
    for name in MODELS:
        card = (folder / name / "README.md").read_text()
        assert "What it cannot do" in card and "95 %" in card
    assert not list(folder.rglob("*.pt")) and not list(folder.rglob("*.bin"))
