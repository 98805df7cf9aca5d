"""A collection to kill: slow, in a process of its own. Arguments: pictures, seconds per block, and for each store its
hook point, its token rule and its folder."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tiny_towers import toy_tower

from vlm_sae_lib import paths
from vlm_sae_lib.activations import collect_together


def facts(store: Path) -> dict:
    return json.loads((store / "metadata.json").read_text())


def killed(pictures: Path, stores: list, waits_for: Path) -> None:
    """Collect into ``stores`` (as the arguments have them), and kill it once ``waits_for`` has its first shard."""
    environment = {**os.environ, "PYTHONPATH": str(paths.PACKAGE.parent)}
    process = subprocess.Popen([sys.executable, __file__, pictures, "0.3", *stores], env=environment)
    try:
        deadline = time.monotonic() + 240
        while not (waits_for / "metadata.json").is_file() or not facts(waits_for)["shards"]:
            assert process.poll() is None, "the process ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


if __name__ == "__main__":
    pictures, delay, *stores = sys.argv[1:]
    outs = {(hook, rule): out for hook, rule, out in zip(stores[::3], stores[1::3], stores[2::3], strict=True)}
    collect_together(toy_tower(delay=float(delay)), pictures, outs, batch_size=2, pictures_per_shard=3)
