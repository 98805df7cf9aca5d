"""The pools of neurons that the experiment on agreement compares (paper v3 §4.2.1), and random directions for them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from vlm_sae_lib.controls.codes import random_directions
from vlm_sae_lib.controls.observers import factor_agreement, most_shared, surprise
from vlm_sae_lib.experiments.measure import known_factors
from vlm_sae_lib.hooks import PROJECTION
from vlm_sae_lib.scores.comparison import pictures_above_minimum
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.statistics.neurons import NeuronStatistics
from vlm_sae_lib.workbench import Workbench

TOP = 16
KINDS = (("BatchTopK ×4", "batch_top_k"), ("Matryoshka ×4", "matryoshka_batch_top_k"))
OBSERVERS = {"all factors": factor_agreement, "one factor": most_shared, "surprise": surprise}
"""How alike the top pictures are in all factors; how far they share the value that most of them have; how unlikely that
is. Pairs between which an observer sees no difference are left out, as no majority of three people is a tie."""


@dataclass(frozen=True, eq=False)
class Neurons:
    """What is known of each neuron of all pools: one row per neuron, and the encoders' MS of it (NaN: not scored)."""

    facts: pd.DataFrame
    """``pool``, ``pictures`` (above the minimum, test), ``rate``, ``maximum`` (training), a column per observer."""
    ms: dict[str, Float[np.ndarray, " n_neurons"]]


Study = tuple[Neurons, Int[np.ndarray, "n 2"]]
"""Neurons of one training seed, and the pairs of them that the observers see."""


def towers(bench: Workbench) -> dict[str, Workbench]:
    """The profile's tower under no suffix, and its second scoring encoder explained in its turn.

    The latter is scored by the first encoder alone: never by itself.
    """
    first, second = bench.scoring_names[:2]
    models = dict(bench.profile.scoring_towers)
    other = replace(bench.profile, tower=models[second], scoring_towers=((first, models[first]),))
    return {"": bench, f", {second}": Workbench(other)}


def raw_pool(bench: Workbench) -> pd.DataFrame:
    """The tower's own neurons, which every training has in common."""
    train, test = (bench.activations(split, PROJECTION).array().numpy() for split in ("train", "test"))
    return described(bench, "raw", train, test)


def latent_pools(benches: dict[str, Workbench], seed: int) -> tuple[list[pd.DataFrame], list[pd.DataFrame]]:
    """Latents of one training: both kinds of SAE of the first tower, BatchTopK of the second; and random directions.

    For each latent there is a random direction that is active on as many pictures; no two pools have the same ones.
    """
    learned, random = list[pd.DataFrame](), list[pd.DataFrame]()
    for suffix, bench in benches.items():
        train, test = (bench.activations(split, PROJECTION) for split in ("train", "test"))
        kinds = KINDS[:1] if suffix else KINDS
        saes = bench.saes([bench.config(kind, 4, seed=seed) for _, kind in kinds], PROJECTION)
        for (name, _), sae in zip(kinds, saes, strict=True):
            of_pool = 10 * seed + len(learned)
            codes = [sae.encode_sparse(store) for store in (train, test)]
            dealt = [random_directions(store.array().numpy(), code, of_pool)
                     for store, code in zip((train, test), codes, strict=True)]  # fmt: skip
            learned.append(described(bench, name + suffix, *codes))
            random.append(described(bench, name + suffix, *dealt))
    return learned, random


def described(bench: Workbench, pool: str, train: Any, test: Any) -> pd.DataFrame:
    """The facts of a pool's neurons, and a column ``MS, ENCODER`` for each encoder that scores them.

    Neurons without sixteen training pictures, or whose MS is undefined under one of these encoders, are left out.

    Args:
        train, test: (pictures, neurons), what each neuron does on the pictures of the two splits.
    """
    store = bench.activations("train", PROJECTION)
    statistics = NeuronStatistics(train.shape[1], 1, TOP)
    statistics.update(train, np.ones((train.shape[0], 1)), np.asarray(store.image_ids))
    top, truth = statistics.top_images(), known_factors(bench, "train")
    scores = {f"MS, {name}": monosemanticity_score(test, bench.embeddings("test", name).array())
              for name in bench.scoring_names}  # fmt: skip
    frame = pd.DataFrame({
        "pool": pool, "rate": statistics.firing_rate(), "maximum": statistics.maximum,
        "pictures": pictures_above_minimum(test),
        **{name: observe(top, *truth) for name, observe in OBSERVERS.items()}, **scores,
    })  # fmt: skip
    return frame[(top >= 0).all(axis=1) & frame[list(scores)].notna().all(axis=1)]


def together(pools: Sequence[pd.DataFrame], encoders: Sequence[str]) -> Neurons:
    """All pools as one; an encoder's MS is NaN in a pool that it does not score."""
    frame = pd.concat(pools, ignore_index=True)
    columns = {name: f"MS, {name}" for name in encoders}
    return Neurons(
        frame.drop(columns=list(columns.values())), {name: frame[column].to_numpy() for name, column in columns.items()}
    )
