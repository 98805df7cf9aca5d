"""The gradients of the top-k kinds on a CPU, from the few active pairs of sample and latent.

Only k of F latents are active per sample, yet autograd multiplies dense matrices four times per step. Here the encoder
is the one dense product; everything after it touches the active pairs alone, by the loops of ``loops.py``.
``training/losses.py`` says what is computed; the tests compare the two.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from vlm_sae_lib.machine.compiled import in_parts, in_threads, one_thread
from vlm_sae_lib.sae.kernels import loops
from vlm_sae_lib.sae.kernels.active import Active, ByLatent, per_sample_top_k_active
from vlm_sae_lib.sae.kernels.coarse import Coarse, multiplies_half
from vlm_sae_lib.sae.kernels.weights import PAIRS_AT_LEAST, Weights


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
    pre: Float[Tensor, "batch latents"] | Coarse,
    active: Active,
    group_sizes: tuple[int, ...],
    dead: Tensor,
    k_aux: int,
    aux_coefficient: float,
    mono_coefficient: float = 0.0,
    frozen: Collection[str] = (),
) -> StepLoss:
    """Write the gradients of (1/G²) Σ_g mean_B ‖x − x̂_g‖² + α·L_aux + λ·L_mono into ``.grad`` of the parameters.

    The parameters named ``frozen`` get none; b_dec is never among them.
    ``pre`` serves the dead latents of L_aux alone. Where it is coarse, which of nearly equal ones is the k_aux-th is
    left to chance, and their products are taken in half precision.
    """
    (batch, dim), groups, pairs = x.shape, len(group_sizes), len(active.latents)
    parameters = [weights.named()[name] for name in _PARAMETERS]
    encoder, encoder_bias, decoder, decoder_bias = (parameter.detach() for parameter in parameters)
    wanted = (None if name in frozen else weights.named()[name] for name in _PARAMETERS)
    encoder_grad, bias_grad, decoder_grad, decoder_bias_grad = map(_gradient, wanted)
    if bias_grad is None:
        bias_grad = torch.empty_like(encoder_bias)  # from which that of b_dec follows
    centred = x - decoder_bias
    revive = bool(dead.any()) and aux_coefficient > 0

    edges = np.concatenate([[0], np.cumsum(group_sizes)])
    slopes, by_value, bags = torch.empty(batch, groups, dim), torch.empty(pairs), np.empty(pairs, dtype=np.int64)
    squares, last = torch.empty(batch), torch.empty(batch if revive else 0, dim)
    scale = np.float32(2 / (groups**2 * batch))
    given = active.bounds, active.latents, active.values, decoder, centred, edges, scale
    _run(loops.residuals_and_slopes, batch, pairs * dim, *given, slopes, by_value, bags, squares, last)
    loss = StepLoss(float(squares.sum(dtype=torch.float64)) / (groups**2 * batch))

    turned = active.by_latent()
    if mono_coefficient > 0:
        slopes_of_mono, loss.monosemanticity = _monosemanticity(active, turned, x)
        by_value = by_value + mono_coefficient * slopes_of_mono
    values, rows = active.values[turned.order], slopes.view(batch * groups, dim)
    if decoder_grad is not None:
        weighted_sums(turned.starts, bags[turned.order], values, rows, out=decoder_grad)
    _encoder_gradients(active, turned, by_value, centred, out=(encoder_grad, bias_grad))
    if revive:
        loss.auxiliary = _add_auxiliary(
            (encoder_grad, bias_grad, decoder_grad), pre, centred, last, decoder, dead, k_aux, aux_coefficient
        )
    torch.sub(slopes[:, 0].sum(dim=0), bias_grad @ encoder, out=decoder_bias_grad)
    return loss


_PARAMETERS = ("encoder", "encoder_bias", "decoder", "decoder_bias")


def _gradient(parameter: Tensor | None) -> Tensor | None:
    """Where the parameter's gradient is to be written, over that of the step before."""
    if parameter is None:
        return None
    if parameter.grad is None:
        parameter.grad = torch.empty_like(parameter)
    return parameter.grad


def _add_auxiliary(gradients, pre, centred, residual, decoder, dead, k_aux, coefficient) -> float:
    """Add the aux-k loss's gradients (``losses.auxiliary_loss``) for encoder, encoder bias and decoder in place."""
    spread = _mean_square(residual - residual.mean(dim=0))
    if spread == 0:
        return 0.0
    revive = _revive_few if int(dead.sum()) <= FEW_DEAD * k_aux else _revive_many
    scale = 2 * coefficient / (residual.numel() * spread)
    error = revive(gradients, pre, centred, residual, decoder, dead, k_aux, scale)
    return _mean_square(error) / spread


def _mean_square(rows: Float[Tensor, "n d"]) -> float:
    """Row by row first: torch parts a sum over a whole tensor among the threads, and its last bit hangs on how many."""
    sums = np.empty(len(rows))
    _run(loops.squares, len(rows), rows.numel(), rows, sums)
    return float(sums.sum()) / rows.numel()


FEW_DEAD = 8
"""Up to so many times k_aux dead latents, dense products over them are quicker than loops over active pairs."""
SAMPLES_AT_ONCE, NUMBERS_AT_ONCE = 512, 128
"""Parts of those products: whole panels, and enough of them for a few threads."""


def _revive_few(gradients, pre, centred, residual, decoder, dead, k_aux, scale) -> Tensor:
    """The error ê − e of the dead latents' reconstruction of the residual; its gradients are added, times ``scale``."""
    encoder_grad, bias_grad, decoder_grad = gradients
    where = dead.nonzero().flatten()
    kind = torch.bfloat16 if isinstance(pre, Coarse) and multiplies_half() else torch.float32
    revived = _columns(pre, where)
    _run(loops.keep_largest, len(revived), loops.COUNTS * revived.numel(), revived, k_aux)
    revived, directions, centred = revived.to(kind), decoder[where].to(kind), centred.to(kind)
    error, by_value = torch.empty_like(residual), torch.empty_like(revived)
    slopes = torch.empty_like(error, dtype=kind)

    def of_samples(start: int, stop: int) -> None:
        rows = slice(start, stop)
        torch.sub(revived[rows] @ directions, residual[rows], out=error[rows])
        slopes[rows] = error[rows] * scale
        by_value[rows] = torch.where(revived[rows] > 0, slopes[rows] @ directions.T, 0)

    in_parts(of_samples, len(residual), SAMPLES_AT_ONCE)
    for gradient, left, right in ((decoder_grad, revived, slopes), (encoder_grad, by_value, centred)):
        if gradient is not None:
            _add_products(gradient, where, left, right)
    with one_thread():
        bias_grad[where] += by_value.sum(dim=0, dtype=torch.float32)
    return error


def _add_products(gradient: Tensor, where: Tensor, left: Tensor, right: Tensor) -> None:
    """Add leftᵀ right to some rows of a gradient, in place."""
    found = torch.empty(len(where), right.shape[1])

    def of_numbers(start: int, stop: int) -> None:
        found[:, start:stop] = left.T @ right[:, start:stop]

    in_parts(of_numbers, right.shape[1], NUMBERS_AT_ONCE)
    gradient.index_add_(0, where, found)


def _revive_many(gradients, pre, centred, residual, decoder, dead, k_aux, scale) -> Tensor:
    """As ``_revive_few``, over the active pairs alone."""
    encoder_grad, bias_grad, decoder_grad = gradients
    where = dead.nonzero().flatten()
    among = per_sample_top_k_active(_columns(pre, where), k_aux)
    revived = Active(among.bounds, where.numpy()[among.latents], among.values, len(dead))
    error = weighted_sums(revived.bounds, revived.latents, revived.values, decoder) - residual
    slopes = error * scale
    by_value = _products_at(revived, slopes, decoder)
    turned = revived.by_latent()
    if decoder_grad is not None:
        decoder_grad += weighted_sums(turned.starts, turned.samples, revived.values[turned.order], slopes)
    more = None if encoder_grad is None else torch.empty_like(encoder_grad), torch.empty_like(bias_grad)
    _encoder_gradients(revived, turned, by_value, centred, out=more)
    if encoder_grad is not None:
        encoder_grad += more[0]
    bias_grad += more[1]
    return error


def _columns(pre: Tensor | Coarse, latents: Tensor) -> Tensor:
    return pre.columns(latents) if isinstance(pre, Coarse) else pre.index_select(1, latents)


def _encoder_gradients(
    active: Active, turned: ByLatent, by_value: Float[Tensor, " pairs"], centred: Tensor,
    out: tuple[Tensor | None, Tensor],
) -> None:  # fmt: skip
    """Gradients of the encoder (latents, d), if one is taken, and its bias, from the loss's derivative by each active
    pair."""
    if out[0] is not None:
        weighted_sums(turned.starts, turned.samples, by_value[turned.order], centred, out=out[0])
    out[1].copy_(torch.from_numpy(np.bincount(active.latents, weights=by_value.numpy(), minlength=active.width)))


def _monosemanticity(active: Active, turned: ByLatent, x: Tensor) -> tuple[Tensor, float]:
    """``losses.monosemanticity_loss`` and its derivative by each active pair's activation."""
    latents, width = active.latents, active.width
    above = active.values.numpy().astype(np.float64)
    # Only a latent that fires on the whole batch has a minimum other than zero.
    starts = turned.starts
    never_silent = [turned.order[starts[i] : starts[i + 1]] for i in np.flatnonzero(np.diff(starts) == len(x))]
    for pairs in never_silent:
        above[pairs] -= above[pairs].min()
    unit = normalize(x, dim=1)
    weights = torch.from_numpy(above.astype(np.float32))
    sums = weighted_sums(starts, turned.samples, weights[turned.order], unit)
    toward = _products_at(active, unit, sums).numpy()
    to_others = toward - above * unit.pow(2).sum(dim=1).numpy()[active.samples]
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


def weighted_sums(
    bounds: np.ndarray, columns: np.ndarray, weights: Tensor, table: Tensor, out: Tensor | None = None
) -> Tensor:
    """Σ weight · table[column] over the pairs of each row: a compressed sparse matrix times a dense one."""
    out = torch.empty(len(bounds) - 1, table.shape[1]) if out is None else out
    _run(loops.weighted_sums, len(out), len(columns) * table.shape[1], bounds, columns, weights, table, out)
    return out


def _products_at(active: Active, left: Tensor, right: Tensor) -> Tensor:
    """⟨left[sample], right[latent]⟩ at the active pairs alone."""
    out = torch.empty(len(active.latents))
    reads = len(out) * left.shape[1]
    _run(loops.products_at, len(left), reads, active.bounds, active.latents, left, right, out)
    return out


def _run(loop, rows: int, reads: int, *arguments) -> None:
    """A loop over all rows; tensors are handed on as the arrays that they are."""
    in_threads(loop, rows, *(a.numpy() if isinstance(a, Tensor) else a for a in arguments), reads=reads)
