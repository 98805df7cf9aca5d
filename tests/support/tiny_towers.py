"""Tiny towers with random weights, of the same classes as the real ones, and pictures to feed them."""

import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from vlm_sae_lib.towers.tower import Tower

VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
          "image_size": 32, "patch_size": 8}
TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
        "vocab_size": 64, "max_position_embeddings": 16}


def noise(n: int, seed: int = 0, size: tuple[int, int] = (40, 32)) -> list[Image.Image]:
    """Pictures of coloured noise."""
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)) for _ in range(n)]


def write_open_clip(folder: Path, *, layers: int = 3, quick_gelu: bool = True, seed: int = 0) -> Path:
    """A local open_clip folder: a ViT of width 32 over 17 tokens, projection 16."""
    import open_clip
    from safetensors.torch import save_file

    config = {
        "embed_dim": 16,
        "quick_gelu": quick_gelu,
        "vision_cfg": {"layers": layers, "width": 32, "head_width": 8, "patch_size": 8, "image_size": 32},
        # as deep as the vision tower, so that a search in the wrong half would find it
        "text_cfg": {"context_length": 8, "vocab_size": 20, "width": 48, "heads": 2, "layers": layers},
    }
    torch.manual_seed(seed)
    model = open_clip.CLIP(**json.loads(json.dumps(config)))
    folder.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()},
              folder / "open_clip_model.safetensors")
    preprocessing = {"size": 32, "mean": [0.5] * 3, "std": [0.3] * 3}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing}))
    return folder


def write_transformers(folder: Path, kind: str) -> Path:
    """A folder as ``save_pretrained`` writes it, with preprocessing for 32×32 pixels."""
    import transformers as hf

    makers = {
        "clip": lambda: hf.CLIPModel(hf.CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=16)),
        "clip_vision": lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**VISION)),
        "clip_projection": lambda: hf.CLIPVisionModelWithProjection(hf.CLIPVisionConfig(projection_dim=16, **VISION)),
        "siglip": lambda: hf.SiglipModel(hf.SiglipConfig(vision_config=VISION, text_config=TEXT)),
        "dinov2": lambda: hf.Dinov2Model(hf.Dinov2Config(hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
                                                         image_size=32, patch_size=8)),
        # three stages, the first of three layers: the list of stages must not be mistaken for the layers of one
        "resnet": lambda: hf.ResNetModel(hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 24], depths=[3, 2, 2],
                                                         layer_type="basic")),
        "llava": lambda: hf.LlavaForConditionalGeneration(hf.LlavaConfig(
            vision_config=hf.CLIPVisionConfig(**VISION), image_token_index=5,
            text_config=hf.LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=3,
                                       num_attention_heads=4))),
        "llama": lambda: hf.LlamaModel(hf.LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64,
                                                      num_hidden_layers=3, num_attention_heads=4)),
    }
    torch.manual_seed(0)
    makers[kind]().save_pretrained(folder)
    square = {"height": 32, "width": 32}
    hf.CLIPImageProcessor(size=square, crop_size=square).save_pretrained(folder)
    return folder


class Block(nn.Module):
    """A residual block that mixes nothing; it may answer with a tuple, and be slow."""

    def __init__(self, width: int, *, as_tuple: bool = False, delay: float = 0.0):
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.as_tuple, self.delay, self.calls = as_tuple, delay, 0

    def forward(self, x):
        time.sleep(self.delay)
        self.calls += 1
        x = x[0] if isinstance(x, tuple) else x
        x = x + self.inner(x)
        return (x, "attention") if self.as_tuple else x


class Toy(nn.Module):
    """A transformer without attention: patches of 8×8 and a class token; ``tokens_first`` runs it as (T, n, d)."""

    def __init__(self, *, width=6, depth=3, tokens_first=False, class_token=True, **block):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width)) if class_token else None
        self.blocks = nn.ModuleList(Block(width, **block) for _ in range(depth))
        self.head = nn.Linear(width, 4)
        self.tokens_first = tokens_first

    def forward(self, pixels):
        x = self.patches(pixels).flatten(2).transpose(1, 2)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(len(x), 1, -1), x], 1)
        x = x.transpose(0, 1) if self.tokens_first else x
        for block in self.blocks:
            x = block(x)
        x = x[0] if isinstance(x, tuple) else x
        x = x.transpose(0, 1) if self.tokens_first else x
        return self.head(x.mean(1))


def toy_pixels(picture: Image.Image) -> torch.Tensor:
    array = np.asarray(picture.convert("RGB").resize((16, 16)), dtype=np.float32)
    return torch.from_numpy(array / 255).permute(2, 0, 1)


def toy_tower(seed: int = 0, **options) -> Tower:
    """A ``Tower`` over ``Toy``: three blocks of width 6, 5 tokens, projection 4."""
    torch.manual_seed(seed)
    module = Toy(**options)
    return Tower(spec="toy", name="toy", module=module, blocks=list(module.blocks), project=module,
                 preprocess=toy_pixels, preprocessing={"size": 16}, config={}, device=torch.device("cpu"))
