"""The notebooks' results from a processor with other instructions, kept small beside the tests.

    VLM_SAE_RUNS=/tmp/elsewhere ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 \\
        NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES= python -m vlm_sae_lib run --set seed=0
    python tests/support/results_elsewhere.py /tmp/elsewhere/pocket/results "AVX2, no VNNI"

(A run with a value set is not published.) Made anew whenever the published results are.
"""

import sys
from pathlib import Path
from typing import Any

from vlm_sae_lib.files import read_json, write_json

FILE = Path(__file__).resolve().parent.parent / "data" / "results_elsewhere.json"


def small(folder: Path) -> dict[str, Any]:
    """Of each notebook in a folder of results its inputs, and each result's value and verdict."""
    found = {}
    for path in sorted(folder.glob("0*.json")):
        whole = read_json(path)
        results = {name: [row["value"], row["verdict"]] for name, row in whole["results"].items()}
        found[path.stem] = {"inputs": whole["inputs"], "results": results}
    return found


if __name__ == "__main__":
    write_json(FILE, {"instructions": sys.argv[2], "notebooks": small(Path(sys.argv[1]))})
