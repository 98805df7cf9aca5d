"""A LLaVA of any size whose weights are random, with the pocket world's words: for times alone."""

import torch
from transformers import (
    AutoModelForImageTextToText,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaProcessor,
)

from vlm_sae_lib.pretraining.llava import CHAT_TEMPLATE
from vlm_sae_lib.pretraining.tokenizers import llava_tokenizer
from vlm_sae_lib.vlms.vlm import Vlm


def random_llava(side: int, layers: int, width: int, device: str) -> Vlm:
    """For pictures of ``side`` pixels: so many layers of a Llama of that width, and a tower of three quarters as many,
    a quarter as wide; in float16 on a GPU."""
    tokenizer, quarter = llava_tokenizer(), width // 4
    vision = CLIPVisionConfig(
        hidden_size=quarter, intermediate_size=4 * quarter, num_hidden_layers=max(2, 3 * layers // 4),
        num_attention_heads=quarter // 64, image_size=side, patch_size=14, projection_dim=768,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=32_064, hidden_size=width, intermediate_size=43 * width // 16,
        num_hidden_layers=layers, num_attention_heads=width // 128,
        num_key_value_heads=width // 128, max_position_embeddings=4096, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, tie_word_embeddings=False,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=tokenizer.image_token_id,
        image_seq_length=(side // 14) ** 2, vision_feature_layer=-2, vision_feature_select_strategy="default",
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(device):
        dtype = torch.float16 if device == "cuda" else torch.float32
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    images = CLIPImageProcessor(
        size={"height": side, "width": side}, do_resize=True, do_center_crop=False, do_convert_rgb=True
    )
    processor = LlavaProcessor(
        image_processor=images, tokenizer=tokenizer, patch_size=14, num_additional_image_tokens=1,
        vision_feature_select_strategy="default", chat_template=CHAT_TEMPLATE,
    )  # fmt: skip
    return Vlm(model, processor, spec="random weights", device=device)
