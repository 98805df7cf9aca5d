"""The kinds of dictionary that `recovery` compares, the two truths that they are held against, and the upper bound."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from vlm_sae_lib.controls.probes import LinearProbes
from vlm_sae_lib.controls.reconstruction import cut_at_l0, untrained_sae
from vlm_sae_lib.experiments.factors import FACTORS, Splits
from vlm_sae_lib.experiments.measure import SEEDS
from vlm_sae_lib.experiments.rivals import EXPANSION, FROZEN, KIND, UNTRAINED
from vlm_sae_lib.experiments.synthetic import World
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.sae.training import train_saes
from vlm_sae_lib.scores.absorption import value_names
from vlm_sae_lib.scores.detectors import truth_table
from vlm_sae_lib.scores.matching import Recovered, of_directions, of_values
from vlm_sae_lib.scores.reconstruction import Reconstruction, reconstruction
from vlm_sae_lib.workbench import Workbench

RELU = "ReLU, cut"
LEARNS_ALL = "Matryoshka"
"""What the autoencoders with a frozen part are otherwise."""
WHOLE: dict[str, dict[str, Any]] = {
    LEARNS_ALL: {"kind": KIND},
    "BatchTopK": {"kind": "batch_top_k"},
    "TopK": {"kind": "top_k"},
    "JumpReLU": {"kind": "jump_relu"},
    RELU: {"kind": "relu"},
}
KINDS = WHOLE | {who: {"kind": KIND, "frozen": part} for who, part in FROZEN.items()}
DIRECTIONS, FIRING, PICTURES = "synthetic, by direction", "synthetic, by firing", "pictures, by firing"
"""Two ways to match latents with the features of synthetic activations, and the one there is for pictures."""
BOUND = "best linear direction, told the truth"
SPLITS = ("train", "choosing", "test")


@dataclass(frozen=True, eq=False)
class Known:
    """Activations of three splits, and what is known of every row.

    Attributes:
        way: what recovery by firing is called here.
        rows, truth: by split.
        directions: that the activations are sums of; None where nobody knows them.
    """

    way: str
    rows: Mapping[str, Float[np.ndarray, "n d"]]
    truth: Mapping[str, Bool[np.ndarray, "n known"]]
    directions: Float[np.ndarray, "known d"] | None = None


@dataclass(frozen=True)
class Measured:
    """One dictionary against one truth: what it recovers by each way of matching, and how it rebuilds test rows."""

    recovered: Mapping[str, Recovered]
    rebuilt: Reconstruction


def known_values(splits: Splits) -> Known:
    """The factor values of the pictures; of several that are true of the same training pictures the first."""
    factors = {split: getattr(splits, f"{split}_factors") for split in SPLITS}
    names = value_names(splits.train_factors, FACTORS)
    _, first = np.unique(truth_table(splits.train_factors, names), axis=1, return_index=True)
    distinct = names.iloc[np.sort(first)].reset_index(drop=True)
    truth = {split: truth_table(table, distinct) for split, table in factors.items()}
    return Known(PICTURES, {split: getattr(splits, split) for split in SPLITS}, truth)


def known_directions(like: Mapping[str, Float[np.ndarray, "n d"]], seed: int) -> Known:
    """The features of a synthetic world; its splits are as large, and its activations as wide, as those of ``like``."""
    world = World.draw(like["train"], seed)
    samples = {split: world.sample(len(like[split]), part) for part, split in enumerate(SPLITS, start=1)}
    rows, truth = ({split: getattr(one, what) for split, one in samples.items()} for what in ("activations", "fires"))
    return Known(FIRING, rows, truth, world.directions)


def on_pictures(bench: Workbench, known: Known) -> dict[str, list[SparseAutoencoder]]:
    """Every kind at the main hook point, one for each seed."""
    wanted = [(settings, seed) for settings in KINDS.values() for seed in SEEDS]
    configs = [bench.config(**settings, expansion=EXPANSION, seed=seed) for settings, seed in wanted]
    trained = iter(bench.saes(configs, bench.profile.main_hook_point))
    several = {kind: [next(trained) for _ in SEEDS] for kind in KINDS}
    return _finished(several, known.rows["train"], bench.profile.k, SEEDS)


def on_synthetic(bench: Workbench, known: Known, seed: int) -> dict[str, SparseAutoencoder]:
    """Every kind, trained on the activations of one world."""
    rows = known.rows["train"].astype(np.float32)
    configs = [bench.config(**settings, expansion=EXPANSION, seed=seed) for settings in KINDS.values()]
    several = {kind: [sae] for kind, sae in zip(KINDS, train_saes(rows, configs), strict=True)}
    return {kind: sae for kind, (sae,) in _finished(several, rows, bench.profile.k, (seed,)).items()}


def measure(sae: SparseAutoencoder, known: Known) -> Measured:
    """What an autoencoder recovers of a truth: matched on the choosing rows, all scored on the test rows."""
    choosing, test = (sae.encode_sparse(known.rows[split].astype(np.float32)) for split in SPLITS[1:])
    recovered = {known.way: of_values(choosing, known.truth["choosing"], test, known.truth["test"])}
    if known.directions is not None:
        recovered[DIRECTIONS] = of_directions(sae.w_dec.numpy(), known.directions, test, known.truth["test"])
    return Measured(recovered, reconstruction(sae, known.rows["test"].astype(np.float32)))


def bound(known: Known) -> Recovered:
    """What linear directions recover that were fitted to the truth of the training rows, one for each value.

    Each fires on as large a share of the choosing rows as its value is true of there.
    """
    probes = LinearProbes.fit(known.rows["train"], known.truth["train"])
    choosing, test = (probes.encode_sparse(known.rows[split]).toarray() for split in SPLITS[1:])
    rates = known.truth["choosing"].mean(axis=0)
    bars = np.array([np.quantile(column, 1 - rate) for column, rate in zip(choosing.T, rates, strict=True)])
    gated = (np.where(reading > np.maximum(bars, 0), reading, 0) for reading in (choosing, test))
    return of_values(next(gated), known.truth["choosing"], next(gated), known.truth["test"])


def cut(sae: SparseAutoencoder, train: np.ndarray, l0: float) -> SparseAutoencoder:
    """An autoencoder without a threshold, given one: where ``l0`` latents fire per training row, on average.

    What a penalty on the L1 norm leaves active depends on the activations, so that a ReLU comes to the L0 of the others
    only so. It stays below where fewer fire without a threshold.
    """
    with torch.inference_mode():
        positive = torch.relu(sae.pre_activations(torch.as_tensor(train, dtype=torch.float32))).numpy()
    threshold = torch.tensor(cut_at_l0(positive, l0), dtype=torch.float32)
    return replace(sae, kind="batch_top_k", k=max(1, round(l0)), threshold=threshold)


def _finished(
    several: Mapping[str, Sequence[SparseAutoencoder]], train: np.ndarray, l0: float, seeds: Sequence[int]
) -> dict[str, list[SparseAutoencoder]]:
    """ReLU cut to the L0 of the others, and an untrained autoencoder of that L0 for each seed."""
    finished = {kind: [cut(sae, train, l0) for sae in saes] if kind == RELU else list(saes)
                for kind, saes in several.items()}  # fmt: skip
    width = finished[RELU][0].n_latents
    return finished | {UNTRAINED: [untrained_sae(train, width, l0, seed=seed) for seed in seeds]}
