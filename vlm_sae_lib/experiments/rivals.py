"""Whom the autoencoder is held against: autoencoders that learned less of it, and directions that need none."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from vlm_sae_lib.controls import directions
from vlm_sae_lib.controls.reconstruction import untrained_sae
from vlm_sae_lib.controls.rectify import RectifiedNeurons
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.factors import Splits, load_splits
from vlm_sae_lib.workbench import Workbench

KIND, EXPANSION = "matryoshka_batch_top_k", 4
SAE, SHIPPED = "SAE", "shipped SAE"
TWIN, UNTRAINED = "an autoencoder on an untrained tower", "an untrained autoencoder"
FROZEN = {"a frozen decoder": "decoder", "a soft-frozen decoder": "soft_decoder", "a frozen encoder": "encoder"}
"""What stays at its random start while all else learns (arXiv 2602.14111), as `SaeConfig` names it."""
PCA, ICA, K_MEANS = "principal components", "independent components", "k-means"
RANDOM, RAW = "random directions", "rectified raw neurons"
WHITE = "principal components of unit variance"
DECIDING = (TWIN, UNTRAINED, "a frozen decoder", PCA, ICA, K_MEANS)
"""Those that book/analysis_plan.md names; the claim rests on them."""
BESIDE = ("a soft-frozen decoder", "a frozen encoder", RANDOM, RAW)
RIVALS = (*DECIDING, *BESIDE)
AT_ONE_CUT = (*RIVALS, WHITE)
"""Scaling a direction changes which values one cut for all leaves; at given firing rates it changes next to nothing."""


class Fitted(NamedTuple):
    """A dictionary, and the activations that it reads."""

    coder: Any
    splits: Splits


def dictionaries(bench: Workbench, splits: Splits, seeds: Sequence[int]) -> dict[str, list[Fitted]]:
    """The SAE and every rival, one for each seed, or one alone where there is no chance in it.

    All are as sparse on train as the SAEs on average: directions are cut there, and what is trained has the same K.
    """
    place, train = bench.profile.main_hook_point, splits.train

    def trained(**settings: Any) -> list[Any]:
        return bench.saes([bench.config(KIND, EXPANSION, seed=seed, **settings) for seed in seeds], place)

    saes = trained()
    l0 = np.mean([sae.encode_sparse(train.astype(np.float32)).nnz / len(train) for sae in saes])
    n = saes[0].n_latents
    coders = {
        SAE: saes,
        UNTRAINED: [untrained_sae(train, n, l0, seed=seed) for seed in seeds],
        **{who: trained(frozen=part) for who, part in FROZEN.items()},
        PCA: [directions.principal(train).cut(train, l0)],
        WHITE: [directions.principal(train, whiten=True).cut(train, l0)],
        ICA: [directions.independent(train, seed=seed).cut(train, l0) for seed in seeds],
        K_MEANS: [directions.clusters(train, n, seed=seed).cut(train, l0) for seed in seeds],
        RANDOM: [directions.random(train, n, seed=seed).cut(train, l0) for seed in seeds],
        RAW: [RectifiedNeurons.fit(train, l0)],
        SHIPPED: [bench.shown("main_matryoshka")],
    }
    fitted = {who: [Fitted(coder, splits) for coder in several] for who, several in coders.items()}
    fitted[TWIN] = [on_untrained_tower(bench, seed) for seed in seeds]
    return {who: fitted[who] for who in (SAE, *AT_ONE_CUT, SHIPPED)}


def on_untrained_tower(bench: Workbench, seed: int) -> Fitted:
    """An SAE of the same settings, trained on the activations of the same tower before any training.

    Raises:
        UserError: a tower whose untrained twin we cannot build.
    """
    tower = bench.profile.tower
    if tower != bench.profile.island:
        raise UserError("An untrained twin is known of the pocket tower only; run this with the profile pocket.")
    twin = Workbench(replace(bench.profile, tower=f"{tower}:random:{seed}"))
    sae = twin.sae(twin.config(KIND, EXPANSION, seed=seed), twin.profile.main_hook_point)
    return Fitted(sae, load_splits(twin))
