"""The gradients of the top-k kinds on a GPU, from the active pairs alone, and without waiting for it.

Of B·F pairs of sample and latent k·B are active, and everything behind the encoder's product touches these alone. How
many there are is known beforehand, so that nothing has to be read back from the device to go on; what only the log
wants stays there as a tensor. In half precision (``half``) the product takes bfloat16 and finds candidates, half as
many again as will be active, whose values are computed anew in single precision and decide; ``doubtful`` says whether
rounding might have hidden one.

Sums go over sorted pairs, so that no two threads add to one number. ``training/losses.py`` says what is computed; the
tests compare the two on tensors of the CPU. How quick it is on a GPU was not measured.
"""

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlm_sae_lib.sae.kernels.coarse import SIGMAS
from vlm_sae_lib.sae.kernels.weights import Weights
from vlm_sae_lib.sae.selection import per_sample_top_k

warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")

HALF = 2.0**-8
"""Largest relative error of two roundings to bfloat16."""
MORE = 1.5
"""Candidates for each pair that will be active."""


@dataclass
class Pairs:
    """The active pairs of a batch, always equally many; one whose value is zero is none."""

    samples: Int[Tensor, " pairs"]
    latents: Int[Tensor, " pairs"]
    values: Float[Tensor, " pairs"]
    smallest: Float[Tensor, ""]
    """of the positive values; 0 where there is none"""
    doubtful: Bool[Tensor, ""]
    """whether rounding might have hidden a pair that belongs among them"""

    def fired(self, width: int) -> Bool[Tensor, " latents"]:
        counts = torch.zeros(width, dtype=torch.int32, device=self.latents.device)
        return counts.index_add_(0, self.latents, (self.values > 0).int()) > 0


@torch.no_grad()
def active_pairs(weights: Weights, x: Float[Tensor, "batch d"], k: int, *, per_sample: bool, half: bool) -> Pairs:
    """The k·batch largest positive pre-activations of a batch, or the k largest of each sample."""
    centred, (batch, width) = x - weights.decoder_bias, (len(x), len(weights.encoder))
    kept, among = (k, width) if per_sample else (k * batch, width * batch)
    kept = min(kept, among)
    looked_at = min(int(MORE * kept), among) if half else kept
    if half:
        pre = (centred.bfloat16() @ weights.encoder.bfloat16().T).float() + weights.encoder_bias
    else:
        pre = torch.addmm(weights.encoder_bias, centred, weights.encoder.T)
    top = (pre if per_sample else pre.flatten()).topk(looked_at, sorted=False)
    rows = torch.arange(batch, device=x.device)[:, None].expand(-1, looked_at) if per_sample else top.indices // width
    samples, latents, values = rows.flatten(), (top.indices % width).flatten(), top.values.flatten()
    doubtful = torch.zeros((), dtype=torch.bool, device=x.device)
    if half:
        values = _products_at(centred, weights.encoder, samples, latents) + weights.encoder_bias[latents]
        best = (values.view(batch, -1) if per_sample else values).topk(kept, sorted=False)
        if looked_at < among:
            lowest, cut = top.values.amin(dim=-1), best.values.amin(dim=-1)
            error = HALF * lowest.abs() + _rounding(centred, weights.encoder)  # the product is rounded once more
            doubtful = (lowest + error >= cut).any()
        chosen = best.indices + (torch.arange(batch, device=x.device)[:, None] * looked_at if per_sample else 0)
        samples, latents, values = (part[chosen.flatten()] for part in (samples, latents, values))
    order = (samples * width + latents).argsort(stable=True)
    samples, latents, values = samples[order], latents[order], torch.relu(values[order])
    positive = torch.where(values > 0, values, torch.inf).min()
    return Pairs(samples, latents, values, torch.where(positive.isinf(), 0.0, positive), doubtful)


def _rounding(x: Tensor, encoder: Tensor) -> Float[Tensor, ""]:
    """What rounding to bfloat16 takes from a pre-activation at most: so many deviations, as in ``coarse.py``."""
    share = min(1.0, SIGMAS / x.shape[1] ** 0.5)
    return share * HALF * x.norm(dim=1).max() * encoder.norm(dim=1).max()


@dataclass
class StepLoss:
    """The parts of a step's loss, on the device; the second before its coefficient."""

    reconstruction: Float[Tensor, ""]
    auxiliary: Float[Tensor, ""]


@torch.no_grad()
def write_gradients(
    weights: Weights,
    x: Float[Tensor, "batch d"],
    active: Pairs,
    group_sizes: tuple[int, ...],
    dead: Bool[Tensor, " latents"] | None,
    k_aux: int,
    aux_coefficient: float,
    *,
    frozen: Collection[str] = (),
    half: bool = False,
) -> StepLoss:
    """As ``products.write_gradients``, of pairs on any device; ``dead`` is None where no latent can be."""
    (batch, dim), groups, width = x.shape, len(group_sizes), len(weights.encoder)
    centred = x - weights.decoder_bias
    bags = active.samples * groups + torch.bucketize(active.latents, _ends(group_sizes, x.device), right=True)
    parts = _sums(bags, active.latents, active.values, weights.decoder, batch * groups).view(batch, groups, dim)
    errors = parts.cumsum(dim=1) - centred[:, None]  # x̂_g − x
    slopes = 2 / (groups**2 * batch) * errors.flip(1).cumsum(dim=1).flip(1)  # part g is in every later prefix
    flat = slopes.view(batch * groups, dim)
    by_value = _products_at(flat, weights.decoder, bags, active.latents) * (active.values > 0)

    order = active.latents.argsort(stable=True)
    latents = active.latents[order]
    gradients = {
        "encoder_bias": _sums(latents, order, torch.ones_like(by_value), by_value[:, None], width)[:, 0],
        "encoder": _sums(latents, active.samples[order], by_value[order], centred, width),
        "decoder": _sums(latents, bags[order], active.values[order], flat, width),
    }
    loss = StepLoss(errors.square().sum() / (groups**2 * batch), x.new_zeros(()))
    if dead is not None and aux_coefficient > 0:
        loss.auxiliary = _revive(gradients, weights, centred, -errors[:, -1], dead, k_aux, aux_coefficient, half)
    gradients["decoder_bias"] = slopes[:, 0].sum(dim=0) - gradients["encoder_bias"] @ weights.encoder
    for name, parameter in weights.named().items():
        if name not in frozen:
            parameter.grad = gradients[name]
    return loss


@cache
def _ends(group_sizes: tuple[int, ...], device: torch.device) -> Int[Tensor, " groups"]:
    """Where each group of latents ends, brought to the device once: bringing waits for it."""
    return torch.tensor(group_sizes).cumsum(dim=0).to(device)


def _revive(gradients, weights, centred, residual, dead, k_aux, coefficient, half) -> Float[Tensor, ""]:
    """Add the aux-k loss's gradients (``losses.auxiliary_loss``) in place; the loss."""
    where, kind = dead.nonzero().flatten(), torch.bfloat16 if half else torch.float32
    pre = torch.addmm(weights.encoder_bias[where], centred, weights.encoder[where].T)
    revived = per_sample_top_k(torch.relu(pre), min(k_aux, len(where))).to(kind)
    directions = weights.decoder[where].to(kind)
    error = (revived @ directions).float() - residual
    spread = (residual - residual.mean(dim=0)).square().mean()
    scale = torch.where(spread > 0, 2 * coefficient / (residual.numel() * spread), 0.0)
    slopes = (error * scale).to(kind)
    by_value = (slopes @ directions.T) * (revived > 0)
    gradients["decoder"].index_add_(0, where, (revived.T @ slopes).float())
    gradients["encoder"].index_add_(0, where, (by_value.T @ centred.to(kind)).float())
    gradients["encoder_bias"].index_add_(0, where, by_value.sum(dim=0, dtype=torch.float32))
    return torch.where(spread > 0, error.square().mean() / spread, 0.0)


def _sums(rows: Tensor, columns: Tensor, weights: Tensor, table: Tensor, number: int) -> Float[Tensor, "number d"]:
    """Σ weight · table[column] over the pairs of each row; ``rows`` ascend."""
    counts = torch.zeros(number + 1, dtype=torch.int64, device=rows.device)
    bounds = counts.index_add_(0, rows + 1, torch.ones_like(rows)).cumsum(dim=0)
    matrix = torch.sparse_csr_tensor(bounds, columns, weights, (number, len(table)), check_invariants=False)
    return matrix @ table


def _products_at(left: Tensor, right: Tensor, rows: Tensor, columns: Tensor) -> Float[Tensor, " pairs"]:
    """⟨left[row], right[column]⟩ of each pair, some at a time: their rows are as large as many batches."""
    at_once = max(1, PAIRS_OF_NUMBERS // left.shape[1])
    parts = zip(rows.split(at_once), columns.split(at_once), strict=True)
    return torch.cat([(left[row] * right[column]).sum(dim=1) for row, column in parts])


PAIRS_OF_NUMBERS = 2**26
"""Numbers that are gathered at once on either side: a quarter of a gigabyte."""
