"""The LLaVA behind its interface: the right block, greedy words, and one-sentence errors."""

import json
import shutil

import pytest
import torch
from PIL import Image
from tiny_vlm import BLOCKS, DIM, PROMPTS, save_tiny_vlm, shared_vlm, tiny_model, tiny_pictures, tiny_processor
from transformers import CLIPVisionConfig, CLIPVisionModel

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.vlms.load import load_vlm
from vlm_sae_lib.vlms.vlm import Vlm


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_vlm(tmp_path_factory.mktemp("llava"))


def test_hook_point_is_the_block_the_projector_reads():
    vlm = shared_vlm()
    assert (vlm.hook_point, vlm.dim, vlm.tower_tokens) == (f"block_{BLOCKS - 2}", DIM, 17)
    images = tiny_pictures(2)
    hidden = vlm.model.model.vision_tower(vlm.pixels(images), output_hidden_states=True).hidden_states
    torch.testing.assert_close(vlm.states(images), hidden[-2], rtol=0, atol=0)


@pytest.mark.parametrize(("layer", "block"), [(-1, "block_3"), (-3, "block_1"), (2, "block_1"), ([-2], "block_2")])
def test_hook_point_follows_the_config(layer, block):
    assert Vlm(tiny_model(feature_layer=layer), tiny_processor(), device="cpu").hook_point == block


@pytest.mark.parametrize("layer", [[-2, -1], 0, -6, 9])
def test_a_layer_that_is_not_one_blocks_output_is_refused(layer):
    with pytest.raises(UserError, match="projector reads|vision_feature_layer"):
        Vlm(tiny_model(feature_layer=layer), tiny_processor(), device="cpu")


def test_features_of_states_are_what_the_model_reads():
    vlm, images = shared_vlm(), tiny_pictures(2)
    expected = torch.stack(list(vlm.model.get_image_features(vlm.pixels(images)).pooler_output))
    torch.testing.assert_close(vlm.features(vlm.states(images)), expected, rtol=0, atol=1e-6)


def test_answers_of_a_batch_are_those_of_single_pictures():
    vlm, images = shared_vlm(), tiny_pictures(5)
    prompts = [PROMPTS[i % 3] for i in range(5)]  # of different lengths
    alone = [vlm.answer(image, prompt, max_new_tokens=5) for image, prompt in zip(images, prompts, strict=True)]
    assert vlm.answers(images, prompts, max_new_tokens=5, batch_size=2) == alone
    assert len(set(alone)) > 2
    assert vlm.answers(images, PROMPTS[0], max_new_tokens=5)[0] == alone[0]
    assert vlm.answers([], PROMPTS[0]) == []
    with pytest.raises(ValueError, match="as many prompts"):
        vlm.answers(images, PROMPTS[:2])


def test_the_first_word_is_the_argmax_of_the_logits_and_grey_pictures_work():
    vlm = shared_vlm()
    image = tiny_pictures(3)[2].convert("L")
    token = vlm.logits(image, PROMPTS[0]).argmax()
    assert vlm.answer(image, PROMPTS[0], max_new_tokens=1) == vlm.decode(token[None, None])[0]
    assert vlm.answer(image.convert("RGB"), PROMPTS[0], max_new_tokens=1) == vlm.decode(token[None, None])[0]


def test_load_from_a_folder_gives_the_same_model(folder):
    loaded, vlm = load_vlm(f"hf:{folder}", device="cpu"), shared_vlm()
    assert loaded.weights_hash == vlm.weights_hash
    image = tiny_pictures(1)[0]
    torch.testing.assert_close(loaded.logits(image, PROMPTS[0]), vlm.logits(image, PROMPTS[0]), rtol=0, atol=1e-6)


def test_what_is_not_a_llava_is_told_in_one_sentence(folder, tmp_path):
    clip = tmp_path / "clip"
    CLIPVisionModel(CLIPVisionConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
                                     image_size=8, patch_size=8)).save_pretrained(clip)  # fmt: skip
    (tmp_path / "empty").mkdir()
    half = shutil.copytree(folder, tmp_path / "half")
    (half / "model.safetensors").unlink()
    mute = shutil.copytree(folder, tmp_path / "mute")
    (mute / "chat_template.jinja").unlink()
    for spec, hint in {
        f"hf:{tmp_path / 'missing'}": "no folder",
        f"hf:{tmp_path / 'empty'}": "config.json",
        f"hf:{clip}": "not a LLaVA",
        f"hf:{half}": "no file named",
        f"hf:{mute}": "chat template",
        "llava": "pocket",
        "hf:": "pocket",
    }.items():
        with pytest.raises(UserError, match=hint) as caught:
            load_vlm(spec, device="cpu")
        assert "\n" not in str(caught.value), spec


def test_a_tower_with_another_block_count_is_refused():
    model = tiny_model()
    model.config.vision_config.num_hidden_layers = 7
    with pytest.raises(UserError, match="7 blocks"):
        Vlm(model, tiny_processor(), device="cpu")


def test_a_picture_of_any_size_is_taken(folder):
    assert json.loads((folder / "config.json").read_text())["model_type"] == "llava"
    vlm = shared_vlm()
    assert vlm.states([Image.new("RGB", (200, 150), "white")]).shape == (1, 17, DIM)
