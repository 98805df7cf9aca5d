"""The gradients of the top-k kinds on a CPU, from the few active pairs of sample and latent.

Only k of F latents are active per sample, yet autograd multiplies dense matrices four times per step. Here the encoder
is the one dense product; everything after it touches the active pairs alone, held in compressed rows. ``losses.py``
says what is computed; the tests compare the two.
"""

import functools
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize

from vlm_sae_lib.sae.active import Active, per_sample_top_k_active
from vlm_sae_lib.sae.initialise import Weights
from vlm_sae_lib.sae.losses import PAIRS_AT_LEAST


@dataclass
class StepLoss:
    """The parts of a step's loss, the last two before their coefficients."""

    reconstruction: float
    auxiliary: float = 0.0
    monosemanticity: float = 0.0


@torch.no_grad()
def write_gradients(
    weights: Weights,
    x: Float[Tensor, "batch d"],
    pre: Float[Tensor, "batch latents"],
    active: Active,
    group_sizes: tuple[int, ...],
    dead: Tensor,
    k_aux: int,
    aux_coefficient: float,
    mono_coefficient: float = 0.0,
) -> StepLoss:
    """Write the gradients of (1/G²) Σ_g mean_B ‖x − x̂_g‖² + α·L_aux + λ·L_mono into ``.grad`` of the parameters."""
    batch, groups = len(x), len(group_sizes)
    width, dim = weights.decoder.shape
    encoder, encoder_bias, decoder, decoder_bias = (weights.named()[n].detach() for n in _PARAMETERS)
    centred = x - decoder_bias

    # One bag of active pairs per sample and group, so that a single pass decodes all groups.
    edges = np.concatenate([[0], np.cumsum(group_sizes)])[:-1]
    starts = np.append((np.arange(batch)[:, None] * width + edges).ravel(), batch * width)
    bounds = np.searchsorted(active.flat, starts)
    latents = torch.from_numpy(active.latents)
    residuals = _weighted_bags(decoder, latents, bounds, active.values).view(batch, groups, dim)
    residuals[:, 0] -= centred
    for group in range(1, groups):
        residuals[:, group] += residuals[:, group - 1]
    squares = float(residuals.view(-1).dot(residuals.view(-1)))
    loss = StepLoss(squares / (groups**2 * batch))
    last = -residuals[:, -1]

    # A latent of group h is part of every prefix g ≥ h: its gradient is the sum of theirs.
    slopes = residuals.mul_(2 / (groups**2 * batch))
    for group in reversed(range(groups - 1)):
        slopes[:, group] += slopes[:, group + 1]
    slopes = slopes.view(batch * groups, dim)
    latent_slopes = _products_at(bounds, latents, slopes, decoder)
    order, columns = _by_latent(active)
    if mono_coefficient > 0:
        slopes_of_mono, loss.monosemanticity = _monosemanticity(active, x, order, columns, bounds[::groups])
        latent_slopes = latent_slopes + mono_coefficient * slopes_of_mono
    bags = np.repeat(np.arange(batch * groups), np.diff(bounds))
    decoder_grad = _weighted_bags(slopes, torch.from_numpy(bags[order]), columns, active.values[order])
    encoder_grad, bias_grad = _encoder_gradients(active, latent_slopes, centred, order, columns)
    decoder_bias_grad = slopes.view(batch, groups, dim)[:, 0].sum(dim=0)

    if dead.any() and aux_coefficient > 0:
        loss.auxiliary = _add_auxiliary(
            (encoder_grad, bias_grad, decoder_grad), pre, centred, last, decoder, dead, k_aux, aux_coefficient
        )
    decoder_bias_grad -= bias_grad @ encoder
    gradients = (encoder_grad, bias_grad, decoder_grad, decoder_bias_grad)
    for name, gradient in zip(_PARAMETERS, gradients, strict=True):
        weights.named()[name].grad = gradient
    return loss


_PARAMETERS = ("encoder", "encoder_bias", "decoder", "decoder_bias")


def _add_auxiliary(gradients, pre, centred, residual, decoder, dead, k_aux, coefficient) -> float:
    """Add the aux-k loss's gradients (``losses.auxiliary_loss``) for encoder, encoder bias and decoder in place."""
    spread = float((residual - residual.mean(dim=0)).pow(2).mean())
    if spread == 0:
        return 0.0
    revive = _revive_few if int(dead.sum()) <= FEW_DEAD * k_aux else _revive_many
    scale = 2 * coefficient / (residual.numel() * spread)
    error = revive(gradients, pre, centred, residual, decoder, dead, k_aux, scale)
    return float(error.pow(2).mean()) / spread


FEW_DEAD = 8
"""Up to so many times k_aux dead latents, dense products over them are quicker than bags of active pairs."""


def _revive_few(gradients, pre, centred, residual, decoder, dead, k_aux, scale) -> Tensor:
    """The error ê − e of the dead latents' reconstruction of the residual; its gradients are added, times ``scale``."""
    encoder_grad, bias_grad, decoder_grad = gradients
    where = dead.nonzero().flatten()
    revived = torch.relu(pre[:, where])
    if len(where) > k_aux:
        values = revived.numpy()
        cut = np.partition(values, len(where) - k_aux, axis=1)[:, len(where) - k_aux, None]
        revived = revived * torch.from_numpy(values >= cut)
    error = revived @ decoder[where] - residual
    slopes = error * scale
    decoder_grad[where] += revived.T @ slopes
    latent_slopes = (slopes @ decoder[where].T) * (revived > 0)
    encoder_grad[where] += latent_slopes.T @ centred
    bias_grad[where] += latent_slopes.sum(dim=0)
    return error


def _revive_many(gradients, pre, centred, residual, decoder, dead, k_aux, scale) -> Tensor:
    """As ``_revive_few``, over the active pairs alone."""
    encoder_grad, bias_grad, decoder_grad = gradients
    revived = per_sample_top_k_active(pre.masked_fill(~dead, -1.0), k_aux)
    rows = np.searchsorted(revived.flat, np.arange(len(pre) + 1) * pre.shape[1])
    latents = torch.from_numpy(revived.latents)
    error = _weighted_bags(decoder, latents, rows, revived.values) - residual
    slopes = error * scale
    latent_slopes = _products_at(rows, latents, slopes, decoder)
    order, columns = _by_latent(revived)
    samples = torch.from_numpy(revived.samples[order])
    decoder_grad += _weighted_bags(slopes, samples, columns, revived.values[order])
    more_of_encoder, more_of_bias = _encoder_gradients(revived, latent_slopes, centred, order, columns)
    encoder_grad += more_of_encoder
    bias_grad += more_of_bias
    return error


def _encoder_gradients(
    active: Active, latent_slopes: Float[Tensor, "pairs"], centred: Tensor, order: np.ndarray, columns: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Gradients of the encoder (latents, d) and its bias, from the loss's derivative by each active pair."""
    samples = torch.from_numpy(active.samples[order])
    encoder_grad = _weighted_bags(centred, samples, columns, latent_slopes[order])
    sums = np.bincount(active.latents, weights=latent_slopes.numpy(), minlength=active.shape[1])
    return encoder_grad, torch.from_numpy(sums.astype(np.float32))


def _monosemanticity(
    active: Active, x: Tensor, order: np.ndarray, columns: np.ndarray, rows: np.ndarray
) -> tuple[Tensor, float]:
    """``losses.monosemanticity_loss`` and its derivative by each active pair's activation.

    ``order`` sorts the pairs by latent, whose pairs begin at ``columns``; a sample's begin at ``rows``.
    """
    latents, samples, width = active.latents, active.samples, active.shape[1]
    above = active.values.numpy().astype(np.float64)
    # Only a latent that fires on the whole batch has a minimum other than zero.
    never_silent = [order[columns[i] : columns[i + 1]] for i in np.flatnonzero(np.diff(columns) == active.shape[0])]
    for pairs in never_silent:
        above[pairs] -= above[pairs].min()
    unit = normalize(x, dim=1)
    weights = torch.from_numpy(above.astype(np.float32))
    sums = _weighted_bags(unit, torch.from_numpy(samples[order]), columns, weights[order])
    toward = _products_at(rows, torch.from_numpy(latents), unit, sums).numpy()
    to_others = toward - above * unit.pow(2).sum(dim=1).numpy()[samples]
    total = np.bincount(latents, weights=above, minlength=width)
    others = total[latents] - above
    alike, relevance = (np.bincount(latents, weights=above * part, minlength=width) for part in (to_others, others))
    defined = relevance > PAIRS_AT_LEAST * total**2
    if not defined.any():
        return torch.zeros(len(latents)), 0.0
    score = np.divide(alike, relevance, out=np.zeros(width), where=defined)
    scale = np.divide(-2 / defined.sum(), relevance, out=np.zeros(width), where=defined)
    slopes = scale[latents] * (to_others - score[latents] * others)
    for pairs in never_silent:
        lowest = pairs[above[pairs] == 0]
        slopes[lowest] -= slopes[pairs].sum() / len(lowest)
    return torch.from_numpy(slopes.astype(np.float32)), float(1 - score[defined].mean())


def _weighted_bags(table: Tensor, rows: Tensor, bounds: np.ndarray, weights: Tensor) -> Tensor:
    """Σ weight · table[row] over each bag: a compressed sparse matrix times a dense one."""
    offsets = torch.from_numpy(np.ascontiguousarray(bounds[:-1], dtype=np.int64))
    return embedding_bag(rows, table, offsets, mode="sum", per_sample_weights=weights)


def _by_latent(active: Active) -> tuple[np.ndarray, np.ndarray]:
    """The order that sorts the pairs by latent, and where each latent's pairs begin (latents + 1,)."""
    batch, width = active.shape
    rows = np.searchsorted(active.flat, np.arange(batch + 1) * width)
    turned = sparse.csr_matrix((np.arange(len(active.flat)), active.latents, rows), shape=active.shape).tocsc()
    return turned.data, turned.indptr


def _products_at(bounds: np.ndarray, columns: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """⟨left[row], right[column]⟩ at the pairs alone, rows given by their bounds."""
    if _sampled_products_work():
        pattern = torch.sparse_csr_tensor(
            torch.from_numpy(bounds),
            columns,
            torch.zeros(len(columns)),
            (len(left), len(right)),
            check_invariants=False,
        )
        return torch.sparse.sampled_addmm(pattern, left, right.T, beta=0.0).values()
    rows = torch.from_numpy(np.repeat(np.arange(len(left)), np.diff(bounds)))
    pieces = zip(rows.split(2048), columns.split(2048), strict=True)
    products = [torch.einsum("nd,nd->n", left[row], right[column]) for row, column in pieces]
    return torch.cat(products) if products else torch.zeros(0)


@functools.cache
def _sampled_products_work() -> bool:
    """Whether torch was built with MKL's sampled product; tried once, so that its beta warning is met here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            one = torch.ones(1, 1)
            pattern = torch.sparse_csr_tensor(
                torch.tensor([0, 1]), torch.tensor([0]), torch.zeros(1), (1, 1), check_invariants=False
            )
            return float(torch.sparse.sampled_addmm(pattern, one, one, beta=0.0).values()) == 1.0
        except RuntimeError:
            return False
