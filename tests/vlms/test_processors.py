"""Processors that count picture tokens otherwise than their model; pictures as phones and scanners have them."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_families import SIDE, make, save
from tiny_vlm import PROMPTS, TinySae, save_tiny_vlm, tiny_model, tiny_pictures, tiny_processor

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures import to_rgb
from vlm_sae_lib.show import explorer, panel
from vlm_sae_lib.steering.sweep import UNSTEERED, SteeringBench
from vlm_sae_lib.vlms import load_vlm
from vlm_sae_lib.vlms.vlm import Vlm

PICTURES = tiny_pictures(2)
SPOILT = {
    "as in folders of older dates": {"patch_size": None, "vision_feature_select_strategy": None,
                                     "num_additional_image_tokens": None},
    "no patch size": {"patch_size": None},
    "another patch size": {"patch_size": 8},
    "another strategy": {"vision_feature_select_strategy": "full"},
    "the class token forgotten": {"num_additional_image_tokens": 0},
}  # fmt: skip


def change(path, **settings):
    """Settings of a JSON file replaced, those that are None removed."""
    told = json.loads(path.read_text()) | settings
    path.write_text(json.dumps({key: value for key, value in told.items() if value is not None}))


def words(vlm):
    return vlm.answers(PICTURES, PROMPTS[0], max_new_tokens=4)


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    return save_tiny_vlm(tmp_path_factory.mktemp("llava"))


@pytest.mark.parametrize("what", SPOILT)
def test_a_llavas_picture_tokens_are_counted_as_its_model_has_them(llava, tmp_path, what):
    folder = shutil.copytree(llava, tmp_path / "llava")
    change(folder / "processor_config.json", **SPOILT[what])
    expected, vlm = words(load_vlm(f"hf:{llava}", device="cpu")), load_vlm(f"hf:{folder}", device="cpu")
    assert words(vlm) == expected
    bench = SteeringBench(vlm, TinySae(), PICTURES, keep_error=True)
    assert bench.captions([UNSTEERED], PROMPTS[0], max_new_tokens=4)[0].tolist() == expected


def test_a_model_that_keeps_the_class_token_has_a_place_for_it():
    model = tiny_model()
    model.config.vision_feature_select_strategy = "full"
    vlm = Vlm(model, tiny_processor(), device="cpu")
    assert vlm.picture_tokens((64, 64)) == (17, 1) and len(words(vlm)) == 2


@pytest.mark.parametrize("square", [False, True])
@pytest.mark.parametrize(
    ("family", "attribute", "wrong"),
    [("llava_next", "patch_size", None), ("llava_next", "num_additional_image_tokens", 0),
     ("llava_next", "vision_feature_select_strategy", None), ("llava_onevision", "num_image_tokens", None),
     ("llava_onevision", "vision_feature_select_strategy", "default"),
     ("llava_onevision", "vision_aspect_ratio", "anyres_max_1"), ("idefics3", "image_seq_len", 169)],
)  # fmt: skip
def test_other_families_processors_follow_their_models_too(family, attribute, wrong, square):
    expected = words(Vlm(*make(family), device="cpu", square=square))
    model, processor = make(family)
    assert hasattr(processor, attribute)
    setattr(processor, attribute, wrong)
    assert words(Vlm(model, processor, device="cpu", square=square)) == expected


def test_a_grid_of_tiles_that_is_not_the_models_is_replaced():
    model, processor = make("llava_next")
    processor.image_processor.image_grid_pinpoints = [[SIDE, 3 * SIDE]]
    wide = [picture.resize((2 * SIDE, SIDE)) for picture in PICTURES]
    assert Vlm(model, processor, device="cpu").answers(wide, PROMPTS[0]) == Vlm(
        *make("llava_next"), device="cpu"
    ).answers(wide, PROMPTS[0])


def test_pictures_of_another_towers_size_are_one_sentence_at_load(llava, tmp_path):
    folder = shutil.copytree(llava, tmp_path / "llava")
    name = "processor_config.json"
    told = json.loads((folder / name).read_text())
    told["image_processor"]["size"] = {"height": 32, "width": 32}
    (folder / name).write_text(json.dumps(told))
    with pytest.raises(UserError, match=r"do not fit its vision tower \(.*32.*64.*preprocessor_config.json") as caught:
        load_vlm(f"hf:{folder}", device="cpu")
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


@pytest.mark.parametrize("family", ["llava", "llava_onevision", "idefics3"])
def test_another_models_picture_token_is_one_sentence_at_load(tmp_path, family):
    save(family, tmp_path)
    name = "image_token_id" if family == "idefics3" else "image_token_index"
    change(tmp_path / "config.json", **{name: 9})
    told = r"puts [01] picture tokens into a prompt where the model makes \d+: "
    with pytest.raises(UserError, match=told) as caught:
        load_vlm(f"hf:{tmp_path}", device="cpu")
    assert "\n" not in str(caught.value)


# ---- pictures as they come -------------------------------------------------------------------------------------------


def phone(picture: Image.Image) -> Image.Image:
    """The picture as a phone that is held sideways has it: turned, and the turn in its EXIF."""
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6  # to be turned by 270°
    return turned


def scan(picture: Image.Image) -> Image.Image:
    """Its grey levels in 16 bits."""
    return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)


@pytest.mark.parametrize("family", ["llava", "llava_next"])
def test_a_phones_photograph_and_a_scan_are_seen_as_their_files_are(family):
    vlm = Vlm(*((tiny_model(), tiny_processor()) if family == "llava" else make(family)), device="cpu")
    upright = tiny_pictures(1)[0].resize((64, 32))
    for given, seen in ((phone(upright), upright), (scan(upright), upright.convert("L"))):
        assert torch.equal(vlm.pixels([given]), vlm.pixels([seen]))
        assert torch.equal(vlm.states([given]), vlm.states([seen]))
        pixels, expected = (vlm.inputs([p], [PROMPTS[0]]) for p in (given, seen))
        assert pixels.keys() == expected.keys() and all(torch.equal(pixels[k], expected[k]) for k in pixels)
        assert vlm.answers([given, seen], PROMPTS[0])[0] == vlm.answer(seen, PROMPTS[0])
        assert explorer.data_uri(given, 96) == explorer.data_uri(seen, 96)
        assert panel._png(given) == panel._png(to_rgb(seen))
        twice = to_rgb(to_rgb(given))
        assert twice.tobytes() == to_rgb(given).tobytes() == to_rgb(seen).tobytes() and twice.size == upright.size
