"""Memory that was freed stays with the process: the second array of a size costs no page faults."""

import platform
import resource
import subprocess
import sys

import pytest

ASK_TWICE = """
import resource, sys
import numpy as np
from vlm_sae_lib.machine.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory() and keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**24, dtype=np.float32)
before = faults()
for _ in range(5):
    np.ones(2**24, dtype=np.float32)
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has its own way")
def test_the_second_array_needs_no_new_pages():
    def faults(way: str) -> int:
        done = subprocess.run([sys.executable, "-c", ASK_TWICE, way], capture_output=True, text=True, check=True)
        return int(done.stdout)

    pages = 2**26 // resource.getpagesize()
    assert faults("keep") < pages / 10


def test_another_c_library_is_left_alone(monkeypatch):
    from vlm_sae_lib.machine import allocator

    monkeypatch.setattr(allocator.platform, "libc_ver", lambda: ("", ""))
    assert allocator.keep_freed_memory.__wrapped__() is False
