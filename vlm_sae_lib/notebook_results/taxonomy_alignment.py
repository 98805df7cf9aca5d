"""The results of notebook 4: depth and MS of each level with its controls, and slopes over the levels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vlm_sae_lib.records.results import Results, published, published_source
from vlm_sae_lib.statistics.intervals import Estimate

OURS = "matryoshka_batch_top_k"
KEYS = {
    OURS: "matryoshka", "BatchTopK, sorted by frequency": "batch_top_k_by_frequency",
    "BatchTopK, frequency-matched": "batch_top_k_frequency_matched", "levels dealt at random": "random_groups",
    "shuffled labels": "shuffled_labels",
}  # fmt: skip
OVER_LATENTS: dict[str, Any] = {"interval_kind": "Student's t over latents of the level"}
OVER_DRAWS: dict[str, Any] = {"interval_kind": "middle 95 % of the draws"}


def inputs(results: Results, train: Any, test: Any, matryoshka: Any, plain: Any) -> None:
    """train, test: stores of activations."""
    for name, value in {
        "activations/train": train.id, "activations/test": test.id, "sae/taxonomy_matryoshka": matryoshka.hash,
        "sae/taxonomy_batch_top_k": plain.hash,
    }.items():  # fmt: skip
        results.input(name, value)


def depths(
    results: Results, shown: Mapping[str, Sequence[Estimate]], rounded: Sequence[Estimate], by_chance: float,
    kept: Sequence[int], kept_by_frequency: Sequence[int], ms: Sequence[Estimate], n: int, seed: int,
) -> None:  # fmt: skip
    """Each level's depth, as the paper computes it and as a plain mean, with its controls; and its MS.

    Args:
        shown: plain means by kind, ours and the controls.
        rounded: the paper's reading of ours.
        kept: how many latents each level stands on; kept_by_frequency: those of the sorted groups.
        n: how many pictures the depth of random pairs stands on.
    """
    basis: dict[str, Any] = {"unit": "ranks, 0 to 7", "split": "train", "seeds": [seed]}
    results.add("depth_of_random_pairs", by_chance, n=n, unit="ranks, 0 to 7", split="train")
    for i, found in enumerate(rounded):
        controls = {name: f"depth_mean/{key}/level_{i}" for name, key in list(KEYS.items())[1:]}
        controls["random pairs"] = "depth_of_random_pairs"
        for name, key in KEYS.items():
            counted = kept_by_frequency if key == "batch_top_k_by_frequency" else kept
            results.add(
                f"depth_mean/{key}/level_{i}", shown[name][i].value, interval=shown[name][i].interval,
                n=int(counted[i]), controls=controls if name == OURS else None, **basis,
                **(OVER_DRAWS if key in ("random_groups", "shuffled_labels") else OVER_LATENTS),
            )  # fmt: skip
        results.add(
            f"depth_rounded_mean/matryoshka/level_{i}", found.value, interval=found.interval, n=int(kept[i]),
            controls=controls, paper_value=published("hierarchy", level=i, statistic="lca_depth"), **OVER_LATENTS,
            **basis, source=published_source("hierarchy", level=i, statistic="lca_depth"),
        )  # fmt: skip
        results.add(
            f"ms_mean/matryoshka/level_{i}", ms[i].value, interval=ms[i].interval, split="test", unit="mean MS",
            paper_value=published("hierarchy", level=i, statistic="mean", scoring_encoder="DINOv2 ViT-B"),
            **OVER_LATENTS,
        )  # fmt: skip


def slopes(
    results: Results, found: Mapping[str, Estimate], steeper: Estimate, beyond: Estimate,
    of_nodes: Mapping[str, Estimate], seed: int,
) -> None:  # fmt: skip
    """Ranks per level: ours and the controls' slopes, what is left beyond frequency, and the second reading."""
    within: dict[str, Any] = {
        "interval_kind": "Welch's t over latents within each level", "unit": "ranks per level", "split": "train",
        "seeds": [seed],
    }  # fmt: skip
    rivals = list(KEYS)[1:3]
    for name in rivals:
        results.add(f"depth_slope/{KEYS[name]}", found[name].value, interval=found[name].interval, **within)
    ours = found["Matryoshka levels"]
    results.add(
        "depth_slope/matryoshka", ours.value, interval=ours.interval,
        controls={name: f"depth_slope/{KEYS[name]}" for name in rivals}, **within,
    )  # fmt: skip
    results.add("depth_slope/steeper_than_frequency", steeper.value, interval=steeper.interval, **within)
    results.add("depth_slope/beyond_matched", beyond.value, interval=beyond.interval, **within)
    for kind, key in (("batch_top_k", "batch_top_k_by_frequency"), (OURS, "matryoshka")):
        control = (
            {"BatchTopK, sorted by frequency": "node_depth_slope/batch_top_k_by_frequency"} if kind == OURS else None
        )
        results.add(
            f"node_depth_slope/{key}", of_nodes[kind].value, interval=of_nodes[kind].interval, controls=control,
            **{**within, "split": "test"},
        )  # fmt: skip


def counts_by_frequency(levels: np.ndarray, full: np.ndarray, n_levels: int) -> np.ndarray:
    """How many latents with sixteen pictures each group by frequency has."""
    return np.bincount(levels[full], minlength=n_levels)
