"""Of how many the n of a result is left: who is active on too few pictures has no value, and is left out.

Computed from what the results files hold: the width of an autoencoder, its trainings, the sizes of its levels.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache

from vlm_sae_lib.experiments import running
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.records.results import Results


def of_how_many(found: Results, experiment: str, name: str) -> int | None:
    """How many the n of a result would be had nobody been left out; None where nobody was, or nothing tells."""
    n = found.results[name]["n"]
    every = EVERYONE[experiment](found, name) if experiment in EVERYONE else None
    every = every or _of_any_activity(found, name)
    return every if n is not None and every is not None and every > n else None


def _of_any_activity(found: Results, name: str) -> int | None:
    """The n of the same result without the condition that a neuron be active on ten pictures."""
    row = found.results.get(name.replace(f"neurons{ENOUGH}, ", "").replace(ENOUGH, ""))
    return None if row is None else row["n"]


def _trainings(found: Results, name: str) -> int:
    seeds = found.results[name]["seeds"]
    return len(seeds) if isinstance(seeds, list) else 1


def _of_layers(found: Results, name: str) -> int | None:
    """The neurons of an autoencoder or a control: its width, in each training."""
    where, _, what = name.partition("/")
    if what.startswith(("L0/", "R²")):  # of pictures
        return None
    width = _widths().get((where, what.rpartition("/")[2].removesuffix(ENOUGH).partition(" minus ")[0]))
    return width and width * _trainings(found, name)


def _of_naming(found: Results, name: str) -> int | None:
    what, _, where = name.partition("/")[0].partition(" at ")
    width = _widths().get((where, what))
    return width and width * _trainings(found, name)


@cache
def _widths() -> dict[tuple[str, str], int]:
    """Neurons of each kind at each hook point, as the experiment on layers counts them."""
    spread = Findings.read(running.published("layers")).frame("spread")
    return {(row["hook point"], row["neurons of"]): int(row["neurons"]) for _, row in spread.iterrows()}


def _of_origins(found: Results, name: str) -> int | None:
    if not name.startswith(("MS", "effect/")) or "MS by firing" in name:
        return None
    rival = name.replace("SAE minus ", "")  # a difference's n is that of the rival
    row = found.results.get(f"neurons/{'SAE' if name.startswith('effect/') else rival.rpartition('/')[2]}")
    return None if row is None else row["n"] * _trainings(found, rival)


def _of_hierarchy(found: Results, name: str) -> int | None:
    """The latents of the levels that a result is about; all of them where it names no level."""
    if not re.match(r"(shipped/)?(depth/|MS/|MS slope|slope|step/|effect/)", name):
        return None
    sizes = {i: row["n"] for i in range(100) if (row := found.results.get(f"level {i}/latents"))}
    named = [int(i) for i in re.findall(r"(?<=level )\d|(?<= to )\d", name)] or list(sizes)
    return sum(sizes[i] for i in named) * _trainings(found, name)


def _of_similarity(found: Results, name: str) -> int | None:
    """The latents of the autoencoder that is steered with, of a result that is about all that are alive."""
    alive = found.results[name]["n"] == found.value("latents") and "/sd/" not in name
    return found.results["SAE"]["n"] if alive else None


def _of_keeping_the_rest(found: Results, name: str) -> int | None:
    return found.results["SAE"]["n"] if name.startswith("share that steers/") else None


EVERYONE: Mapping[str, Callable[[Results, str], int | None]] = {
    "layers": _of_layers, "naming": _of_naming, "origins": _of_origins, "hierarchy": _of_hierarchy,
    "similarity": _of_similarity, "keeping_the_rest": _of_keeping_the_rest,
}  # fmt: skip
"""By experiment, where more is known than the results of the two populations tell."""
