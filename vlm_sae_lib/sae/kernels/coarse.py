"""The encoder's product in eight bits, and single precision where it decides.

The product over all latents is most of an SAE's work, and nearly all of it only shows what is not active. Whole
numbers of eight bits do that in a quarter of the time, or in half of it where the processor has AVX2 alone. How far a
pre-activation may be off is bounded by what rounding did to its two factors, so every pair that might reach a cut is
found; those few are computed anew in single precision, and no active set depends on the rounding. (The bound is that of
Cauchy and Schwarz up to 49 dimensions. Beyond, where they would assume all errors to conspire, it is ``SIGMAS``
standard deviations: one pair in 10^11 may be missed.)
"""

from dataclasses import dataclass
from functools import cache

import llvmlite.binding
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlm_sae_lib.machine.compiled import in_threads
from vlm_sae_lib.sae.kernels import loops

WORTH = 2**28
"""Multiplications below which a product in single precision is over before its factors are rounded."""
SIGMAS = 7
"""Standard deviations of a sum of rounding errors of independent sign that are never exceeded."""
TILE = 2**22
"""Pairs of sample and latent whose products are held at once: as much as stays in a cache until it is compared."""
SINGLE = 2.0**-24
"""Largest relative error of one rounding to single precision."""


EIGHT_BITS, NO_CARRY = 127, 79
"""Largest whole numbers whose products are summed exactly: where a processor adds four of them in 32 bits (VNNI, AMX),
and where it adds two in 16 bits, of which one factor may have been moved up by 128: 2 · (79 + 128) · 79 < 2^15."""


@cache
def quick() -> bool:
    """Whether torch multiplies eight bits quicker than single precision: on nearly every x86 processor since 2013."""
    return hasattr(torch, "_int_mm") and llvmlite.binding.get_host_cpu_features().get("avx2", False)


@cache
def most() -> int:
    """The largest whole number of which products of eight bits are summed exactly, as products of it itself show."""
    return next(filter(_exact, (EIGHT_BITS, NO_CARRY)), 0)


def _exact(largest: int) -> bool:
    rows = torch.full((64, 256), largest, dtype=torch.int8)
    rows[::2] *= -1
    return torch.equal(torch._int_mm(rows, rows.T).long(), rows.long() @ rows.long().T)


@cache
def multiplies_half() -> bool:
    """Whether bfloat16 is quicker than single precision here."""
    features = llvmlite.binding.get_host_cpu_features()
    here = any(features.get(name, False) for name in ("avx512bf16", "amx-bf16"))
    return here and torch.backends.cpu.get_cpu_capability() == "AVX512"


def pays(samples: int, encoder: Float[Tensor, "latents d"]) -> bool:
    """Whether a coarse product is the quicker way for so many samples. Of one dimension torch 2.6 gets it wrong."""
    large = encoder.shape[1] > 1 and samples * encoder.numel() >= WORTH
    return encoder.device.type == "cpu" and large and quick() and most() > 0


@dataclass
class Rounded:
    """Rows as multiples of eight bits: row ≈ step · whole."""

    whole: Int[Tensor, "n d"]
    step: Float[np.ndarray, " n"]
    norm: Float[np.ndarray, " n"]
    """length of the row"""
    lost: Float[np.ndarray, " n"]
    """length of what rounding took from it"""

    @classmethod
    def of(cls, rows: Float[Tensor, "n d"], scale: Float[np.ndarray, " d"]) -> "Rounded":
        """Round rows · scale."""
        whole = np.empty(rows.shape, dtype=np.int8)
        step, norm, lost = np.empty((3, len(rows)), dtype=np.float32)
        given = rows.numpy(), scale, np.float32(most()), whole, step, norm, lost
        in_threads(loops.round_rows, len(rows), *given, reads=rows.numel())
        return cls(torch.from_numpy(whole), step, norm, lost)


class CoarseEncoder:
    """An encoder with its rounded copy, to be used for one batch or many.

    A few dimensions of a transformer's activations are much larger than the rest and would leave them no digits.
    ``like`` is a sample of what will be multiplied: each dimension is scaled so that it is as large there as in the
    encoder, which leaves the product as it is.
    """

    def __init__(
        self, weight: Float[Tensor, "latents d"], bias: Float[Tensor, " latents"], like: Float[Tensor, "n d"]
    ) -> None:
        self.weight, self.bias = weight.detach(), bias.detach()
        largest, own = like.abs().amax(dim=0).numpy(), self.weight.abs().amax(dim=0).numpy()
        scale = np.sqrt(np.divide(largest, own, out=np.ones_like(own), where=(own > 0) & (largest > 0)))
        self.inverse = (1 / scale).astype(np.float32)
        self.rounded = Rounded.of(self.weight, scale)

    def __call__(self, x: Float[Tensor, "batch d"]) -> "Coarse":
        """``x`` is what the encoder multiplies: activations less the decoder's bias."""
        return Coarse(Rounded.of(x, self.inverse), x, self)


@dataclass
class Coarse:
    """Pre-activations, known but for an error that is bounded for each pair of sample and latent.

    They are multiplied out when they are asked for, a tile of latents at a time, and never held together.
    """

    rounded: Rounded
    x: Float[Tensor, "batch d"]
    encoder: CoarseEncoder

    @property
    def shape(self) -> tuple[int, int]:
        """(batch, latents)"""
        return len(self.x), len(self.encoder.weight)

    def at_least(self, cut: float, at_most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """All pairs whose pre-activation may be ``cut`` or more, and few others, with their value in single precision.

        Where each sample's pairs begin (batch + 1,), their latents (pairs,), and (pairs,) float32; ``None`` if they
        are more than ``at_most``.
        """
        batch, width = self.shape
        counts, found, left = [], [], at_most
        for tile in self._tiles(width):
            bound = self._product(tile), *self._factors(tile), *self._errors(tile), np.float32(cut)
            counts.append(np.empty(batch, dtype=np.int64))
            in_threads(loops.count_candidates, batch, *bound, counts[-1])
            bounds = np.concatenate([[0], np.cumsum(counts[-1])])
            left -= bounds[-1]
            if left < 0:
                return None
            found.append(np.empty(bounds[-1], dtype=np.int64))
            in_threads(loops.find_candidates, batch, *bound, bounds, found[-1])
            found[-1] += tile.start
        bounds, latents = _by_sample(np.stack(counts, axis=1), found)
        exact = np.empty(len(latents), dtype=np.float32)
        in_threads(loops.products_at, batch, bounds, latents, self.x.numpy(), self.encoder.weight.numpy(), exact)
        exact += self.encoder.bias.numpy()[latents]
        return bounds, latents, exact

    def columns(self, latents: Int[Tensor, " some"]) -> Float[Tensor, "batch some"]:
        """The pre-activations of some latents as they are known here."""
        out = torch.empty(len(self.x), len(latents))
        for tile in self._tiles(len(latents)):
            some = latents[tile].numpy()
            given = self._product(some), *self._factors(some), out.numpy()[:, tile]
            in_threads(loops.scaled_back, len(out), *given)
        return out

    def _tiles(self, latents: int) -> list[slice]:
        wide = max(1, TILE // len(self.x))
        return [slice(first, min(first + wide, latents)) for first in range(0, latents, wide)]

    def _product(self, latents: slice | np.ndarray) -> Int[np.ndarray, "batch some"]:
        return torch._int_mm(self.rounded.whole, self.encoder.rounded.whole[latents].T).numpy()

    def _factors(self, latents: slice | np.ndarray) -> tuple[np.ndarray, ...]:
        return self.rounded.step, self.encoder.rounded.step[latents], self.encoder.bias.numpy()[latents]

    def _errors(self, latents: slice) -> tuple[np.ndarray, ...]:
        """a, b, c, d with |error| ≤ a_i · b_l + c_i · d_l: x̃w̃ − xw = (x̃ − x) w + x̃ (w̃ − w), and single precision."""
        mine, its, dim = self.rounded, self.encoder.rounded, self.x.shape[1]
        share = np.float32(min(1, SIGMAS / dim**0.5))
        single = np.float32((2 * dim + 8) * SINGLE) * mine.norm
        return share * mine.lost + single, its.norm[latents], share * (mine.norm + mine.lost), its.lost[latents]


def _by_sample(counts: Int[np.ndarray, "batch tiles"], found: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Where each sample's pairs begin (batch + 1,), and their latents, from the latents found in each tile."""
    ends = np.cumsum(counts.ravel()).reshape(counts.shape)
    latents = np.empty(int(ends[-1, -1]), dtype=np.int64)
    for tile, some in enumerate(found):
        of_tile = counts[:, tile]
        moved = ends[:, tile] - np.cumsum(of_tile)
        latents[np.repeat(moved, of_tile) + np.arange(len(some))] = some
    return np.concatenate([[0], ends[:, -1]]), latents
