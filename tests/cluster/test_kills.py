"""Workers, machines and the calling process are killed at random moments, and the results are the undisturbed ones."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress

import numpy as np
import psutil
import pytest

from vlm_sae_lib import paths
from vlm_sae_lib.activations import ActivationStore, collect_activations
from vlm_sae_lib.files import folder_hash, read_json
from vlm_sae_lib.pictures import load_pictures
from vlm_sae_lib.sae.training.sweep import grouped, read_sweep, train_group
from vlm_sae_lib.statistics.gather import gather_statistics
from vlm_sae_lib.towers import load_tower

pytest.importorskip("ray", reason="Ray is not installed: make cluster")
pytestmark = [pytest.mark.long, pytest.mark.timeout(3000)]

PICTURES, PER_SHARD, KILLS = "pocket:2400:5", 100, 20
SWEEP = """
all: {steps: 150, batch_size: 128, expansion: 2}
grid: {kind: [matryoshka_batch_top_k, batch_top_k, top_k], k: [2, 4], seed: [0, 1]}
"""


@pytest.fixture
def cluster(monkeypatch):
    """Ray on three machines, all of them this one: a head without a core for work, and two with one each.

    Machines that come later take their mode from this process: one that wants a token would not answer a head without.
    """
    if "RAY_AUTH_MODE" not in os.environ:
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    import ray
    from ray.cluster_utils import Cluster

    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [machines.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=machines.address, logging_level="ERROR", log_to_driver=False)
    yield machines, nodes
    ray.shutdown()
    machines.shutdown()


class Killer:
    """Kills busy workers, and machines in whose place new ones come, so many in all while something runs.

    It works in the main thread, as only there a machine can be added; what runs is in another one.
    """

    def __init__(self, machines, nodes, seed, most):
        self.machines, self.nodes, self.draw, self.most = machines, nodes, np.random.default_rng(seed), most
        self.killed, self.failed = {"worker": 0, "machine": 0}, False

    @property
    def enough(self):
        return self.failed or sum(self.killed.values()) >= self.most

    def kill_beside(self, running):
        try:
            while not self.enough and not wait([running], float(self.draw.uniform(2, 9))).done:
                self._kill_one()
        except BaseException:
            self.failed = True
            raise

    def _kill_one(self):
        if self.draw.random() < 0.3:
            node = self.nodes.pop(int(self.draw.integers(len(self.nodes))))
            self.machines.remove_node(node, allow_graceful=False)
            self.nodes.append(self.machines.add_node(num_cpus=1))
            self.killed["machine"] += 1
        elif busy := [process.pid for process in psutil.process_iter(["cmdline"]) if _works(process)]:
            with suppress(ProcessLookupError):  # it came to its end just now
                os.kill(int(self.draw.choice(busy)), signal.SIGKILL)
                self.killed["worker"] += 1


def _works(process) -> bool:
    """Whether a process does a part: none of Ray's own helpers, which a machine cannot do without."""
    line = " ".join(process.info["cmdline"] or ())
    return line.startswith("ray::") and any(name in line for name in ("MapWorker", "_counted", "_merged", "_train"))


def same_statistics(here, there):
    for name in ("firing_count", "above_minimum", "histogram", "top_images"):
        np.testing.assert_array_equal(getattr(there, name)(), getattr(here, name)())
    np.testing.assert_allclose(there.monosemanticity(), here.monosemanticity(), rtol=0, atol=1e-12)


def test_kills_at_random_moments_change_nothing(cluster, tmp_path):
    from vlm_sae_lib.cluster.collecting import collect
    from vlm_sae_lib.cluster.counting import gather
    from vlm_sae_lib.cluster.training import train

    pictures, towers = load_pictures(PICTURES), ("pocket", "pocket:self_supervised")
    here = [
        collect_activations(load_tower(tower, device="cpu"), pictures, "projection", tmp_path / f"here-{tower}",
                            pictures_per_shard=PER_SHARD)
        for tower in towers
    ]  # fmt: skip
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    groups = grouped(read_sweep(tmp_path / "sweep.yaml"), 3)
    for group in groups:
        train_group(here[0], group, tmp_path / "here-saes", device="cpu")
    killer = Killer(*cluster, seed=0, most=KILLS)

    def rounds():
        number = 0
        while not killer.enough:
            out = tmp_path / f"round-{number}"
            there = [
                collect(tower, PICTURES, "projection", out / tower, device="cpu", pictures_per_shard=PER_SHARD)
                for tower in towers
            ]
            for one, other in zip(here, there, strict=True):
                assert folder_hash(one.path) == folder_hash(other.path)
            list(train(there[0], groups, out / "saes", device="cpu"))
            assert folder_hash(out / "saes") == folder_hash(tmp_path / "here-saes")
            for _ in range(3):
                same_statistics(gather_statistics(*here).statistics, gather(*there, pictures=200).statistics)
            number += 1
        return number

    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(rounds)
        killer.kill_beside(running)
        number = running.result()
    print(f"killed {killer.killed} in {number} rounds")
    assert killer.killed["worker"] and killer.killed["machine"] and sum(killer.killed.values()) == KILLS


def test_the_calling_process_is_killed_and_called_again(tmp_path):
    options = ["--pictures", "pocket:9000:5", "--tower", "pocket", "--hook-point", "block_2", "--device", "cpu"]
    command = [sys.executable, "-m", "vlm_sae_lib", "collect", *options, "--out"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(paths.PACKAGE.parent), *sys.path])}
    store = tmp_path / "ray"
    for more in (1, 3):
        process = subprocess.Popen([*command, store, "--engine", "ray"], env=environment, start_new_session=True)
        try:
            while not (store / "metadata.json").is_file() or len(read_json(store / "metadata.json")["shards"]) < more:
                assert process.poll() is None, "it ended before it could be killed"
                time.sleep(0.02)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert subprocess.run([*command, store, "--engine", "ray"], env=environment).returncode == 0
    assert subprocess.run([*command, tmp_path / "here"], env=environment).returncode == 0
    assert folder_hash(store) == folder_hash(tmp_path / "here")
    assert len(ActivationStore.open(store, verify=True)) == 9000
