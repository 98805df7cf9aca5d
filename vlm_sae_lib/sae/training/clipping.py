"""Gradients clipped to a length, the same bits for any number of threads."""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vlm_sae_lib.machine.compiled import in_threads
from vlm_sae_lib.sae.kernels import loops


@torch.no_grad()
def clip(parameters: Iterable[Tensor], longest: float) -> None:
    """Scale the gradients of all parameters together to length ``longest`` where they are longer.

    As ``torch.nn.utils.clip_grad_norm_``, whose sum over a whole tensor is parted among the threads, so that its last
    bit, and with it every weight, hangs on how many there are. A sum along a row is never parted.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return
    length = sum(map(_square, gradients)) ** 0.5
    scale = longest / (length + 1e-6)
    if isinstance(scale, Tensor):  # on a device that is not waited for
        scale = scale.clamp(max=1.0).to(gradients[0].dtype)
    elif scale >= 1:
        return
    for gradient in gradients:
        gradient.mul_(scale)


def _square(x: Tensor) -> float | Float[Tensor, ""]:
    """Σ x² in double precision, on a CPU row by row and then over the rows' sums."""
    if x.device.type != "cpu":
        return x.square().sum(dtype=torch.float64)
    rows = x.reshape(x.shape[0] if x.ndim > 1 else 1, -1).numpy()
    sums = np.empty(len(rows))
    in_threads(loops.squares, len(rows), rows, sums, reads=rows.size)
    return float(sums.sum())
