"""A cluster that is joined from elsewhere by Ray's client: the stages as they are from within, and one sentence."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from vlm_sae_lib import paths
from vlm_sae_lib.files import folder_hash

pytest.importorskip("ray", reason="Ray is not installed: make cluster")
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture
def cluster(request, tmp_path):
    """Where a cluster of one machine is joined, and where it is by Ray's client; a token is at hand, wanted or not."""
    (tmp_path / "home" / ".ray").mkdir(parents=True)
    (tmp_path / "home" / ".ray" / "auth_token").write_text("0123456789abcdef" * 4)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    environment["HOME"] = str(tmp_path / "home")
    environment["PYTHONPATH"] = os.pathsep.join([str(paths.PACKAGE.parent), *sys.path])
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("", 0))
            ports.append(free.getsockname()[1])
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus", "2"]
    start += ["--port", str(ports[0]), "--ray-client-server-port", str(ports[1]), "--include-dashboard", "false"]
    machine = subprocess.Popen([*start, "--temp-dir", f"/tmp/ray-{os.getpid()}"], start_new_session=True,
                               env=environment | {"RAY_AUTH_MODE": request.param})  # fmt: skip

    def command(*words, code=0):
        done = subprocess.run([sys.executable, "-m", "vlm_sae_lib", *map(str, words)], env=environment,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stderr

    yield command, f"127.0.0.1:{ports[0]}", f"ray://127.0.0.1:{ports[1]}"
    machine.send_signal(signal.SIGTERM)
    try:
        machine.wait(60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(machine.pid, signal.SIGKILL)
        shutil.rmtree(f"/tmp/ray-{os.getpid()}", ignore_errors=True)


@pytest.mark.parametrize("cluster", ["disabled", "token"], indirect=True)
def test_a_token_at_hand_is_sent_where_it_is_wanted_alone(cluster, tmp_path):
    command, address, _ = cluster
    _came_up(address)
    words = ("collect", "--pictures", "pocket:40:5", "--tower", "pocket", "--hook-point", "block_3", "--device", "cpu")
    told = command(*words, "--out", tmp_path / "store", "--engine", "ray", "--address", address)
    assert (tmp_path / "store" / "metadata.json").is_file() and "Traceback" not in told


def _came_up(address):
    host, port = address.split(":")
    for _ in range(600):
        with suppress(OSError), socket.create_connection((host, int(port))):
            return
        time.sleep(0.1)
    raise AssertionError("the cluster did not come up")


@pytest.mark.parametrize("cluster", ["token"], indirect=True)
def test_each_stage_by_the_client_is_the_local_one(cluster, tmp_path):
    command, _, address = cluster
    (tmp_path / "sweep.yaml").write_text(
        "all: {steps: 15, batch_size: 32, expansion: 2}\ngrid: {kind: [batch_top_k, top_k], k: [2, 4]}\n"
    )
    for name, more in (("here", ()), ("ray", ("--engine", "ray", "--address", address))):
        out = tmp_path / name
        command("collect", "--pictures", "pocket:300:5", "--tower", "pocket", "--hook-point", "block_3",
                "--device", "cpu", "--out", out / "store", *more)  # fmt: skip
        command("train", "--activations", out / "store", "--sweep", tmp_path / "sweep.yaml", "--together", "2",
                "--device", "cpu", "--out", out / "saes", *more)  # fmt: skip
        command("score", "--sae", out / "saes" / "kind=top_k,k=4", "--activations", out / "store", "--embeddings",
                out / "store", "--resamples", "20", "--out", out / "scores", *more)  # fmt: skip
    for folder in ("store", "saes"):
        assert folder_hash(tmp_path / "here" / folder) == folder_hash(tmp_path / "ray" / folder)
    assert (tmp_path / "ray" / "scores" / "scores.json").is_file()
    told = command("collect", "--pictures", "pocket:300:5", "--tower", "pocket", "--hook-point", "block_99", "--out",
                   tmp_path / "no", "--engine", "ray", "--address", address, code=2)  # fmt: skip
    assert "block_99" in told.splitlines()[-1] and "Traceback" not in told and not (tmp_path / "no").exists()
