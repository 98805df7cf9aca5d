"""What the latents of one autoencoder do on one set of pictures: their depth in the tree, and how often they fire.

A latent is held against the one of another autoencoder that fires most nearly as often.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from vlm_sae_lib.records.results import published, published_source
from vlm_sae_lib.scores import levels
from vlm_sae_lib.scores.hierarchy import REDUCTIONS, neuron_depths
from vlm_sae_lib.statistics.gather import gather_statistics
from vlm_sae_lib.statistics.intervals import Estimate
from vlm_sae_lib.workbench import Workbench

MATRYOSHKA, PLAIN = "matryoshka_batch_top_k", "batch_top_k"
HOOK_POINT = "projection"
SORTED, MATCHED = "BatchTopK, sorted by frequency", "BatchTopK, frequency-matched"


@dataclass(frozen=True, eq=False)
class Read:
    """What one SAE's latents do on one set of pictures: depth by each reading, rates, and where the depth is defined.

    Attributes:
        depths: per reading (n_latents,), NaN where fewer than 16 pictures excite the latent.
        rates: share of the pictures on which each latent fires.
        top: ids of the top-16 pictures.
        pictures: on how many pictures each latent fires.
    """

    depths: dict[str, Float[np.ndarray, " n_latents"]]
    rates: Float[np.ndarray, " n_latents"]
    top: Int[np.ndarray, "n_latents 16"]
    pictures: Int[np.ndarray, " n_latents"]

    def of(self, kept: Bool[np.ndarray, " n_latents"]) -> "Read":
        """The same with a depth for some latents only; the others can be no partners either."""
        return replace(self, depths={by: np.where(kept, values, np.nan) for by, values in self.depths.items()})


def read_latents(bench: Workbench, sae: Any, split: str) -> Read:
    """An SAE's top-16 pictures of a split, their depths and its firing rates."""
    store, folders = bench.activations(split, HOOK_POINT), bench.pictures(split).folders
    statistics = gather_statistics(store, store, sae).statistics
    top = statistics.top_images()
    full = (top >= 0).all(axis=1)
    depths: dict[str, np.ndarray] = {
        by: np.where(full, neuron_depths(top, folders, reduce=by), np.nan) for by in REDUCTIONS
    }
    return Read(depths, statistics.firing_rate(), top, statistics.firing_count())


def partners(ours: Read, plain: Read) -> Int[np.ndarray, " n_latents"]:
    """For each Matryoshka latent the plain latent that fires most nearly as often, -1 without a depth."""
    return levels.frequency_partners(ours.depths["mean"], ours.rates, plain.depths["mean"], plain.rates)


def matched(ours: Read, plain: Read) -> Float[np.ndarray, " n_latents"]:
    """The depth of each latent's partner of equal frequency."""
    partner = partners(ours, plain)
    return np.where(partner >= 0, plain.depths["mean"][partner], np.nan)


def by_level(values: Sequence[np.ndarray], rungs: Sequence[np.ndarray], n_levels: int) -> list[list[np.ndarray]]:
    """For each level the values of each seed's latents in it."""
    return [[v[rung == i] for v, rung in zip(values, rungs, strict=True)] for i in range(n_levels)]


def count(values: np.ndarray) -> int:
    """How many are defined."""
    return int((~np.isnan(values)).sum())


def row(estimate: Estimate) -> dict[str, float]:
    """An estimate as columns of a table."""
    return {"value": estimate.value, "low": estimate.interval.low, "high": estimate.interval.high}


def paper(**where: Any) -> dict[str, Any]:
    """The paper's number, as `Results.add` wants it."""
    return {"paper_value": published("hierarchy", **where), "source": published_source("hierarchy", **where)}
