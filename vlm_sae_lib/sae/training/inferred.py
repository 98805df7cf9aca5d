"""How well a batch is rebuilt under the inference rule, for a line of the training log."""

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_sae_lib.sae.config import SaeConfig
from vlm_sae_lib.sae.kernels import products
from vlm_sae_lib.sae.kernels.active import above_of_coarse
from vlm_sae_lib.sae.kernels.coarse import Coarse
from vlm_sae_lib.sae.kernels.weights import Weights
from vlm_sae_lib.sae.selection import above, per_sample_top_k

AT_ONCE = 512
"""Samples whose dense latents are held in memory."""


def inferred(
    weights: Weights, config: SaeConfig, threshold: float, x: Float[Tensor, "batch d"], coarse: Coarse | None
) -> tuple[float, int]:
    """Σ‖x − x̂‖² and how many pairs are active; ``coarse`` are the batch's pre-activations, where they are known so."""
    found = above_of_coarse(coarse, threshold) if coarse is not None else None
    if found is not None:
        decoded = products.weighted_sums(found.bounds, found.latents, found.values, weights.decoder.detach())
        return float((x - decoded - weights.decoder_bias).pow(2).sum(dtype=torch.float64)), len(found.latents)
    error, fired = 0.0, 0
    for part in x.split(AT_ONCE):
        latents = inference_latents(weights, config, threshold, part)
        decoded = latents @ weights.decoder + weights.decoder_bias
        error += float((part - decoded).pow(2).sum(dtype=torch.float64))
        fired += int((latents > 0).sum())
    return error, fired


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
