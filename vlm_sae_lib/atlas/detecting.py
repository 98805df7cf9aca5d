"""What each latent detects best, against the known truth: at its best threshold, with precision and recall there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from vlm_sae_lib.atlas.known import Factor

ROUNDING = 1e-9
"""A gain below is one of the arithmetic."""


@dataclass(frozen=True, eq=False)
class Detected:
    """Pairs of a latent and a value, by latent and, of one latent, the best first.

    Attributes:
        latent, factor, value: numbers of the latent, of the factor and of the factor's value.
        threshold: the activation from which on the latent says yes; there its F1 for the value is largest.
        precision, recall, f1: with that threshold.
        gain: by how much F1 exceeds that of always saying yes, 2p / (1 + p) with p the value's share of the pictures;
            F1 alone would name every vague latent after what most pictures show.
    """

    latent: Int[np.ndarray, " m"]
    factor: Int[np.ndarray, " m"]
    value: Int[np.ndarray, " m"]
    threshold: Float[np.ndarray, " m"]
    precision: Float[np.ndarray, " m"]
    recall: Float[np.ndarray, " m"]
    f1: Float[np.ndarray, " m"]
    gain: Float[np.ndarray, " m"]

    def take(self, kept: np.ndarray) -> "Detected":
        """The pairs at these places, or where this is true."""
        return Detected(*(getattr(self, name)[kept] for name in self.__dataclass_fields__))

    def first(self, n_latents: int) -> Int[np.ndarray, " n_latents"]:
        """The place of each latent's best pair; -1 where it has none."""
        places = np.full(n_latents, -1)
        places[self.latent[::-1]] = np.arange(len(self.latent))[::-1]
        return places


def detected(activations: sp.csr_matrix, factors: Sequence[Factor], at_most: int) -> Detected:
    """Of each latent the values that it detects best, those alone that it detects better than always saying yes would.

    Equal gains go to the factor that comes first, then to the value that does.

    Args:
        activations: (n, n_latents), none below zero; rows as the factors have them.
        at_most: so many for each latent.
    """
    ranked = _ranked(activations)
    parts = [best(_one_factor(ranked, factor, number, activations.shape[0]), at_most)
             for number, factor in enumerate(factors)]  # fmt: skip
    empty = (np.empty(0, dtype=np.int64),) * 3 + (np.empty(0),) * 5
    joined = [np.concatenate(columns) for columns in zip(empty, *(_columns(part) for part in parts), strict=True)]
    return best(Detected(*joined), at_most)


def best(found: Detected, at_most: int) -> Detected:
    """The pairs in order, at most so many of each latent."""
    order = np.lexsort((found.value, found.factor, -found.gain, found.latent))
    ordered = found.take(order)
    return ordered.take(_places_in_runs(ordered.latent) < at_most)


@dataclass(frozen=True, eq=False)
class _Ranked:
    """All active pairs, each latent's from its strongest picture down.

    ``said`` is on how many pictures the latent is at least as active: equal activations stop together.
    """

    latent: Int[np.ndarray, " m"]
    picture: Int[np.ndarray, " m"]
    value: Float[np.ndarray, " m"]
    said: Int[np.ndarray, " m"]


def _ranked(activations: sp.csr_matrix) -> _Ranked:
    pairs = activations.tocoo()
    kept = pairs.data > 0
    latent, picture, value = pairs.col[kept].astype(np.int64), pairs.row[kept], pairs.data[kept].astype(np.float64)
    order = np.lexsort((picture, -value, latent))
    latent, picture, value = latent[order], picture[order], value[order]
    place = _places_in_runs(latent) + 1
    ends = np.ones(len(latent), dtype=bool)
    ends[:-1] = (latent[1:] != latent[:-1]) | (value[1:] != value[:-1])
    stops = np.flatnonzero(ends)
    return _Ranked(latent, picture, value, place[stops][np.searchsorted(stops, np.arange(len(latent)))])


def _one_factor(ranked: _Ranked, factor: Factor, number: int, n: int) -> Detected:
    """F1 can only be largest where a picture with the value is reached, so that no other stop is tried."""
    code = factor.codes[ranked.picture]
    hits = np.flatnonzero(code >= 0)
    key = ranked.latent[hits] * max(len(factor.values), 1) + code[hits]
    order = np.argsort(key, kind="stable")
    hits, key = hits[order], key[order]
    reached = _places_in_runs(key) + 1
    positives = factor.counts[code[hits]]
    f1 = 2 * reached / (ranked.said[hits] + positives)
    first = np.flatnonzero(np.append(True, key[1:] != key[:-1])) if len(key) else np.empty(0, dtype=np.int64)
    largest = np.repeat(np.maximum.reduceat(f1, first), np.diff(np.append(first, len(key)))) if len(key) else f1
    at = np.flatnonzero(f1 == largest)
    at = at[np.append(True, key[at][1:] != key[at][:-1])] if len(at) else at
    where, p = hits[at], positives[at] / n
    found = Detected(
        latent=ranked.latent[where], factor=np.full(len(at), number), value=code[where], threshold=ranked.value[where],
        precision=reached[at] / ranked.said[where], recall=reached[at] / positives[at], f1=f1[at],
        gain=f1[at] - 2 * p / (1 + p),
    )  # fmt: skip
    return found.take(found.gain > ROUNDING)


def _places_in_runs(sorted_keys: np.ndarray) -> Int[np.ndarray, " m"]:
    """0, 1, 2 … within each run of equal keys."""
    if not len(sorted_keys):
        return np.empty(0, dtype=np.int64)
    starts = np.flatnonzero(np.append(True, sorted_keys[1:] != sorted_keys[:-1]))
    return np.arange(len(sorted_keys)) - np.repeat(starts, np.diff(np.append(starts, len(sorted_keys))))


def _columns(found: Detected) -> list[np.ndarray]:
    return [getattr(found, name) for name in found.__dataclass_fields__]
