"""What steering does to the tower's states: overwrite latents, or push along a direction by as much.

One latent is *overwritten* on every token, CLS included, and the block's output x is replaced (paper §6.1, v3 Eq. 10):

    z = encode(x),  z'_k = strength,  x' = decode(z')                    keep_error=False, as in the paper
                                      x' = x + decode(z') - decode(z)    keep_error=True

The strength is absolute, in the units of the latents; negative strengths are allowed. Both forms are affine in z', so
that an intervention moves each token by (strength − z_k)·d_k from where the SAE alone would leave it. The control for
directions moves each token by exactly as far, |strength − z_k|·‖d_k‖, along a direction of its own.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from numbers import Real
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_sae_lib.arrays import checked_tensor, real_tensor
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.overrides import Count, Index, Seed, held
from vlm_sae_lib.vlms.vlm import Vlm

ENCODED_BYTES = 2**28
"""How many latents are held at once: at ε = 64 (65,536 of them) one picture's 577 tokens have 151 MB in float32."""


class Sae(Protocol):
    """What steering asks of a sparse autoencoder."""

    @property
    def n_latents(self) -> int: ...

    def encode(self, x: Tensor) -> Tensor: ...
    def decode(self, z: Tensor) -> Tensor: ...


def steered(
    vlm: Vlm, sae: Sae, latents: Mapping[int, float], *, keep_error: bool = False, zero_others: bool = False
) -> AbstractContextManager[Vlm]:
    """Overwrite latents on every token of the block that the projector reads, while the context lasts.

    latents: strength by latent index; ``{}`` is the unsteered control, the SAE in place and nothing overwritten.
    keep_error: add back what the SAE fails to reconstruct; with ``{}`` the model is then as if bare.
    zero_others: set every other latent to 0.

    Leaving the context, also by an exception, leaves the model bit for bit as it was.
    Raises: UserError when the SAE's width is not the tower's, a latent does not exist, or a strength is not finite.
    """
    latents = check_latents(vlm, sae, latents)
    return vlm.edited(lambda x: overwrite(sae, x, latents, keep_error=keep_error, zero_others=zero_others))


def pushed(
    vlm: Vlm,
    sae: Sae,
    direction: Float[Tensor, " d"],
    latent: int,
    strength: float,
    *,
    keep_error: bool = False,
) -> AbstractContextManager[Vlm]:
    """The control for a steered latent: every token moves as far as it would, but along ``direction``.

    The change is |strength − z_k|·‖d_k‖ along the direction's unit vector, from the same starting point under the same
    ``keep_error``: decode(z), or x. Raises: as :func:`steered`, and for a direction of another width or of length 0.
    """
    ((latent, strength),) = check_latents(vlm, sae, {latent: strength}).items()
    direction = real_tensor(direction, "The numbers of the direction").float()
    if direction.shape != (vlm.dim,) or not 0 < float(direction.norm()) < float("inf"):
        raise UserError(
            f"a direction must be a vector of {vlm.dim} finite numbers, not all 0, not {tuple(direction.shape)}"
        )
    return vlm.edited(lambda x: push(sae, x, direction, latent, strength, keep_error=keep_error))


@torch.no_grad()
def overwrite(
    sae: Sae,
    x: Float[Tensor, "*batch d"],
    latents: Mapping[int, float],
    *,
    keep_error: bool = False,
    zero_others: bool = False,
) -> Float[Tensor, "*batch d"]:
    """The edit of :func:`steered` on states themselves: computed in float32, returned in the states' own type."""
    states = for_sae(sae, x)
    z = sae.encode(states)
    changed = torch.zeros_like(z) if zero_others else z.clone()
    for latent, strength in latents.items():
        changed[..., latent] = strength
    edited = sae.decode(changed)
    if keep_error:
        edited = states + (edited - sae.decode(z))
    return edited.to(x.device, x.dtype)


@torch.no_grad()
def push(
    sae: Sae,
    x: Float[Tensor, "*batch d"],
    direction: Float[Tensor, " d"],
    latent: int,
    strength: float,
    *,
    keep_error: bool = False,
) -> Float[Tensor, "*batch d"]:
    """The edit of :func:`pushed` on states themselves."""
    states = for_sae(sae, x)
    z = sae.encode(states)
    distance = (strength - z[..., latent]).abs() * decoder_vectors(sae, [latent]).norm()
    unit = (direction / direction.norm()).to(states)
    start = states if keep_error else sae.decode(z)
    return (start + distance[..., None] * unit).to(x.device, x.dtype)


@torch.no_grad()
def decoder_vectors(sae: Sae, latents: list[int]) -> Float[Tensor, "k d"]:
    """The vectors d_k that one unit of each latent adds to the output, whatever the SAE calls its decoder."""
    one_hot = torch.zeros(len(latents) + 1, sae.n_latents, dtype=torch.float32, device="cpu")
    one_hot[list(range(len(latents))), latents] = 1
    decoded = sae.decode(one_hot)
    return decoded[:-1] - decoded[-1]


def random_directions(n: int, dim: int, seed: int) -> Float[Tensor, "n d"]:
    """n unit vectors, uniform on the sphere, the same for the same seed."""
    n, dim, seed = held("n", n, Index), held("dim", dim, Count), held("seed", seed, Seed)
    generator = torch.Generator("cpu").manual_seed(seed)
    draws = torch.randn(n, dim, generator=generator, dtype=torch.float64, device="cpu")
    return (draws / draws.norm(dim=1, keepdim=True)).float()


def check_latents(vlm: Vlm, sae: Sae, latents: Mapping[int, float]) -> dict[int, float]:
    """The latents with plain ints and floats. Raises: UserError as told in :func:`steered`."""
    width = sae_width(sae)
    if width != vlm.dim:
        raise UserError(
            f"the SAE takes activations of width {width}, but {vlm.hook_point} of this model's vision tower has width "
            f"{vlm.dim}: use an SAE that was trained at that hook point"
        )
    latents = {_plain(latent): _plain(strength) for latent, strength in latents.items()}
    for latent, strength in latents.items():
        whole = isinstance(latent, Real) and not isinstance(latent, bool) and latent % 1 == 0
        if not whole or not 0 <= latent < sae.n_latents:
            raise UserError(f"there is no latent {latent}: this SAE has latents 0 to {sae.n_latents - 1}")
        if not isinstance(strength, Real) or not abs(strength) <= torch.finfo(torch.float32).max:
            raise UserError(f"the strength of latent {latent} is {strength}: give a finite number of single precision")
    return {int(latent): float(strength) for latent, strength in latents.items()}


def _plain(number: Any) -> Any:
    return number.item() if isinstance(number, Tensor) and number.numel() == 1 and not number.is_meta else number


@torch.no_grad()
def sae_width(sae: Sae) -> int:
    """The width d of the activations that an SAE decodes to."""
    return sae.decode(torch.zeros(1, sae.n_latents, dtype=torch.float32, device="cpu")).shape[-1]


def for_sae(sae: Sae, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
    """States on the SAE's device, in float32: the paper's own code, too, runs it so beside a half-precision model.

    Raises: UserError for states that are no floating-point tensor: what is edited is given back in their own type.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise UserError(f"states of type {getattr(x, 'dtype', type(x).__name__)} cannot be edited: give a float tensor")
    x = checked_tensor(x, "The states")
    return x.to(getattr(sae, "device", x.device), torch.float32)
