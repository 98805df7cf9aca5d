"""Whom an SAE is held against on its card: as many latents, as many active, trained or drawn at the same place."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from vlm_sae_lib.controls import directions
from vlm_sae_lib.controls.directions import Directions
from vlm_sae_lib.controls.rectify import RectifiedNeurons
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.rivals import FROZEN, K_MEANS, KIND, RANDOM, RAW
from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.scorecard.place import Material
from vlm_sae_lib.workbench import Workbench

WHAT = {
    **{who: "a Matryoshka SAE of which a part stays at its random start (arXiv 2602.14111)" for who in FROZEN},
    RANDOM: "directions that nobody learned, cut to the same L0",
    RAW: "both sides of each of the tower's own neurons, cut to the same L0; twice as many as dimensions, not more",
    K_MEANS: "from the mean to each of as many centres, cut to the same L0",
}


def rivals(
    bench: Workbench, on: Material, n_latents: int, l0: float, seed: int = 0
) -> tuple[dict[str, Any], list[str]]:
    """The rivals by name, and a sentence on each that cannot be had.

    Args:
        l0: active latents of a training activation, above 0. What is trained has the nearest whole number as its K.
        seed: another one gives another training or draw of each; raw neurons have none.
    """
    train, width = on.splits.train, on.splits.train.shape[1]
    found: dict[str, Any] = {}
    missing: list[str] = []
    configs = [config(bench, n_latents, width, l0, frozen=part, seed=seed) for part in FROZEN.values()]
    found |= dict(zip(FROZEN, bench.saes(configs, on.place.hook_point, on.place.tokens), strict=True))
    for who, make in drawn(train, n_latents, l0, seed).items():
        try:
            found[who] = make()
        except (UserError, ValueError) as reason:  # scikit-learn's k-means of more centres than rows
            missing.append(f"There is no rival {who!r}: {reason}")
    return found, missing


def drawn(
    train: Float[np.ndarray, "rows d"], n_latents: int, l0: float, seed: int
) -> dict[str, Callable[[], Directions | RectifiedNeurons]]:
    """The rivals that no SAE training has made, each when it is called."""
    return {
        RANDOM: lambda: directions.random(train, n_latents, seed=seed).cut(train, l0),
        RAW: lambda: RectifiedNeurons.fit(train, l0),
        K_MEANS: lambda: directions.clusters(train, n_latents, seed=seed).cut(train, l0),
    }


def config(bench: Workbench, n_latents: int, width: int, l0: float, **settings: Any) -> SaeConfig:
    """Settings of a Matryoshka SAE of just so many latents, as many active as near to ``l0`` as a whole number is."""
    expansion = n_latents / width
    if int(expansion * width) != n_latents:  # rounding must not cost a latent
        expansion = (n_latents + 0.5) / width
    return bench.config(KIND, expansion, k=min(n_latents, max(1, round(l0))), **settings)
