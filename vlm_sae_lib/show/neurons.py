"""The pictures that single neurons respond to most: sixteen each, with the neuron's value beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scipy.sparse as sp
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from PIL import Image

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.show.presenting import present
from vlm_sae_lib.show.tiles import draw_picture

COLUMNS = 8


@dataclass(frozen=True)
class Strip:
    """A neuron to show: its heading (with the value) and the ids of its pictures, most active first."""

    heading: str
    image_ids: Sequence[int]


def at_percentiles(
    values: Float[np.ndarray, " n_neurons"], percentiles: Sequence[float], kept: np.ndarray | None = None
) -> Int[np.ndarray, " n_percentiles"]:
    """The neurons that stand at these percentiles of a score: of the defined ones, the one of that rank.

    Args:
        values: NaN where undefined.
        percentiles: 0 to 100; 100 is the largest value.
        kept: which neurons may be chosen; all defined ones by default.

    Raises:
        UserError: no neuron to choose from.
    """
    values = np.asarray(values, dtype=np.float64)
    there = ~np.isnan(values) if kept is None else ~np.isnan(values) & np.asarray(kept, dtype=bool)
    neurons = np.flatnonzero(there)
    if len(neurons) == 0:
        raise UserError("No neuron has a score to choose by; ask for fewer active pictures.")
    ranked = neurons[np.argsort(values[neurons], kind="stable")]
    places = np.rint(np.asarray(percentiles, dtype=np.float64) / 100 * (len(ranked) - 1)).astype(int)
    return ranked[places]


def drawn_by_activation(
    activations: Any, neurons: Sequence[int], image_ids: Int[np.ndarray, " n"], number: int = 16, seed: int = 0
) -> Int[np.ndarray, "f number"]:
    """Pictures drawn without replacement, each with a chance in proportion to the neuron's activation on it.

    What MS weighs, where the strongest pictures are only its extremes.

    Args:
        activations: (n, n_neurons), dense or sparse, none below 0 for the neurons asked for.
        image_ids: the picture of each row.

    Returns:
        Ids, most active first, -1 where the neuron fires on fewer.
    """
    rng = np.random.default_rng(seed)
    drawn = np.full((len(neurons), number), -1)
    for row, neuron in enumerate(neurons):
        values = np.asarray(
            activations[:, [neuron]].todense() if sp.issparse(activations) else activations[:, [neuron]]
        )
        values = values.ravel().astype(np.float64)
        fires = int(np.count_nonzero(values))
        chosen = rng.choice(len(values), min(number, fires), replace=False, p=values / values.sum())
        drawn[row, : len(chosen)] = np.asarray(image_ids)[chosen[np.argsort(-values[chosen], kind="stable")]]
    return drawn


def pictures_by_id(source: Any, strips: Sequence[Strip]) -> dict[int, Image.Image]:
    """The pictures that some strips need, by id, from any picture source."""
    wanted = sorted({int(i) for strip in strips for i in strip.image_ids if i >= 0})
    return dict(source.subset(wanted))


def neuron_strips(strips: Sequence[Strip], pictures: Mapping[int, Image.Image], columns: int = COLUMNS) -> Figure:
    """Each neuron's pictures, most active first, in rows of ``columns`` under its heading; a missing one is blank."""
    rows = [max(1, -(-len(strip.image_ids) // columns)) for strip in strips]
    figure = plt.figure(figsize=(6.4, sum(rows) * 6.4 / columns + 0.36 * len(strips)), layout="constrained")
    for panel, strip, high in zip(_panels(figure, rows), strips, rows, strict=True):
        panel.suptitle(strip.heading, x=0.005, ha="left", fontsize=11, fontweight="bold")
        axes = panel.subplots(high, columns, squeeze=False, gridspec_kw={"wspace": 0.02, "hspace": 0.02})
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, image_id in zip(axes.flat, strip.image_ids, strict=False):
            if image_id >= 0:
                draw_picture(axis, pictures[int(image_id)], 6.4 / columns, interpolation="none")
    return figure


def _panels(figure: Figure, rows: Sequence[int]) -> list[Any]:
    if not rows:
        raise UserError("There is no neuron to show.")
    heights = [high + 0.36 * COLUMNS / 6.4 for high in rows]
    return figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0].tolist()


def show_strips(strips: Sequence[Strip], source: Any, title: str) -> None:
    """Draw strips with pictures from a source, and present them; their data are the pictures' ids."""
    present(neuron_strips(strips, pictures_by_id(source, strips)), title, data=strip_table(strips))


def strip_table(strips: Sequence[Strip]) -> pd.DataFrame:
    """A row per picture: whose it is, its rank there, and its id."""
    rows = [
        (strip.heading, rank, int(image_id))
        for strip in strips
        for rank, image_id in enumerate(strip.image_ids, 1)
        if image_id >= 0
    ]
    return pd.DataFrame(rows, columns=["neuron", "rank", "picture"])
