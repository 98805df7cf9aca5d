"""Gradients clipped to a length, the same bits for any number of threads."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def clip(parameters: Iterable[Tensor], longest: float) -> None:
    """Scale the gradients of all parameters together to length ``longest`` where they are longer.

    As ``torch.nn.utils.clip_grad_norm_``, whose sum over a whole tensor is parted among the threads, so that its last
    bit, and with it every weight, hangs on how many there are. A sum along a row is never parted.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return
    length = torch.stack([_square(gradient) for gradient in gradients]).sum().sqrt()
    scale = (longest / (length + 1e-6)).clamp(max=1.0).to(gradients[0].dtype)
    for gradient in gradients:
        gradient.mul_(scale)


def _square(x: Tensor) -> Float[Tensor, ""]:
    """Σ x², row by row and then over the rows' sums in parts of the same size."""
    squares = x.square()
    sums = squares.flatten(start_dim=1).sum(dim=1, dtype=torch.float64) if x.ndim > 1 else squares.reshape(-1).double()
    whole = len(sums) // PART * PART
    return sums[:whole].view(-1, PART).sum(dim=1).sum() + sums[whole:].sum()


PART = 4096
"""Numbers that are added up at once: fewer than torch would part among threads."""
