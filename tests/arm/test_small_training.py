"""A small training on an ARM processor, which qemu emulates, comes out as it does here. ``make test-arm`` runs this."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vlm_sae_lib import paths

pytestmark = pytest.mark.arm
SCRIPT = Path(__file__).parent / "small_training.py"
FOLDER = paths.root() / os.environ.get("ARM", ".venv-arm")


def found_by(command: list[str], **more: str) -> dict:
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"} | more
    return json.loads(subprocess.run([*command, SCRIPT], env=env, check=True, stdout=subprocess.PIPE).stdout)


@pytest.fixture(scope="module")
def both() -> tuple[dict, dict]:
    emulated = ["qemu-aarch64-static", "-L", str(FOLDER / "root"), str(FOLDER / "python")]
    libraries = os.pathsep.join(map(str, (FOLDER / "site", paths.root())))
    there = found_by(emulated, PYTHONPATH=libraries, NUMBA_CACHE_DIR=str(FOLDER / "numba"))
    return found_by([sys.executable]), there


def test_another_processor_takes_the_plain_product(both):
    here, there = both
    assert there["machine"] == "aarch64" and here["machine"] != "aarch64" and not there["quick"]


@pytest.mark.parametrize("kind", ["matryoshka_batch_top_k", "batch_top_k", "top_k", "relu", "jump_relu"])
def test_what_is_learned_is_the_same(both, kind):
    here, there = (found["kinds"][kind] for found in both)
    assert here["r2"] > 0.3
    assert there["r2"] == pytest.approx(here["r2"], abs=1e-3) and there["ms"] == pytest.approx(here["ms"], abs=1e-3)
    for name in ("l0", "largest"):
        assert there[name] == pytest.approx(here[name], rel=0.01)
    assert len(set(here["first"]) ^ set(there["first"])) <= 2
