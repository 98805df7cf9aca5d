"""The losses of every kind, written as in the paper and differentiated by autograd.

This is the definition: ``kernels/products.py`` computes the gradients of the top-k kinds faster on a CPU, and the tests
hold it to this module.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from vlm_sae_lib.sae.config import BATCH_TOP_K_KINDS, SaeConfig
from vlm_sae_lib.sae.kernels.weights import PAIRS_AT_LEAST, Weights
from vlm_sae_lib.sae.selection import batch_top_k, per_sample_top_k


@dataclass
class Loss:
    """The optimised scalar and its parts; all but ``reconstruction`` before their coefficients."""

    total: Tensor
    reconstruction: Tensor
    auxiliary: Tensor
    sparsity: Tensor
    monosemanticity: Tensor


def training_latents(
    pre: Float[Tensor, "batch latents"], config: SaeConfig, threshold: Tensor | None = None
) -> Float[Tensor, "batch latents"]:
    """The latents a training step decodes, from pre-activations.

    For both batch kinds one top-k runs over all samples and all Matryoshka groups together.
    """
    if config.kind == "jump_relu":
        return _Jump.apply(pre, threshold, config.bandwidth)
    positive = torch.relu(pre)
    if config.kind in BATCH_TOP_K_KINDS:
        return batch_top_k(positive, config.k)
    return per_sample_top_k(positive, config.k) if config.kind == "top_k" else positive


def prefix_reconstructions(
    latents: Float[Tensor, "batch latents"], weights: Weights, group_sizes: tuple[int, ...]
) -> list[Float[Tensor, "batch d"]]:
    """x̂_g = b_dec + Σ_{i ≤ g} f_i W_dec,i: the reconstruction from the first g groups, for each g."""
    prefixes, total = [], weights.decoder_bias
    for part, rows in zip(latents.split(group_sizes, dim=1), weights.decoder.split(group_sizes), strict=True):
        total = total + part @ rows
        prefixes.append(total)
    return prefixes


def matryoshka_loss(prefixes: list[Float[Tensor, "batch d"]], x: Float[Tensor, "batch d"]) -> Float[Tensor, ""]:
    """(1/G²) Σ_g mean_B ‖x − x̂_g‖²: the authors weight each of G groups by 1/G and then average over the groups.

    With one group this is BatchTopK's mean_B ‖x − x̂‖².
    """
    groups = len(prefixes)
    total = sum((x - prefix).pow(2).sum(dim=1).mean() for prefix in prefixes)
    return total / groups**2  # type: ignore[return-value]  # a number only if there were no group


def auxiliary_loss(
    pre: Float[Tensor, "batch latents"],
    residual: Float[Tensor, "batch d"],
    weights: Weights,
    dead: Bool[Tensor, " latents"],
    k_aux: int,
) -> Float[Tensor, ""]:
    """How badly dead latents explain the residual e = x − x̂: mean ‖e − ê‖² / mean ‖e − mean_B(e)‖².

    ê decodes, without bias, the ``k_aux`` largest post-ReLU activations of a sample among the dead latents. The
    residual is a constant. 0 where nothing is dead or the residual does not vary.
    """
    if not dead.any():
        return pre.new_zeros(())
    residual = residual.detach()
    revived = per_sample_top_k(torch.relu(pre[:, dead]), min(k_aux, int(dead.sum())))
    error = (residual - revived @ weights.decoder[dead]).pow(2).mean()
    spread = (residual - residual.mean(dim=0)).pow(2).mean()
    return error / spread if spread > 0 else error * 0.0


def monosemanticity_loss(latents: Float[Tensor, "batch latents"], x: Float[Tensor, "batch d"]) -> Float[Tensor, ""]:
    """1 − the mean over latents of their MS within the batch (MonoLoss, arXiv 2602.12403).

    As in paper v3 Eq. 5-9, but the SAE's own inputs x stand in for the scoring encoder. The sums over pairs are taken
    in linear time, MS = (‖Σ b e‖² − Σ b²‖e‖²) / ((Σ b)² − Σ b²) with b the activations above their minimum and e the
    inputs at unit length; dividing b by its maximum would cancel, and its gradient with it.

    Latents without a pair of samples above their minimum are left out: they have no MS, and no gradient. 0 where no
    latent has one.
    """
    above = latents - latents.amin(dim=0)
    unit = normalize(x, dim=1)
    total, square = above.sum(dim=0), above.pow(2)
    pairs = total.pow(2) - square.sum(dim=0)
    alike = (above.T @ unit).pow(2).sum(dim=1) - square.T @ unit.pow(2).sum(dim=1)
    defined = pairs > PAIRS_AT_LEAST * total.pow(2)
    if not defined.any():
        return latents.new_zeros(())
    return 1 - (alike[defined] / pairs[defined]).mean()


def training_loss(
    x: Float[Tensor, "batch d"],
    pre: Float[Tensor, "batch latents"],
    latents: Float[Tensor, "batch latents"],
    weights: Weights,
    config: SaeConfig,
    group_sizes: tuple[int, ...],
    dead: Bool[Tensor, " latents"],
    k_aux: int,
) -> Loss:
    """What one step minimises, for any kind; ``pre`` and ``latents`` carry their graph."""
    prefixes = prefix_reconstructions(latents, weights, group_sizes)
    reconstruction = matryoshka_loss(prefixes, x)
    auxiliary = sparsity = pre.new_zeros(())
    if config.kind == "relu":
        sparsity = latents.abs().sum(dim=1).mean()
        total = reconstruction + config.l1_coefficient * sparsity
    elif config.kind == "jump_relu":
        l0 = _Step.apply(pre, weights.threshold, config.bandwidth).sum(dim=1).mean()
        sparsity = (l0 / config.k - 1).pow(2)
        total = reconstruction + config.l0_coefficient * sparsity
    else:
        auxiliary = auxiliary_loss(pre, x - prefixes[-1], weights, dead, k_aux)
        total = reconstruction + config.aux_coefficient * auxiliary
    mono = pre.new_zeros(())
    if config.mono_coefficient > 0:
        mono = monosemanticity_loss(latents, x)
        total = total + config.mono_coefficient * mono
    return Loss(total, reconstruction, auxiliary, sparsity, mono)


def _near(pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    return ((pre - threshold).abs() < bandwidth / 2).to(pre.dtype)


class _Jump(torch.autograd.Function):
    """relu(h) · 1[h > θ]; θ's derivative by a rectangle of width ``bandwidth`` (Rajamanoharan et al. 2024, Eq. 11)."""

    @staticmethod
    def forward(context, pre, threshold, bandwidth):
        context.save_for_backward(pre, threshold)
        context.bandwidth = bandwidth
        return torch.relu(pre) * (pre > threshold)

    @staticmethod
    def backward(context, gradient):
        pre, threshold = context.saved_tensors
        near = _near(pre, threshold, context.bandwidth)
        for_threshold = (-threshold / context.bandwidth) * (near * gradient).sum(dim=0)
        return gradient * ((pre > threshold) & (pre > 0)), for_threshold, None


class _Step(torch.autograd.Function):
    """1[h > θ], with the same stand-in for θ's derivative (Eq. 12)."""

    @staticmethod
    def forward(context, pre, threshold, bandwidth):
        context.save_for_backward(pre, threshold)
        context.bandwidth = bandwidth
        return ((pre > threshold) & (pre > 0)).to(pre.dtype)

    @staticmethod
    def backward(context, gradient):
        pre, threshold = context.saved_tensors
        near = _near(pre, threshold, context.bandwidth)
        return None, (-1 / context.bandwidth) * (near * gradient).sum(dim=0), None
