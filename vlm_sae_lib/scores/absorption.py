"""Two ways in which a dictionary scatters one concept over several latents, measured by the truth.

*Splitting* (Bricken et al. 2023): a value has several latents of its own, each for a part of its pictures. *Absorption*
(Chanin et al. 2024): a latent for the coarse value stays silent on just those pictures whose finer value has a latent
of its own, which "absorbs" the coarse one. Which latents count is chosen on some pictures, what they do is measured on
others.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from vlm_sae_lib.scores.detectors import AT_LEAST, truth_table
from vlm_sae_lib.scores.truth import one_hot

PRECISE, A_DETECTOR = 0.8, 0.5
"""A latent is a value's own with this precision, and the value's main latent with this F1."""


def value_names(factors: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """All values of some factors: ``factor, value``."""
    pairs = [(column, value) for column in columns for value in one_hot(factors, column)[1]]
    return pd.DataFrame(pairs, columns=["factor", "value"])


def splitting(
    fires: Bool[np.ndarray, "n n_latents"],
    factors: pd.DataFrame,
    test_fires: Bool[np.ndarray, "m n_latents"],
    test_factors: pd.DataFrame,
    columns: Sequence[str],
) -> pd.DataFrame:
    """How many latents of its own each value has, and how its recall is split among them.

    Returns:
        ``factor, value, latents``: how many latents have a precision of `PRECISE` for it, chosen on the first pictures;
        ``recall``: of the one with the largest recall there, and ``union_recall``: of all of them together, both on
        the test pictures; 0 without a latent.
    """
    names = value_names(factors, columns)
    truth, test_truth = truth_table(factors, names), truth_table(test_factors, names)
    hits = _hits(fires, truth)
    precise = _precise(hits, fires)
    rows = []
    for value, own in enumerate(precise.T):
        latents = np.flatnonzero(own)
        shown = test_fires[test_truth[:, value]][:, latents]
        best = int(hits[latents, value].argmax()) if len(latents) else None
        recall = 0.0 if best is None else _mean(shown[:, best])
        rows.append((len(latents), recall, _mean(shown.any(axis=1)) if len(latents) else 0.0))
    return names.assign(**dict(zip(("latents", "recall", "union_recall"), zip(*rows, strict=True), strict=True)))


def absorption(
    fires: Bool[np.ndarray, "n n_latents"],
    factors: pd.DataFrame,
    test_fires: Bool[np.ndarray, "m n_latents"],
    test_factors: pd.DataFrame,
    coarse: Sequence[str],
    fine: str,
) -> pd.DataFrame:
    """For each coarse value with at least two children: where does its main latent miss?

    The main latent is the one whose firing has the best F1 for the value, if that reaches `A_DETECTOR`. A child (a
    value of ``fine`` within it) has its own latent if another latent fires on it with a precision of `PRECISE`.

    Returns:
        ``factor, value, main`` (latent, -1 without one), ``recall`` of the main latent, ``children, with_own``;
        ``absorbed``: the share of the value's pictures on which the main latent is silent and the own latent of the
        picture's child fires; ``concentration``: the share of the main latent's misses that fall on children with an
        own latent, ``by_chance``: the same if the own latents were dealt to other children (``with_own / children``,
        weighted by nothing, as each child is as likely). NaN where there is no main latent, no miss, or where none or
        all children have own latents.
    """
    names, children = value_names(factors, coarse), value_names(factors, [fine])
    truth, child_truth = truth_table(factors, names), truth_table(factors, children)
    test_truth, test_child = truth_table(test_factors, names), truth_table(test_factors, children)
    hits, said = _hits(fires, truth), fires.sum(axis=0)
    f1 = 2 * hits / np.maximum(said[:, None] + truth.sum(axis=0), 1)
    precise = _precise(_hits(fires, child_truth), fires)
    rows = []
    for value in range(len(names)):
        inside = np.flatnonzero(child_truth[truth[:, value]].any(axis=0))
        best = int(f1[:, value].argmax())
        row: dict[str, Any] = {"main": best, "children": len(inside)}
        if len(inside) < 2 or f1[best, value] < A_DETECTOR:
            rows.append(row | {"main": -1})
            continue
        own = precise[:, inside].copy()
        own[best] = False
        shown = test_truth[:, value]
        silent = shown & ~test_fires[:, best]
        absorbed = np.zeros(len(shown), dtype=bool)
        for place, child in enumerate(inside):
            absorbed |= silent & test_child[:, child] & test_fires[:, own[:, place]].any(axis=1)
        has = own.any(axis=0)
        misses = np.array([(silent & test_child[:, child]).sum() for child in inside])
        some = 0 < has.sum() < len(inside) and misses.sum() > 0
        rows.append(row | {
            "with_own": int(has.sum()), "recall": 1 - _mean(silent[shown]), "absorbed": _mean(absorbed[shown]),
            "concentration": misses[has].sum() / misses.sum() if some else np.nan,
            "by_chance": has.mean() if some else np.nan,
        })  # fmt: skip
    columns = ["main", "children", "with_own", "recall", "absorbed", "concentration", "by_chance"]
    return pd.concat([names, pd.DataFrame(rows).reindex(columns=columns)], axis=1)


def _hits(fires: np.ndarray, truth: np.ndarray) -> Float[np.ndarray, "n_latents values"]:
    return fires.T.astype(np.float64) @ truth.astype(np.float64)


def _precise(hits: np.ndarray, fires: np.ndarray) -> Bool[np.ndarray, "n_latents values"]:
    said = fires.sum(axis=0)[:, None]
    return (hits >= PRECISE * said) & (said >= AT_LEAST)


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
