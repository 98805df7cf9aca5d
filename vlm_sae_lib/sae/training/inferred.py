"""How well a batch is rebuilt under the inference rule, for a line of the training log."""

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_sae_lib.sae.config import SaeConfig
from vlm_sae_lib.sae.kernels import products
from vlm_sae_lib.sae.kernels.active import Active, above_active, above_of_coarse, per_sample_top_k_active
from vlm_sae_lib.sae.kernels.coarse import Coarse
from vlm_sae_lib.sae.kernels.weights import Weights
from vlm_sae_lib.sae.selection import above, per_sample_top_k

AT_ONCE = 512
"""Samples whose dense latents are held in memory."""


def inferred(
    weights: Weights,
    config: SaeConfig,
    threshold: float,
    x: Float[Tensor, "batch d"],
    pre: Float[Tensor, "batch latents"] | Coarse | None,
) -> tuple[float, int]:
    """Σ‖x − x̂‖² and how many pairs are active; ``pre`` are the batch's pre-activations, where they are known."""
    if pre is not None and (found := _active(config, threshold, pre)) is not None:
        decoded = products.weighted_sums(found.bounds, found.latents, found.values, weights.decoder.detach())
        return float((x - decoded - weights.decoder_bias).pow(2).sum(dtype=torch.float64)), len(found.latents)
    error, fired = 0.0, 0
    for part in x.split(AT_ONCE):
        latents = inference_latents(weights, config, threshold, part)
        decoded = latents @ weights.decoder + weights.decoder_bias
        error += float((part - decoded).pow(2).sum(dtype=torch.float64))
        fired += int((latents > 0).sum())
    return error, fired


def _active(config: SaeConfig, threshold: float, pre: Float[Tensor, "batch latents"] | Coarse) -> Active | None:
    """The active pairs under the inference rule of a top-k kind; ``None`` where coarse pre-activations do not tell."""
    if isinstance(pre, Coarse):
        return above_of_coarse(pre, threshold)
    return per_sample_top_k_active(pre, config.k) if config.kind == "top_k" else above_active(pre, threshold)


def inference_latents(
    weights: Weights, config: SaeConfig, threshold: float, x: Float[Tensor, "batch d"]
) -> Float[Tensor, "batch latents"]:
    """What the finished autoencoder would give, before its scale is folded in."""
    positive = torch.relu(weights.pre_activations(x))
    if config.kind == "top_k":
        return per_sample_top_k(positive, config.k)
    if config.kind == "relu":
        return positive
    learned = weights.threshold  # by gradient, jump_relu only
    return above(positive, threshold if learned is None else learned)
