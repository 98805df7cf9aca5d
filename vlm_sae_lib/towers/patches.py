"""Towers that are handed patches instead of pixels: SigLIP 2 in its NaFlex form, which keeps a picture's proportions.

A hook point has a fixed number of tokens, so every picture is brought to the largest square of patches that the
processor allows before the checkpoint's own processor sees it; at that size nothing is padded.
"""

from collections.abc import Callable
from inspect import signature
from math import isqrt
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn


def takes_patches(module: nn.Module) -> bool:
    """Whether the forward asks for the patches' places beside the patches."""
    return "spatial_shapes" in signature(module.forward).parameters


def preprocess(module: Any, processor: Any) -> Callable[[Image.Image], Float[Tensor, "3 side side"]]:
    """An RGB picture to the square of pixels whose patches the processor makes of it."""
    patch = module.config.patch_size
    side = isqrt(processor.max_num_patches)

    def make(picture: Image.Image) -> Tensor:
        square = picture.resize((side * patch, side * patch), Image.Resampling.BICUBIC)
        made = processor(images=square, return_tensors="pt", max_num_patches=side**2)
        grid = made["pixel_values"][0].reshape(side, side, patch, patch, 3)
        return grid.permute(4, 0, 2, 1, 3).reshape(3, side * patch, side * patch)

    return make


def forward(module: Any) -> Callable[[Float[Tensor, "n 3 height width"]], Any]:
    """The module's forward on pixels: cut into patches, none of them padding."""
    patch = module.config.patch_size

    def run(pixels: Tensor) -> Any:
        n, _, height, width = pixels.shape
        rows, columns = height // patch, width // patch
        cut = pixels.reshape(n, 3, rows, patch, columns, patch).permute(0, 2, 4, 3, 5, 1)
        return module(
            pixel_values=cut.reshape(n, rows * columns, patch * patch * 3),
            pixel_attention_mask=torch.ones(n, rows * columns, dtype=torch.long, device=pixels.device),
            spatial_shapes=torch.tensor([[rows, columns]] * n),
        )

    return run
