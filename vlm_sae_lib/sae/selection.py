"""Which latents of a sample stay: the k·B largest of a batch, the k largest of a sample, those above a threshold."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def batch_top_k_cut(latents: Float[Tensor, "batch latents"], k: int) -> float:
    """The (k·batch)-th largest value, 0 where fewer are positive; values must not be negative."""
    count = k * latents.shape[0]
    if count >= latents.numel():
        return 0.0
    if latents.device.type == "cpu":
        flat = latents.detach().numpy().ravel()
        return float(np.partition(flat, flat.size - count)[flat.size - count])
    return float(latents.flatten().topk(count, sorted=False).values.min())


def batch_top_k(latents: Float[Tensor, "batch latents"], k: int) -> Float[Tensor, "batch latents"]:
    """Keep the k·batch largest of a batch, all samples together, and zero the rest (paper §2.1, BatchTopK).

    Equal values at the cut are taken in order of sample and latent, so that exactly k·batch stay.
    """
    count = k * latents.shape[0]
    cut = batch_top_k_cut(latents, k)
    keep = latents > cut
    if cut > 0:
        ties = (latents == cut).flatten().nonzero().flatten()[: count - int(keep.sum())]
        keep.view(-1)[ties] = True
    return latents * keep


def per_sample_top_k(latents: Float[Tensor, "*batch latents"], k: int) -> Float[Tensor, "*batch latents"]:
    """Keep the k largest of each sample and zero the rest."""
    if k >= latents.shape[-1]:
        return latents
    top = latents.topk(k, dim=-1, sorted=False)
    return torch.zeros_like(latents).scatter(-1, top.indices, top.values)


def above(
    latents: Float[Tensor, "*batch latents"], threshold: float | Float[Tensor, "#latents"]
) -> Float[Tensor, "*batch latents"]:
    """Keep what lies above a threshold, without subtracting it: p · 1[p > θ]."""
    return latents * (latents > threshold)
