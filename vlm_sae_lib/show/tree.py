"""Latents on the tree of life: the node that each detects best, the tree drawn with them, and depth per level."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from vlm_sae_lib.scores.truth import name_neurons
from vlm_sae_lib.show.scores import draw_estimates
from vlm_sae_lib.show.style import COLOURS
from vlm_sae_lib.statistics.intervals import Estimate
from vlm_sae_lib.taxonomy import RANKS, TaxonPath

FACTOR_COLOURS = {
    "habitat": "#767676", "colour": "#CC79A7", "pattern": "#D55E00",
    **dict(zip(RANKS, sns.color_palette("viridis", len(RANKS)).as_hex(), strict=True)),
}  # fmt: skip
CONTROL_COLOURS = ("#0072B2", "#E69F00", "#CC79A7", "#8C564B", "#767676")
MARKS_IN_A_ROW = 6


def level_colours(n_levels: int) -> list[str]:
    """One colour per Matryoshka level, from the outermost on."""
    return sns.color_palette("plasma", n_levels + 2).as_hex()[1:-1]  # its ends vanish on a dark page or a white one


def best_factors(scores: pd.DataFrame, base_rates: pd.Series) -> pd.DataFrame:
    """For each neuron the factor value that it detects best, by how far its F1 exceeds that of always saying yes.

    F1 alone would name every vague neuron after what most pictures show: always saying yes has an F1 of 2p / (1 + p).

    Args:
        scores: as of `scores.truth.detection_scores`.
        base_rates: share p of the pictures by (factor, value).

    Returns:
        Rows of ``scores`` with columns ``base_rate`` and ``gain``, one per neuron.
    """
    keys = pd.MultiIndex.from_frame(scores[["factor", "value"]])
    p = base_rates.reindex(keys).to_numpy()
    return name_neurons(scores.assign(base_rate=p, gain=scores["best_f1"] - 2 * p / (1 + p)), by="gain")


def base_rates(factors: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """Share of the pictures that show each value of each factor, by (factor, value)."""
    parts = {column: factors[column].astype(str).value_counts(normalize=True) for column in columns}
    return pd.concat(parts, names=["factor", "value"])


def factor_shares(best: pd.DataFrame, levels: np.ndarray, columns: Sequence[str]) -> pd.DataFrame:
    """Per level (row) the share of its named neurons that detect each factor (column) best."""
    table = pd.crosstab(pd.Series(levels[best["neuron"]], name="level"), best["factor"].to_numpy(), normalize="index")
    return table.reindex(columns=list(columns), fill_value=0.0)


def node_depths(best: pd.DataFrame, n_neurons: int) -> np.ndarray:
    """Depth in the tree, 1 to 7, of the node that each neuron detects best; NaN where that is no rank, or unknown."""
    depths = np.full(n_neurons, np.nan)
    on_tree = best[best["factor"].isin(RANKS)]
    depths[on_tree["neuron"]] = [RANKS.index(factor) + 1 for factor in on_tree["factor"]]
    return depths


def factor_bars(shares: pd.DataFrame) -> Figure:
    """Stacked bars: what the latents of each level are about."""
    figure, axis = plt.subplots(figsize=(6.4, 4.6))
    left = np.zeros(len(shares))
    for factor in shares.columns:
        values = 100 * shares[factor].to_numpy()
        axis.barh(np.arange(len(shares)), values, left=left, color=FACTOR_COLOURS[factor], label=factor)
        left += values
    axis.set(xlabel="% of the level's latents", ylabel="level", xlim=(0, 100))
    axis.set_yticks(np.arange(len(shares)), [str(level) for level in shares.index])
    axis.invert_yaxis()
    axis.grid(False)
    figure.legend(*axis.get_legend_handles_labels(), ncols=4, fontsize=9, loc="outside upper center", frameon=False)
    return figure


def depth_per_level(
    depths: Mapping[str, Sequence[Estimate]], paper: Sequence[float], random_pair: float, y_label: str = "LCA depth"
) -> Figure:
    """Mean depth per level with intervals: ours, the controls, the paper's numbers, and random pairs of pictures.

    depths: per kind an estimate per level; a kind that has a colour in the book keeps it, up to five others get one.
    """
    figure, axis = plt.subplots(figsize=(6.4, 4.8))
    colours = iter(CONTROL_COLOURS)
    for shift, (kind, estimates) in enumerate(depths.items()):
        colour = COLOURS[kind] if kind in COLOURS else next(colours)
        draw_estimates(axis, kind, estimates, 0.09 * (shift - (len(depths) - 1) / 2), colour)
    axis.plot(np.arange(len(paper)), paper, color="black", marker="x", ls=":", lw=1.4, label="paper, iNaturalist")
    axis.axhline(random_pair, color="black", ls="--", lw=1.2, label="random pairs of our pictures")
    axis.set(xlabel="Matryoshka level, outermost first", ylabel=y_label, ylim=(0, len(RANKS)))
    axis.set_xticks(np.arange(len(paper)))
    figure.legend(*axis.get_legend_handles_labels(), ncols=2, fontsize=9, loc="outside upper center", frameon=False)
    return figure


def tree_positions(paths: Sequence[TaxonPath]) -> dict[TaxonPath, tuple[float, float]]:
    """(depth, row) of every node, named by its path from the root: leaves in order, parents amid their children."""
    leaves = list(dict.fromkeys(tuple(path) for path in paths))
    rows = {leaf: float(row) for row, leaf in enumerate(leaves)}
    for depth in range(max(map(len, leaves), default=0) - 1, 0, -1):
        children: dict[TaxonPath, list[float]] = {}
        for node, row in rows.items():
            if len(node) == depth + 1:
                children.setdefault(node[:depth], []).append(row)
        rows |= {node: (min(found) + max(found)) / 2 for node, found in children.items()}
    return {node: (float(len(node)), row) for node, row in rows.items()}


def draw_tree(paths: Sequence[TaxonPath], marks: Mapping[TaxonPath, Sequence[int]], n_levels: int) -> Figure:
    """The tree, root on the left, species on the right, each node named, with a square per latent that detects it best.

    Args:
        paths: the species' paths, in the order in which they are to stand; of a large tree shorter ones, down to a
            coarser rank.
        marks: per node (its path from the root) the levels of its latents; of nodes that are not drawn none is shown.
        n_levels: how many levels there are.
    """
    at, colours = tree_positions(paths), level_colours(n_levels)
    n_leaves = len(set(paths))
    deepest = max(len(node) for node in at)
    figure, axis = plt.subplots(figsize=(7.6, 1.2 + 0.16 * n_leaves))
    for node, (x, y) in at.items():
        px, py = at.get(node[:-1], (0.0, (n_leaves - 1) / 2))
        axis.plot([px, px, x], [py, y, y], color="#BBBBBB", lw=1.1, zorder=1)
        axis.plot(x, y, "o", ms=2.5, color="#999999", zorder=2)
        found = sorted(marks.get(node, ()))
        for place, level in enumerate(found):
            along, down = place % MARKS_IN_A_ROW, place // MARKS_IN_A_ROW
            axis.scatter(x + 0.1 + 0.13 * along, y + 0.75 * down, s=26, marker="s", color=colours[level], zorder=3)
        text: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7 if len(node) > 5 else 8, "zorder": 4}
        if len(node) == deepest:
            behind = x + 0.08 + 0.13 * min(len(found), MARKS_IN_A_ROW)
            axis.annotate(node[-1], (behind, y), (2, 0), va="center", **text)
        else:
            axis.annotate(node[-1], (x, y), (-3, 2.5), ha="right", **text)
    for level, colour in enumerate(colours):
        axis.scatter([], [], s=30, marker="s", color=colour, label=f"level {level}")
    axis.set(xlim=(-0.1, len(RANKS) + 1.5), ylim=(n_leaves, -1))
    axis.set_xticks(range(1, len(RANKS) + 1), RANKS, fontsize=9)
    axis.tick_params(labeltop=True, labelbottom=True)
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    axis.grid(False)
    figure.legend(
        *axis.get_legend_handles_labels(), ncols=n_levels, fontsize=9, loc="outside upper center", frameon=False
    )
    return figure
