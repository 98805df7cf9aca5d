"""What of an SAE stays at its random start: the baselines of "Sanity checks for SAEs" (arXiv 2602.14111).

A score that an SAE reaches without having learned its directions says little for the directions of one that has.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_sae_lib.sae.config import Frozen
from vlm_sae_lib.sae.kernels.weights import Weights

LEAST_COSINE = 0.8
"""Between a decoder row and its start, where the decoder is softly frozen (the paper's value)."""
NO_DIRECTION = 1e-6
"""Length below which what is left of a row beside its start is rounding alone."""

PARAMETERS: dict[Frozen, tuple[str, ...]] = {
    "nothing": (),
    "decoder": ("decoder",),
    "soft_decoder": (),
    "encoder": ("encoder", "encoder_bias"),
}
"""The parameters that never move."""


def learned(weights: Weights, frozen: Frozen) -> list[Tensor]:
    """The parameters that learn, in their order.

    They alone are given gradients and are to be handed to the optimiser: what is frozen has no moments that could move
    it, and no part in the norm by which gradients are clipped.
    """
    parameters = [value for name, value in weights.named().items() if name not in PARAMETERS[frozen]]
    for parameter in parameters:
        parameter.requires_grad_(True)
    return parameters


@torch.no_grad()
def pull_back(rows: Float[Tensor, "latents d"], starts: Float[Tensor, "latents d"]) -> None:
    """Move each row, in place, to the nearest unit vector with a cosine of at least ``LEAST_COSINE`` to its start.

    Rows and starts have unit length. A row s' beyond the edge keeps its direction across the start s,
    .8 s + .6 (s' − ⟨s', s⟩ s) / ‖s' − ⟨s', s⟩ s‖; one that points straight away has none, and goes back to its start.
    As with the scaling to unit length, Adam's moments are left as they are.
    """
    cosines = (rows * starts).sum(dim=1)
    beyond = (cosines < LEAST_COSINE).nonzero().flatten()
    if not len(beyond):
        return
    start = starts[beyond]
    across = rows[beyond] - cosines[beyond, None] * start
    length = across.norm(dim=1, keepdim=True)
    edge = LEAST_COSINE * start + (1 - LEAST_COSINE**2) ** 0.5 * across / length
    rows[beyond] = torch.where(length > NO_DIRECTION, edge, start)
