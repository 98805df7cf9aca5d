"""What half precision costs: the activations of one tower in two precisions, row by row.

Half precision it is, and not TF32: a T4 has no TF32, half of the memory is saved too, and a tower's dtype is its own
and enters its hash, while TF32 is a switch of the whole process that neither the weights nor a store's id would tell.
Of the two halves float16, which keeps three bits more of each number; one that is too large for it is an error that
names the picture, and products are summed in float32.

The loss is at most this, at every block and at the embedding of the pocket towers and of a random CLIP of transformers
(tests/activations/test_rounding.py); of another tower ``rounding_loss`` tells it from some hundred pictures.

========================================  =======  ========
                                          float16  bfloat16
========================================  =======  ========
``error``, of the worst row                 0.005     0.03
``lost_variance``                         0.00003    0.001
``cosine``, the largest change              0.005     0.02
R² of the pocket SAEs, change              0.0001   0.0005
========================================  =======  ========
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_sae_lib.arrays import finite_rows
from vlm_sae_lib.errors import UserError


@dataclass(frozen=True)
class RoundingLoss:
    """How far rows in half precision lie from the same rows in full.

    Attributes:
        error: the largest over the rows of |half − full| / |full|.
        lost_variance: Σ|half − full|² / Σ|full − mean|², on the scale of an SAE's 1 − R².
        cosine: the largest change of the cosine of any two rows, of which monosemanticity is a weighted mean.
    """

    error: float
    lost_variance: float
    cosine: float


def rounding_loss(full: Float[Tensor, "n d"], half: Float[Tensor, "n d"]) -> RoundingLoss:
    """Compare the activations of the same pictures, in the same order; sums in float64.

    Raises:
        UserError: fewer than two rows, rows of another shape, NaN or infinity (which is what is too large for float16).
    """
    full, half = (torch.from_numpy(finite_rows(rows).copy()) for rows in (full, half))
    if full.shape != half.shape or len(full) < 2:
        raise UserError(f"{tuple(full.shape)} and {tuple(half.shape)} cannot be compared: give two or more rows (n, d) "
                        "of the same pictures in both precisions.")  # fmt: skip
    off = (half - full).square().sum(1)
    cosines = [rows @ rows.T for rows in (torch.nn.functional.normalize(rows, dim=1) for rows in (full, half))]
    return RoundingLoss(
        error=float((off / full.square().sum(1)).max().sqrt()),
        lost_variance=float(off.sum() / (full - full.mean(0)).square().sum()),
        cosine=float((cosines[0] - cosines[1]).abs().max()),
    )
