"""The names that the package publishes."""

import os
import subprocess
import sys

import pytest

import vlm_sae_lib


@pytest.mark.parametrize("name", vlm_sae_lib.__all__)
def test_every_public_name_is_there(name):
    assert getattr(vlm_sae_lib, name).__doc__, "and says what it is"


def test_another_name_is_not():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        vlm_sae_lib.__getattr__("nothing")


@pytest.mark.parametrize("own, wanted", [
    ({}, "GOMP_SPINCOUNT = '10000'"),
    ({"GOMP_SPINCOUNT": "77"}, "GOMP_SPINCOUNT = '77'"),
    ({"OMP_WAIT_POLICY": "passive"}, "GOMP_SPINCOUNT = '0'"),
])  # fmt: skip
def test_threads_that_wait_leave_their_cores_soon_unless_a_user_says_otherwise(own, wanted):
    plain = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    load = [sys.executable, "-c", "import vlm_sae_lib, torch"]
    told = subprocess.run(load, check=True, stderr=subprocess.PIPE, text=True,
                          env=plain | own | {"OMP_DISPLAY_ENV": "verbose"}).stderr  # fmt: skip
    if "GOMP_" not in told:
        pytest.skip("torch has another OpenMP here")
    assert wanted in told
