"""A random LLaVA of the pocket model's own classes, small enough to be built anew in a test, and an SAE to match."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from vlm_sae_lib.vlms.vlm import Vlm

SPECIAL = ["<pad>", "<s>", "</s>", "<image>"]
QUESTION_WORDS = ["what", "colour", "order", "is", "it", "?", "where", "describe", "the", "picture", "."]
WORDS = ["USER:", "ASSISTANT:", *QUESTION_WORDS, "a", "red", "blue", "beetle", "fern", "sea", "nothing"]
TEMPLATE = (
    "<s> {% for m in messages %}USER: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
PROMPTS = ["what colour is it ?", "what order ?", "where is it ?"]
DIM, BLOCKS = 32, 4


def tiny_model(seed: int = 0, feature_layer: int | list[int] = -2) -> LlavaForConditionalGeneration:
    torch.manual_seed(seed)
    vision = CLIPVisionConfig(
        hidden_size=DIM, intermediate_size=64, num_hidden_layers=BLOCKS, num_attention_heads=2, image_size=64,
        patch_size=16, projection_dim=DIM,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=len(SPECIAL) + len(WORDS), hidden_size=48, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=128, pad_token_id=0, bos_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=3, image_seq_length=16,
        vision_feature_layer=feature_layer, vision_feature_select_strategy="default",
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():  # the usual initialisation is so small that every picture would get the same answer
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "embed_positions" not in name:
                weight.mul_(8 if "vision" not in name else 4)
    return model


def tiny_processor() -> LlavaProcessor:
    vocabulary = {word: i for i, word in enumerate(SPECIAL + WORDS)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="nothing"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        extra_special_tokens={"image_token": "<image>"},
    )  # fmt: skip
    images = CLIPImageProcessor(
        size={"height": 64, "width": 64}, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.3] * 3
    )
    return LlavaProcessor(
        image_processor=images, tokenizer=tokenizer, patch_size=16, num_additional_image_tokens=1,
        vision_feature_select_strategy="default", chat_template=TEMPLATE,
    )  # fmt: skip


def tiny_vlm(seed: int = 0) -> Vlm:
    return Vlm(tiny_model(seed), tiny_processor(), spec="tiny", device="cpu")


@cache
def shared_vlm() -> Vlm:
    """One model for all tests that leave it as it was."""
    return tiny_vlm()


def save_tiny_vlm(folder: Path) -> Path:
    tiny_model().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


def tiny_pictures(n: int, seed: int = 0) -> list[Image.Image]:
    """Colour patches on noise: different enough for different answers."""
    rng = np.random.default_rng(seed)
    pictures = []
    for _ in range(n):
        pixels = np.clip(rng.normal(rng.integers(0, 255, 3), 25, (64, 64, 3)), 0, 255)
        top, left = rng.integers(0, 40, 2)
        pixels[top : top + 24, left : left + 24] = rng.integers(0, 255, 3)
        pictures.append(Image.fromarray(pixels.astype(np.uint8)))
    return pictures


class TinySae:
    """A ReLU dictionary with the methods that steering asks of an SAE; about half of its latents fire."""

    def __init__(self, dim: int = DIM, n_latents: int = 40, seed: int = 0):
        draw = torch.Generator().manual_seed(seed)
        self.n_latents = n_latents
        self.W_dec = torch.randn(n_latents, dim, generator=draw) * 1.5  # not of unit length, on purpose
        self.W_enc = torch.randn(dim, n_latents, generator=draw) / dim**0.5
        self.b_dec = torch.randn(dim, generator=draw) * 0.1
        self.threshold = 0.2

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        pre = torch.relu((x - self.b_dec) @ self.W_enc)
        return pre * (pre > self.threshold)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return z @ self.W_dec / 10 + self.b_dec
