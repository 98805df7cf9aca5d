"""Changes of many latents at once, as functions of the states: for a ``SteeringBench`` that keeps the error.

z = encode(x),  x' = x + decode(z') − decode(z),   or, without what the SAE misses,   x' = decode(z')

A control moves a picture as far as another change of its latents does: over all tokens, ‖x' − x‖ is the same.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlm_sae_lib.steering.intervention import Sae, for_sae

Change = Callable[[Float[Tensor, "tokens latents"]], Float[Tensor, "tokens latents"]]


@dataclass(frozen=True, eq=False)
class LatentEdit:
    """``change`` applied to a picture's latents, all its tokens at once. ``strength`` is for the record only.

    as_far_as: a change of the same latents; the picture then moves in the direction of ``change`` as far as under it.
    """

    sae: Sae
    change: Change
    strength: float
    keep_error: bool = True
    as_far_as: Change | None = None
    latent: None = None

    @torch.no_grad()
    def edit(self, x: Float[Tensor, "tokens d"]) -> Float[Tensor, "tokens d"]:
        states = for_sae(self.sae, x)
        z = self.sae.encode(states)
        rebuilt = self.sae.decode(z)
        moved = self.sae.decode(self.change(z)) - rebuilt
        if self.as_far_as is not None:
            aim = self.sae.decode(self.as_far_as(z)) - rebuilt
            moved = moved * (aim.norm() / moved.norm().clamp_min(1e-12))
        edited = (states if self.keep_error else rebuilt) + moved
        return edited.to(x.device, x.dtype)


def scaled(latents: Int[Tensor, " k"], factor: float) -> Change:
    """Those latents times a factor; 0 removes them."""

    def change(z: Tensor) -> Tensor:
        z = z.clone()
        z[..., latents.to(z.device)] *= factor
        return z

    return change


def strongest_scaled(n: int, factor: float, unit: Float[Tensor, " latents"]) -> Change:
    """The picture's own n strongest latents times a factor: by their mean over its tokens, in units of ``unit``."""

    def change(z: Tensor) -> Tensor:
        return scaled((z.mean(-2) / unit.to(z)).topk(n).indices, factor)(z)

    return change


def some_scaled(n: int, factor: float, seed: int) -> Change:
    """n of the latents that fire on the picture, drawn by a seed, times a factor: a control that has effect."""
    order = torch.randperm(2**16, generator=torch.Generator().manual_seed(seed))

    def change(z: Tensor) -> Tensor:
        firing = torch.where(z.amax(-2) > 0)[0]
        return scaled(firing[order.to(z.device)[firing].argsort()[:n]], factor)(z)

    return change


def shifted(by: Float[Tensor, " latents"], strength: float) -> Change:
    """Latents moved where they fire, and never below 0."""
    return lambda z: torch.where(z > 0, (z + strength * by.to(z)).clamp_min(0), z)
