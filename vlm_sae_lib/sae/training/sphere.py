"""Decoder rows are kept at length 1: what moves them along themselves is taken away, and they are scaled back."""

from jaxtyping import Float
from torch import Tensor

from vlm_sae_lib.machine.compiled import in_threads
from vlm_sae_lib.sae.kernels import loops

SHORTEST = 1e-12
"""Length that a row is divided by at least."""


def remove_along(rows: Float[Tensor, "latents d"], vectors: Float[Tensor, "latents d"]) -> None:
    """Take from each vector its part along the row of unit length, in place."""
    if rows.device.type == "cpu":
        given = rows.detach().numpy(), vectors.numpy()
        in_threads(loops.remove_along, len(rows), *given, reads=rows.numel())
    else:
        vectors -= (vectors * rows).sum(dim=1, keepdim=True) * rows


def to_unit_length(rows: Float[Tensor, "latents d"]) -> None:
    """Scale each row to length 1, in place."""
    if rows.device.type == "cpu":
        in_threads(loops.to_unit_length, len(rows), rows.detach().numpy(), SHORTEST, reads=rows.numel())
    else:
        rows /= rows.norm(dim=1, keepdim=True).clamp_min(SHORTEST)
