"""What this machine can do at most: products in three precisions, memory, the last cache. Measured, never looked up.

A floor (``floors.py``) divides counted work by these. Each is the best of some tries with all threads of torch, in the
same run as what is held against it: before and after, as a machine's neighbours come and go.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.timing import timed
from vlm_sae_lib.sae.kernels.coarse import multiplies_half

PRODUCTS = ((4096, 1024, 8192), (1024, 2048, 4096))
"""Rows, depth and columns of the products, as encoders have them in a training step; the quicker one counts."""
PRECISIONS = (torch.float32, torch.bfloat16, torch.int8)
LARGE, SMALL = 2**29, 2**23
"""Bytes of an array far larger than the last cache, and of one that lies within it and outside the inner ones."""
TRIES = 5


@dataclass(frozen=True)
class Ceilings:
    """Attributes:
    fp32, bf16, int8: operations a second of a matrix product, a multiplication and an addition being two. Where the
        processor has no bf16 (and would need minutes here), that of fp32, which then does its work.
    read, copy: bytes a second from and to memory; a copy counts both the bytes read and the bytes written.
    cache: bytes a second read from the last cache.
    cache_bytes: what the last cache holds.
    """

    fp32: float
    bf16: float
    int8: float
    read: float
    copy: float
    cache: float
    cache_bytes: int

    def or_better(self, other: "Ceilings") -> "Ceilings":
        """The greater of two measurements, ceiling by ceiling."""
        mine, theirs = asdict(self), asdict(other)
        return Ceilings(**{name: max(value, theirs[name]) for name, value in mine.items()})

    @property
    def memory(self) -> float:
        """The quicker of reading and copying, so that a floor stays one."""
        return max(self.read, self.copy)

    def as_dict(self) -> dict[str, float]:
        return asdict(self)

    def __str__(self) -> str:
        fp32, bf16, int8, read = (value / 1e9 for value in (self.fp32, self.bf16, self.int8, self.read))
        return (
            f"fp32 {fp32:.0f} Gflop/s, bf16 {bf16:.0f}, int8 {int8:.0f} Gop/s; memory {read:.1f} GB/s read, "
            f"{self.copy / 1e9:.1f} GB/s copied; last cache of {self.cache_bytes / 2**20:.0f} MiB "
            f"{self.cache / 1e9:.0f} GB/s"
        )


@torch.no_grad()
def measure() -> Ceilings:
    """A few seconds of products, sums and copies."""
    single, half, whole = (
        max(_product(shape, dtype) for shape in PRODUCTS) if dtype != torch.bfloat16 or multiplies_half() else 0.0
        for dtype in PRECISIONS
    )
    large = torch.ones(LARGE // 4)
    other = torch.zeros(LARGE // 4)
    small = torch.ones(SMALL // 4)
    return Ceilings(
        fp32=single,
        bf16=half or single,
        int8=whole,
        read=LARGE / _best(large.sum, TRIES),
        copy=2 * LARGE / _best(lambda: other.copy_(large), TRIES),
        cache=100 * SMALL / _best(lambda: [small.sum() for _ in range(100)], TRIES),
        cache_bytes=last_cache(),
    )


def _product(shape: tuple[int, int, int], dtype: torch.dtype) -> float:
    """Flop a second of x Wᵀ, the encoder's rows being latents."""
    rows, depth, columns = shape
    x, encoder = (torch.randn(n, depth).mul_(20).to(dtype) for n in (rows, columns))
    out = torch.empty(rows, columns, dtype=torch.int32 if dtype == torch.int8 else dtype)
    product = torch._int_mm if dtype == torch.int8 else torch.mm
    return 2.0 * rows * depth * columns / _best(lambda: product(x, encoder.T, out=out), TRIES)


def _best(work: Callable[[], object], tries: int) -> float:
    work()
    return min(timed(work) for _ in range(tries))


def last_cache() -> int:
    """Bytes of the last cache as the system tells it; 0 where it does not."""
    sizes = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    units = {"K": 2**10, "M": 2**20}
    found = [size.read_text().strip() for size in sizes]
    known = [int(size[:-1]) * units[size[-1]] for size in found if size[-1:] in units]
    return max(known, default=0)
