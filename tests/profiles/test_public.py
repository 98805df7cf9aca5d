"""The profiles of public models from end to end, on the stand-ins of ``stand_ins.py``, with the hub offline."""

import json
import os
import subprocess
import sys

import nbformat
import numpy as np
import pytest
import rasters
import stand_ins
from data_files import PHOTOS

from vlm_sae_lib import paths
from vlm_sae_lib.profiles import PROFILES
from vlm_sae_lib.publishing import editions

NOTEBOOKS = sorted(path.stem for path in paths.notebooks().glob("[0-9]*.ipynb"))
QUICK = {"steps": 60, "batch_size": 64, "steering_choosing": 40, "steering_scored": 40}
SHOWING = ("02_sae_training", "03_monosemanticity_score", "05_llava_steering")
"""Those that show pictures of the data."""
NARROW = {"expansions": [0.7, 1, 2]}  # a stand-in's 64 dimensions; the narrowest is a width that the paper has not
CHANGES = {
    "colab": QUICK | NARROW,
    "light": QUICK | NARROW,
    "paper": QUICK | {
        "vlm_gpu_gib": 0.0,  # here is no GPU of 40 GB, nor does a stand-in need one
        "expansions": [1, 4],
        "steering": {"concepts": 2, "multiples": [1, 2], "choosing": 2, "test": 4, "repetitions": 1, "trial": 2,
                     "doses": [0.5, 1, 2], "dose_test": 2, "dose_repetitions": 1, "suppressed": 1, "shown": 2,
                     "shown_pictures": 1},
    },
}  # fmt: skip
"""Training that ends in seconds, and for the paper's profile fewer steered answers; all else is the profile's."""


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    stand_ins.fill_hub(root / "hub")
    stand_ins.inat_sample(root / "runs")
    stand_ins.imagenet_and_inat(root / "datasets", PHOTOS)
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
    data = [output.get("data", {}) for output in said]
    texts = [o.get("text", d.get("text/markdown", d.get("text/html", ""))) for o, d in zip(said, data, strict=True)]
    return "\n".join(map(str, texts))


LONG = [pytest.param(name, marks=pytest.mark.long) for name in ("paper", "light")]


@pytest.fixture(scope="session", params=["colab", *LONG])
def ran(world, request):
    """The five notebooks under a profile."""
    before = {path: path.read_bytes() for path in paths.notebooks().glob("*.ipynb")}
    done = run(world, request.param, CHANGES[request.param])
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
def test_the_steering_notebook_says_aloud_what_it_steers_and_by_what(world, ran):
    said = outputs(world, ran, "05_llava_steering")
    assert "training and loading autoencoders" in said, "how long that took stands among the parts"
    if ran == "colab":  # no GPU here: the smaller model, whose own tower nobody has released an SAE for
        assert "No GPU: llava-onevision" in said and "So it is trained here" in said
    elif ran == "light":
        assert "SmolVLM-500M-Instruct" in said and "It is trained here" in said
    else:  # the release has SAEs of the very block, though of class tokens alone
        assert "llava-1.5-7b-hf" in said and "`block_22`" in said
        assert "trained on class tokens" in said and "So it is trained here, 64 times" in said


@pytest.mark.timeout(1500)
def test_a_run_of_public_models_can_be_an_edition_of_the_book_which_shows_none_of_their_pictures(
    world, ran, monkeypatch, tmp_path
):
    monkeypatch.setenv("VLM_SAE_RUNS", str(world / "runs"))
    for part in ("_config.yml", "_toc.yml", "benchmarks", "book", "data", "notebooks", "tests", "vlm_sae_lib"):
        (tmp_path / part).symlink_to(paths.root() / part)
    monkeypatch.setenv("VLM_SAE_ROOT", str(tmp_path))
    run = world / "runs" / ran / "notebooks"
    assert rasters.signed(run) == [f"{name}.ipynb" for name in SHOWING], "the run itself shows its pictures"
    edition = editions.write_source(ran)
    assert rasters.signed(edition) == []
    before, after = (len(rasters.in_folder(folder)) for folder in (run, edition / "notebooks"))
    assert after >= 20 and before > after, "drawings, and pictures of the pocket world, are still there"
    told = (edition / "notebooks" / "03_monosemanticity_score.ipynb").read_text()
    assert told.count("Not shown here: pictures of ") == 4
    if ran != "light":  # more than a minute each: the pages of one are enough
        return
    command = [sys.executable, "-m", "vlm_sae_lib", "book", "--edition", ran]
    environment = os.environ | stand_ins.environment(world)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    site = tmp_path / "_build" / "html" / ran
    assert rasters.signed(site) == [] and len(rasters.in_folder(site)) >= 50
    page = site / "notebooks" / "03_monosemanticity_score.html"
    assert "You will NOT distribute the dataset images" in page.read_text()
