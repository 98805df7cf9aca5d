"""One switch that holds a process to the instructions of another processor, so that every machine can measure both.

Most servers rented today have AVX-512 and VNNI. Most laptops, and many of Colab's machines, have AVX2 and neither.
"""

import os
import sys

from vlm_sae_lib.sae.kernels.coarse import EIGHT_BITS, most

OWN, AVX2 = "own", "avx2"
HELD = {
    AVX2: {
        "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2", "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "",
    }
}  # fmt: skip
"""What torch, oneDNN, MKL and Numba read when they are loaded."""


def held_to(instructions: str) -> dict[str, str]:
    """The environment of a process that is held to some instructions; today's for a machine's own."""
    return dict(os.environ) | HELD.get(instructions, {})


def hold(instructions: str) -> None:
    """Begin this process anew, held to some instructions, unless it is: libraries have read their environment."""
    wanted = held_to(instructions)
    if wanted != dict(os.environ):
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]], wanted)


def like_here() -> str:
    """Which of the two this process's processor, or what it is held to, is like."""
    return OWN if most() == EIGHT_BITS else AVX2
