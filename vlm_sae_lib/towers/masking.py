"""Masked autoencoders (ViTMAE), which hide patches at random even in eval mode: here they see all, in their order."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def masks_patches(module: Any) -> bool:
    """Whether the module hides patches of every picture that it sees."""
    return module.config.model_type == "vit_mae"


def forward(module: Any) -> Callable[[Float[Tensor, "n 3 height width"]], Any]:
    """The module's forward with no patch hidden; sets ``mask_ratio`` of its configuration to 0.

    Patches are kept in the ascending order of the noise that the forward is handed, and of random noise unless it is
    handed some; so without this the tokens would still come in another order each time.
    """
    module.config.mask_ratio = 0.0
    patch = module.config.patch_size

    def run(pixels: Tensor) -> Any:
        n, _, height, width = pixels.shape
        in_order = torch.arange((height // patch) * (width // patch), device=pixels.device, dtype=torch.float32)
        return module(pixel_values=pixels, noise=in_order.expand(n, -1))

    return run
