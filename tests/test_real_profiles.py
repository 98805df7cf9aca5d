"""The profiles of public models from end to end, on the stand-ins of ``stand_ins.py``, with the hub offline."""

import json
import os
import subprocess
import sys

import nbformat
import numpy as np
import pytest
import stand_ins

from vlm_sae_lib import paths
from vlm_sae_lib.profiles import PROFILES

NOTEBOOKS = sorted(path.stem for path in paths.notebooks().glob("[0-9]*.ipynb"))
FEWER = {"steps": 60, "batch_size": 64, "steering_choosing": 40, "steering_scored": 40}
"""Training that ends in seconds; everything else is as the profile has it."""


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    stand_ins.fill_hub(root / "hub")
    stand_ins.inat_sample(root / "runs")
    stand_ins.imagenet_and_inat(root / "datasets", paths.root() / "tests" / "data" / "photos")
    return root


def run(world, profile: str, changes: dict, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "vlm_sae_lib", "run", "--profile", profile, "--set", f"changes={changes!r}"]
    environment = os.environ | stand_ins.environment(world)
    return subprocess.run([*command, *options], cwd=paths.root(), env=environment, capture_output=True, text=True)


def outputs(world, profile: str, name: str) -> str:
    """All that a notebook said."""
    notebook = nbformat.read(world / "runs" / profile / "notebooks" / f"{name}.ipynb", as_version=4)
    said = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in said if output.output_type == "error"]
    return "\n".join(str(o.get("text", o.get("data", {}).get("text/markdown", ""))) for o in said)


@pytest.fixture(scope="session", params=["colab"])
def ran(world, request):
    """The five notebooks under a profile."""
    before = {path: path.read_bytes() for path in paths.notebooks().glob("*.ipynb")}
    done = run(world, request.param, FEWER)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(path.read_bytes() == data for path, data in before.items()), "a run of another profile published itself"
    return request.param


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_to_its_results_on_photographs(world, ran, name):
    said = outputs(world, ran, name)
    assert f"Profile *{ran}*" in said and PROFILES[ran].tower in said
    results = json.loads((world / "runs" / ran / "results" / f"{name}.json").read_text())
    assert results["profile"] == ran and len(results["results"]) > 10
    assert all(np.isfinite(entry["value"]) for entry in results["results"].values() if entry["value"] is not None)


@pytest.mark.timeout(1500)
def test_the_steering_notebook_says_aloud_what_it_steers(world, ran):
    said = outputs(world, ran, "05_llava_steering")
    assert "No GPU" in said and "onevision" in said and "So it is trained here" in said
