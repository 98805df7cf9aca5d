"""The first page's small explorer: one picture, one latent at a few strengths, and random directions pushed as far.

``python -m vlm_sae_lib.publishing.cover`` writes ``data/cover.json`` anew, in under a minute, after notebook 5 has run.
The picture, the latent and the strengths are among those of that notebook's explorer, and so must its captions be: what
the random directions say is all that is added.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import write_json
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.publishing import notebooks
from vlm_sae_lib.show.explorer import DATA
from vlm_sae_lib.steering.sweep import UNSTEERED, Intervention, SteeringBench
from vlm_sae_lib.workbench import Workbench

NOTEBOOK = "05_llava_steering"
PICTURE, NEURON = "a snail in the forest", "beetle (order)"
N_RANDOM = 20
"""Random directions, drawn with seeds 0, 1, …; the page shows the first and counts them all."""
TOKENS = 16
"""Length of a caption, as in the notebook's explorer."""


def path() -> Path:
    return paths.root() / "data" / "cover.json"


def explorer_in(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a notebook's explorer. Raises: UserError if there is none."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if found := DATA.search("".join(output.get("data", {}).get("text/html", ""))):
                return json.loads(found[1])
    raise UserError(f"Notebook {NOTEBOOK} holds no explorer: run it first, `python -m vlm_sae_lib run --only 05`.")


def computed(explorer: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows, JSON-able.

    Raises:
        UserError: a caption is not the one that stands in the notebook, which was then made by other models.
    """
    n = next(i for i, neuron in enumerate(explorer["neurons"]) if neuron["name"] == NEURON and neuron["unit"])
    p = next(i for i, picture in enumerate(explorer["pictures"]) if picture["label"] == PICTURE)
    rows = [i for i, multiple in enumerate(explorer["multiples"]) if multiple is None or multiple > 0]
    published = [explorer["texts"][explorer["captions"][n][p][row][0]] for row in rows]
    multiples = [explorer["multiples"][row] for row in rows][1:]
    latent = int(explorer["neurons"][n]["label"].rpartition("(latent ")[2].rstrip(")"))

    bench = Workbench(load_profile("pocket"))
    vlm, sae, asking = bench.vlm(), bench.shown("steering"), bench.asking
    gallery = bench.gallery("test", bench.profile.steering_scored)
    labels = [asking.label.format(**row) for row in gallery.factors.to_dict("records")]
    maximum = _maximum(vlm, sae, bench, latent)
    steering = SteeringBench(vlm, sae, [gallery.images[labels.index(PICTURE)]])
    pushes = [Intervention(latent, multiple * maximum) for multiple in multiples]
    chance = [Intervention(one.latent, one.strength, seed) for seed in range(N_RANDOM) for one in pushes]
    said = steering.captions([UNSTEERED, *pushes, *chance], asking.describe, max_new_tokens=TOKENS)[:, 0].tolist()
    if said[: len(rows)] != published:
        raise UserError(f"The captions are not those of notebook {NOTEBOOK}: run it anew, then this.")
    random = said[len(rows) :]
    return {
        "picture": {key: explorer["pictures"][p][key] for key in ("label", "src", "terms", "instead")},
        "concept": NEURON.partition(" ")[0],
        "latent": latent,
        "asked": asking.describe,
        "multiples": multiples,
        "unsteered": said[0],
        "steered": published[1:],
        "random": [random[i :: len(multiples)] for i in range(len(multiples))],
        "inputs": {"vlm": vlm.weights_hash, "sae": sae.hash},
    }


def _maximum(vlm: Any, sae: Any, bench: Workbench, latent: int) -> float:
    """The latent's largest activation on the choosing pictures, the unit of the notebook's strengths."""
    from vlm_sae_lib.steering.concepts import pool_latents

    choosing = bench.gallery("choosing", bench.profile.steering_choosing)
    return float(pool_latents(vlm, sae, choosing.images).maximum[latent])


def main() -> int:
    notebook = notebooks.read(paths.notebooks() / f"{NOTEBOOK}.ipynb")
    try:
        write_json(path(), computed(explorer_in(notebook)))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"written: {path()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
