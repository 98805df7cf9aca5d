"""Several latents at once: those of the concept on, those of what it replaces off, the SAE's error kept.

Colour, habitat, class are exclusive: what is red is not blue. To insert red is to swap, and the tokens where the
replaced value's latents fire are those where it lives.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlm_sae_lib.steering.attribution import Attribution
from vlm_sae_lib.steering.intervention import Sae, for_sae


@dataclass(frozen=True, eq=False)
class Swap:
    """z'_on = max(z, strength · aims), z'_off = 0, all other latents as they are; x' = x + decode(z') − decode(z).

    where_replaced: only on tokens where one of the latents that are switched off fires; if none is, nowhere.
    """

    sae: Sae
    on: Int[Tensor, " n_on"]
    aims: Float[Tensor, " n_on"]
    off: Int[Tensor, " n_off"]
    strength: float
    where_replaced: bool = False
    latent: None = None

    @torch.no_grad()
    def edit(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        states = for_sae(self.sae, x)
        z = self.sae.encode(states)
        new = z.clone()
        new[..., self.on] = torch.maximum(z[..., self.on], self.strength * self.aims)
        new[..., self.off] = 0
        moved = self.sae.decode(new) - self.sae.decode(z)
        if self.where_replaced:
            moved = moved * (z[..., self.off] > 0).any(-1, keepdim=True)
        return (states + moved).to(x.device, x.dtype)


def choose_swap(
    found: Attribution, live: Int[Tensor, " n_live"], number: int
) -> tuple[Int[Tensor, " n_on"], Int[Tensor, " n_off"]]:
    """Which latents to switch on and off: of the live ones as many of each as have the largest attributions.

    None is switched off whose attribution says that it would not help, nor one that is switched on.
    """
    on = live[found.on[live].topk(min(number, len(live))).indices]
    others = live[~torch.isin(live, on)]
    off = others[found.off[others].topk(min(number, len(others))).indices]
    return on, off[found.off[off] > 0]
