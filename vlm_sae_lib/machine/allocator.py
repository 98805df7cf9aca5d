"""Memory that was freed is kept for the next step.

A training step makes and frees the same arrays of tens of megabytes again and again. By default the C library hands
each of them back to the system, which then has to clear every page of the next one: about a third of a step's time.
"""

import ctypes
import platform
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc


@cache
def keep_freed_memory() -> bool:
    """Have this process keep what it frees, for good; whether its C library can. No result depends on it."""
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(M_MMAP_MAX, 0) and library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
