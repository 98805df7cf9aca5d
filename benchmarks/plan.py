"""``python -m benchmarks.plan``: what the plan foretells of the pocket notebooks on this machine, and what they took.

The notebooks are run from nothing into a folder of their own, about five minutes on two cores. Each stage of the plan
that takes longer than a few seconds stands beside the part of the notebook that its stopwatch timed.
"""

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import torch

from vlm_sae_lib import paths
from vlm_sae_lib.files import write_json
from vlm_sae_lib.plan.estimate import plan
from vlm_sae_lib.plan.here import here
from vlm_sae_lib.profiles import load_profile

WITHIN = 1.5
"""The factor within which a prediction is wanted."""
LEAST_SECONDS = 3.0
"""What is shorter is told and not judged: it is made of starts and figures."""
PAIRS = {
    ("01_activation_collection", "collecting activations"): ("collecting activations",),
    ("02_sae_training", "training autoencoders"): ("training and loading autoencoders",),
    ("03_monosemanticity_score", "scores and intervals"):
        ("scoring, with intervals", "controls", "wider dictionaries"),
    **{("05_llava_steering", f"prompts: {part}"): (part,) for part in (
        "a first look", "insertion", "the dose", "the error kept", "a blank page", "suppression",
        "captions for the page")},
}  # fmt: skip
IN_TURN = "from vlm_sae_lib.publishing.runner import Run, run; run(Run(overrides={'seed': 0}), print)"
"""One after the other with all threads, as it is with real models. A value is set: nothing is published."""
LINE = re.compile(r"\| ([^|]+) \| ([\d.]+) s \|")


def main() -> int:
    profile = load_profile("pocket")
    foretold: dict[tuple[str, str], float] = {}
    for one in plan(profile, here(profile)).estimates:
        key = one.stage.notebook, one.stage.part
        foretold[key] = foretold.get(key, 0.0) + one.seconds
    with tempfile.TemporaryDirectory() as runs:
        env = os.environ | {"VLM_SAE_RUNS": runs}
        subprocess.run([sys.executable, "-c", IN_TURN], cwd=paths.root(), env=env, check=True)
        timed = {name: _stopwatch(Path(runs) / "pocket" / "notebooks" / f"{name}.ipynb") for name, _ in PAIRS}
    rows = []
    for (notebook, part), parts in PAIRS.items():
        took = sum(timed[notebook].get(name, 0.0) for name in parts)
        ratio = foretold[notebook, part] / took if took else None
        judged = took >= LEAST_SECONDS
        rows.append({"notebook": notebook, "stage": part, "foretold": foretold[notebook, part], "took": took,
                     "ratio": ratio, "within": 1 / WITHIN <= ratio <= WITHIN if judged else None})  # fmt: skip
        print(f"{notebook:26} {part:34} {rows[-1]['foretold']:7.1f} s foretold {took:7.1f} s taken   × {ratio:.2f}"
              f"{'' if rows[-1]['within'] is not False else '   outside'}", flush=True)  # fmt: skip
    machine = {"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads(),
               "capability": torch.backends.cpu.get_cpu_capability()}  # fmt: skip
    path = paths.root() / "benchmarks" / "results" / f"plan-{date.today().isoformat()}.json"
    write_json(path, {"schema": 1, "machine": machine, "wanted": WITHIN, "rows": rows})
    print(path)
    return int(any(row["within"] is False for row in rows))


def _stopwatch(notebook: Path) -> dict[str, float]:
    """Seconds by part, from the table in an executed notebook."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    text = "".join(json.dumps(cell.get("outputs", []), ensure_ascii=False) for cell in cells).replace("\\n", "\n")
    return {part: float(seconds) for part, seconds in LINE.findall(text)}


if __name__ == "__main__":
    raise SystemExit(main())
