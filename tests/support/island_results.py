"""Made-up results on islands, for tests of what becomes of a claim there."""

import json
from pathlib import Path

import numpy as np

from vlm_sae_lib.claims.claim import By, Claim
from vlm_sae_lib.claims.evidence import Evidence
from vlm_sae_lib.claims.islands import evidences, profile_of
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.pocket.islands import ISLANDS

CLAIM = Claim("it", "It", "It works.", "nowhere", "none", (By("layers", "gain", 0.05, "over nothing"),))
STEERS = Claim(
    "steers", "It steers", "It steers.", "nowhere", "none", (By("similarity", "push", 0.05, "over no push"),)
)
TEN = np.linspace(-0.01, 0.01, 10)
"""Added to a mean: ten trainings of that mean, which differ little."""
COUNTED = ("", "atoll", "fjord", "skerry", "mainland")


def put(results: Path, island: str, *, experiment: str = "layers", **effects) -> None:
    """Write an island's results of an experiment: of each effect one value a training."""
    profile = profile_of(ISLANDS[island])
    found = Findings(experiment, profile)
    for name, values in effects.items():
        found.effect(name, np.asarray(values, float), unit="training", of="MS", n=40, split="test")
    path = results / profile / f"{experiment}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found.as_dict()))


def where(results: Path, **means: float) -> dict[str, Evidence]:
    """Ten trainings of each island's mean, by the island's name; ``home`` is the published one's."""
    for name, mean in means.items():
        put(results, "" if name == "home" else name, gain=mean + TEN)
    return evidences(results)
