"""The templates are what their programs read: the grid's file, the scripts, the descriptions of clusters."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vlm_sae_lib import paths
from vlm_sae_lib.commands import collect, score, train
from vlm_sae_lib.files import read_json
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.profiles.public import CLIP_L, DINO_B
from vlm_sae_lib.sae.training.sweep import read_sweep

TEMPLATES = paths.root() / "cluster"
SCRIPTS = sorted(path.name for path in TEMPLATES.glob("*.sh"))


def test_the_grid_is_the_papers():
    wanted = read_sweep(TEMPLATES / "grid.yaml")
    assert len(wanted) == 15
    at_20 = {(one.config.kind, one.config.expansion) for one in wanted if one.config.k == 20}
    assert len(at_20) == 12 and {one.config.k for one in wanted} == {1, 10, 20, 50}
    assert {(one.config.steps, one.config.batch_size) for one in wanted} == {(100_000, 4096)}


def test_the_models_are_the_paper_profiles():
    text = (TEMPLATES / "grid.sh").read_text()
    assert f"TOWER:-{CLIP_L}}}" in text and f"SCORER:-{DINO_B}}}" in text
    assert f"HOOK_POINTS:-{' '.join(load_profile('paper').hook_points)}}}" in text


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_bash(name):
    assert subprocess.run(["bash", "-n", TEMPLATES / name]).returncode == 0
    assert "set -euo pipefail" in (TEMPLATES / name).read_text()


def test_the_script_names_options_that_the_stages_have():
    import argparse

    text = (TEMPLATES / "grid.sh").read_text().replace("\\\n", " ")
    for stage in (collect, train, score):
        parser = argparse.ArgumentParser()
        stage.add_arguments(parser)
        known = {name for action in parser._actions for name in action.option_strings}
        calls = re.findall(rf"stage {stage.__name__.rsplit('.')[-1]} .*", text)
        assert calls and all(set(re.findall(r"--[a-z-]+", call)) <= known for call in calls)
        assert {"--engine", "--address"} <= known


def test_kubernetes_and_cloud_descriptions_hold_together():
    job = yaml.safe_load((TEMPLATES / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]["rayClusterSpec"]
    pinned = re.search(r"^ray==(.+)$", (paths.root() / "constraints.txt").read_text(), re.MULTILINE)
    assert spec["rayVersion"] == pinned.group(1) and spec["authOptions"] == {"mode": "token"}
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert container["resources"]["requests"] == container["resources"]["limits"]  # as Ray counts by limits
    cloud = yaml.safe_load((TEMPLATES / "ray-cluster.yaml").read_text())
    assert cloud["head_node_type"] in cloud["available_node_types"]
    for which in ("head", "worker"):  # one that wants a token, among others that have none, is not heard
        assert "RAY_AUTH_MODE=token ray start" in cloud[f"{which}_start_ray_commands"][-1]


def test_ray_takes_the_clouds_description():
    pytest.importorskip("ray", reason="Ray is not installed: make cluster")
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(yaml.safe_load((TEMPLATES / "ray-cluster.yaml").read_text())))


SMALL = """
all: {steps: 20, batch_size: 64, expansion: 1}
grid: {kind: [matryoshka_batch_top_k, batch_top_k], k: [4, 8]}
"""
SCONTROL = "#!/bin/sh\nfor node in one two; do echo $node; done\n"
SRUN = """#!/bin/sh
while [ "${1#--}" != "$1" ]; do shift; done
[ "$1" = hostname ] && { echo 127.0.0.1; exit; }
exec "$@"
"""


@pytest.mark.long
def test_the_whole_grid_in_miniature_on_a_ray_started_as_slurm_does(tmp_path):
    """``srun`` and ``scontrol`` are stand-ins for two nodes, both of which are this machine."""
    pytest.importorskip("ray", reason="Ray is not installed: make cluster")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("scontrol", SCONTROL), ("srun", SRUN)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / "sweep.yaml").write_text(SMALL)
    import ray

    beside = Path(ray.__file__).parents[1] / "bin" / "ray"
    command = str(beside if beside.exists() else Path(sys.executable).parent / "ray")
    out = tmp_path / "grid"
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_NODELIST": "[one,two]", "SLURM_CPUS_PER_TASK": "1",
        "SLURM_SUBMIT_DIR": str(paths.root()), "PORT": "6399", "RAY": command, "PYTHON": sys.executable,
        "OUT": str(out),
        "PICTURES": "pocket:300:5", "TOWER": "pocket", "SCORER": "pocket:self_supervised", "GPUS": "0",
        "HOOK_POINTS": "block_4 projection", "SWEEP": str(tmp_path / "sweep.yaml"), "TOGETHER": "2",
    }  # fmt: skip
    script = ["bash", str(TEMPLATES / "slurm.sh")]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    scores = sorted(out.glob("*/scores/*/scores.json"))
    assert len(scores) == 8 and all(read_json(path)["images"] == 300 for path in scores)
