"""Absorption and splitting picture by picture, as `scores.absorption` defines them, so that pictures can be drawn."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from vlm_sae_lib.scorecard.place import Material
from vlm_sae_lib.scores.absorption import PRECISE, absorption
from vlm_sae_lib.scores.detectors import AT_LEAST, truth_table
from vlm_sae_lib.taxonomy import RANKS


class Parts(NamedTuple):
    """Of which pictures what is a part, for each value; and for which values there is anything to say."""

    part: Bool[np.ndarray, "n values"]
    whole: Bool[np.ndarray, "n values"]
    defined: Bool[np.ndarray, " values"]


def absorbed(fires: np.ndarray, final: np.ndarray, on: Material) -> Parts:
    """Pictures of a coarse value on which its latent is silent and the own latent of the picture's species fires.

    Args:
        fires, final: (n, n_latents) which latent fires on which choosing and which final picture.
    """
    told, shown, fine = on.splits.choosing_factors, on.splits.test_factors, RANKS[-1]
    table = absorption(fires, told, final, shown, RANKS[:-1], fine)
    children = on.names[on.names["factor"] == fine]
    own = _precise(fires, truth_table(told, children))
    child = truth_table(shown, children)
    whole, part = truth_table(shown, table), np.zeros((len(shown), len(table)), dtype=bool)
    for value, main in enumerate(table["main"]):
        if main >= 0:
            others = own.copy()
            others[main] = False
            caught = (child & ((final.astype(np.float32) @ others.astype(np.float32)) > 0)).any(axis=1)
            part[:, value] = whole[:, value] & ~final[:, main] & caught
    return Parts(part, whole, table["main"].to_numpy() >= 0)


def split(fires: np.ndarray, final: np.ndarray, on: Material) -> Parts:
    """Pictures of a value that the best of its own latents misses and another one of its own catches."""
    truth, shown = (truth_table(facts, on.names) for facts in (on.splits.choosing_factors, on.splits.test_factors))
    own = _precise(fires, truth)
    hits = fires.T.astype(np.float32) @ truth.astype(np.float32)
    best = np.where(own, hits, -1).argmax(axis=0)
    any_fires = (final.astype(np.float32) @ own.astype(np.float32)) > 0
    return Parts(shown & any_fires & ~final[:, best], shown, np.asarray(own.any(axis=0)))


def _precise(fires: Any, truth: Any) -> Bool[np.ndarray, "n_latents values"]:
    """Which latents are a value's own."""
    hits, said = fires.T.astype(np.float64) @ truth.astype(np.float64), fires.sum(axis=0)[:, None]
    return (hits >= PRECISE * said) & (said >= AT_LEAST)
