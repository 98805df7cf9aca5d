"""The parameters while they learn, as losses and kernels take them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

PAIRS_AT_LEAST = 1e-5
"""Share of (Σ b)² that pairs of different samples must hold; with less, single precision leaves nothing of an MS."""


@dataclass
class Weights:
    """The parameters in training, for inputs scaled to E‖x‖² = 1. Latents are rows in encoder and decoder alike."""

    encoder: Float[Tensor, "latents d"]
    encoder_bias: Float[Tensor, " latents"]
    decoder: Float[Tensor, "latents d"]
    decoder_bias: Float[Tensor, " d"]
    threshold: Float[Tensor, " latents"] | None = None
    """learned by gradient, jump_relu only"""

    def named(self) -> dict[str, Tensor]:
        return {name: value for name, value in vars(self).items() if value is not None}

    def pre_activations(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch latents"]:
        """(x − b_dec) W_enc + b_enc."""
        return torch.addmm(self.encoder_bias, x - self.decoder_bias, self.encoder.T)
