"""Tiny random VLMs of the real classes with the real processors, one of each family that is steered."""

from typing import Any

import torch
import transformers as hf
from tiny_vlm import QUESTION_WORDS, TEMPLATE, save_tiny_vlm
from tokenizers import Tokenizer, models, pre_tokenizers

SIDE, PATCH, WIDTH, DEPTH = 32, 8, 32, 3
EXTRA = ["<video>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", "\n",
         *(f"<row_{r}_col_{c}>" for r in range(1, 5) for c in range(1, 5))]  # fmt: skip
SPECIAL = ["<pad>", "<s>", "</s>", "<image>", *EXTRA]
WORDS = [*SPECIAL, "USER:", "ASSISTANT:", *QUESTION_WORDS, "a", "red", "blue", "beetle", "fern", "sea", "nothing"]
GRID = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
FAMILIES = ["llava", "llava_next", "llava_onevision", "idefics3"]


def tokenizer() -> hf.PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="nothing"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = hf.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        extra_special_tokens={"image_token": "<image>", "video_token": "<video>"},
    )  # fmt: skip
    made.add_special_tokens({"additional_special_tokens": EXTRA})
    return made


def _text(kind: type) -> Any:
    return kind(vocab_size=len(WORDS), hidden_size=48, intermediate_size=64, num_hidden_layers=2,
                num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=512, pad_token_id=0,
                bos_token_id=1, eos_token_id=2)  # fmt: skip


def _vision(kind: type, **more: Any) -> Any:
    return kind(hidden_size=WIDTH, intermediate_size=64, num_hidden_layers=DEPTH, num_attention_heads=2,
                image_size=SIDE, patch_size=PATCH, **more)  # fmt: skip


def make(family: str) -> tuple[torch.nn.Module, Any]:
    """The model and its processor: 16 patches of a tile, three blocks of width 32."""
    torch.manual_seed(0)
    tokens = (SIDE // PATCH) ** 2
    square = {"height": SIDE, "width": SIDE}
    if family == "llava_next":
        config = hf.LlavaNextConfig(
            vision_config=_vision(hf.CLIPVisionConfig), text_config=_text(hf.LlamaConfig), image_token_index=3,
            image_grid_pinpoints=GRID, image_seq_length=tokens,
        )  # fmt: skip
        model = hf.LlavaNextForConditionalGeneration(config)
        images = hf.LlavaNextImageProcessor(size={"shortest_edge": SIDE}, crop_size=square, image_grid_pinpoints=GRID)
        processor = hf.LlavaNextProcessor(
            images, tokenizer(), patch_size=PATCH, vision_feature_select_strategy="default", chat_template=TEMPLATE,
            num_additional_image_tokens=1,
        )  # fmt: skip
    elif family == "llava_onevision":
        config = hf.LlavaOnevisionConfig(
            vision_config=_vision(hf.SiglipVisionConfig, vision_use_head=False), text_config=_text(hf.Qwen2Config),
            image_token_index=3, video_token_index=4, image_grid_pinpoints=GRID, vision_feature_layer=-1,
            vision_feature_select_strategy="full",
        )  # fmt: skip
        model = hf.LlavaOnevisionForConditionalGeneration(config)
        images = hf.LlavaOnevisionImageProcessor(size=square, image_grid_pinpoints=GRID)
        processor = hf.LlavaOnevisionProcessor(
            images, tokenizer(), hf.LlavaOnevisionVideoProcessor(size=square), num_image_tokens=tokens,
            vision_feature_select_strategy="full", chat_template=TEMPLATE,
        )  # fmt: skip
    elif family == "idefics3":
        vision = _vision(hf.models.idefics3.configuration_idefics3.Idefics3VisionConfig)
        config = hf.Idefics3Config(
            vision_config=vision, text_config=_text(hf.LlamaConfig), image_token_id=3, scale_factor=2, pad_token_id=0
        )
        model = hf.Idefics3ForConditionalGeneration(config)
        images = hf.Idefics3ImageProcessor(size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE})
        processor = hf.Idefics3Processor(images, tokenizer(), image_seq_len=tokens // 4, chat_template=TEMPLATE)
    with torch.no_grad():  # the usual initialisation is so small that every picture would get the same answer
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "position" not in name:
                weight.mul_(4)
    return model.eval(), processor


def save(family: str, folder) -> None:
    """As ``save_pretrained`` writes it."""
    if family == "llava":
        save_tiny_vlm(folder)
        return
    model, processor = make(family)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
