"""The text half of a CLIP beside its tower."""

import numpy as np
import pytest
import stand_ins
import torch
import transformers as hf
from hub_cache import REVISION, offline, put
from tiny_towers import noise

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.steering.word_similarity import judge_of
from vlm_sae_lib.towers import load_tower
from vlm_sae_lib.towers.texts import text_part

WORDS = ["bird", "A bird", "stork", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    stand_ins.clip(2, projection=48)(made := tmp_path_factory.mktemp("clip"))
    return made


def test_texts_and_pictures_of_a_clip_of_transformers_are_its_own(folder):
    judge = judge_of(load_tower(f"hf:{folder}", device="cpu"))
    model, tokenizer = hf.CLIPModel.from_pretrained(folder).eval(), hf.AutoTokenizer.from_pretrained(folder)
    processor = hf.CLIPImageProcessor.from_pretrained(folder)
    images = noise(3)
    with torch.no_grad():
        inputs = tokenizer(WORDS, padding=True, return_tensors="pt")
        output = model(**inputs, pixel_values=processor(images, return_tensors="pt")["pixel_values"])
    words, pictures = judge.words(WORDS), judge.pictures(images)
    np.testing.assert_allclose(words, output.text_embeds, atol=1e-5)
    lengths = np.linalg.norm(pictures, axis=1, keepdims=True)
    np.testing.assert_allclose(pictures / lengths, output.image_embeds, atol=1e-5)
    assert not np.allclose(lengths, 1)  # the paper takes the mean of embeddings that are not normalised
    assert np.abs(words[0] - words[2]).max() > 1e-3 and np.array_equal(judge.words(["stork"])[0], words[2])


def test_a_repository_is_read_at_the_tower_s_own_commit(tmp_path, monkeypatch):
    offline(monkeypatch, tmp_path)
    put(tmp_path, "open/clip", stand_ins.clip(2))
    texts = text_part(load_tower(f"hf:open/clip@{REVISION}", device="cpu"))
    assert texts(WORDS).shape == (4, 48)


def test_the_pocket_clip_has_one_and_other_encoders_none(tmp_path):
    tower = load_tower("pocket:second_clip", device="cpu")
    assert judge_of(tower).words(["finch", "red"]).shape == (2, tower.dim("projection"))
    assert judge_of(load_tower("pocket:self_supervised", device="cpu")) is None
    stand_ins.dinov2(tmp_path)
    assert judge_of(load_tower(f"hf:{tmp_path}", device="cpu")) is None


def test_a_clip_without_its_tokenizer_is_told(tmp_path):
    stand_ins.clip(2)(tmp_path)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match="no vocabulary"):
        text_part(load_tower(f"hf:{tmp_path}", device="cpu"))
