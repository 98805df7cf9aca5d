"""open_clip's vision tower as transformers' ``CLIPVisionModel``: the same weights under other names, exactly."""

from typing import Any

import open_clip
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel


def vision_config(model: Any) -> CLIPVisionConfig:
    """The transformers configuration of an ``open_clip.CLIP``'s ViT."""
    visual = model.visual
    block = visual.transformer.resblocks[0]
    quick = isinstance(block.mlp.gelu, open_clip.transformer.QuickGELU)
    return CLIPVisionConfig(
        hidden_size=block.attn.embed_dim,
        intermediate_size=block.mlp.c_fc.out_features,
        num_hidden_layers=len(visual.transformer.resblocks),
        num_attention_heads=block.attn.num_heads,
        image_size=visual.image_size[0],
        patch_size=visual.patch_size[0],
        hidden_act="quick_gelu" if quick else "gelu",
        projection_dim=visual.output_dim,
        layer_norm_eps=visual.ln_pre.eps,
    )


def vision_state(visual: Any) -> dict[str, torch.Tensor]:
    """An open_clip ViT's weights under transformers' names; the projection is not part of ``CLIPVisionModel``."""
    source = visual.state_dict()
    state = {
        "embeddings.class_embedding": source["class_embedding"],
        "embeddings.position_embedding.weight": source["positional_embedding"],
        "embeddings.patch_embedding.weight": source["conv1.weight"],
    }
    renamed = {"ln_pre": "pre_layrnorm", "ln_post": "post_layernorm"}  # "layrnorm" is transformers' own spelling
    for i in range(len(visual.transformer.resblocks)):
        old, new = f"transformer.resblocks.{i}", f"encoder.layers.{i}"
        renamed |= {
            f"{old}.attn.out_proj": f"{new}.self_attn.out_proj", f"{old}.ln_1": f"{new}.layer_norm1",
            f"{old}.ln_2": f"{new}.layer_norm2", f"{old}.mlp.c_fc": f"{new}.mlp.fc1",
            f"{old}.mlp.c_proj": f"{new}.mlp.fc2",
        }  # fmt: skip
        for kind in ("weight", "bias"):
            parts = source[f"{old}.attn.in_proj_{kind}"].chunk(3)
            for letter, part in zip("qkv", parts, strict=True):
                state[f"{new}.self_attn.{letter}_proj.{kind}"] = part
    for old, new in renamed.items():
        for kind in ("weight", "bias"):
            state[f"{new}.{kind}"] = source[f"{old}.{kind}"]
    return state


def to_vision_model(model: Any) -> CLIPVisionModel:
    """The vision tower of an ``open_clip.CLIP`` as a ``CLIPVisionModel`` (fp32, eval).

    Older transformers keep the weights under ``vision_model.``; both spellings are served.
    """
    tower = CLIPVisionModel(vision_config(model))
    state = vision_state(model.visual)
    if any(name.startswith("vision_model.") for name in tower.state_dict()):
        state = {f"vision_model.{name}": tensor for name, tensor in state.items()}
    missing, unexpected = tower.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith("position_ids")]
    if missing or unexpected:
        raise RuntimeError(f"The conversion left out {missing} and had no place for {unexpected}.")
    return tower.eval()
