"""Figures of the origins experiment."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.show.style import COLOURS

SAE, K_MEANS, RANDOM = "SAE", "k-means", "random directions"
WAYS = {"MS": "one cut, the same L0", "MS at equal rates": "the same firing rates"}
SHADES = {SAE: COLOURS["matryoshka_batch_top_k"], K_MEANS: COLOURS["rectified, cut"], RANDOM: COLOURS["control"]}


def ms(found: Findings) -> Figure:
    """Mean MS of each dictionary by each encoder (column), at the same firing rates and at one L0 (row): all defined
    latents, and those of ten pictures."""
    table = found.frame("ms")
    encoders, ways = list(table["encoder"].unique()), [way for way in reversed(WAYS) if way in set(table["how"])]
    figure, axes = plt.subplots(len(ways), len(encoders), figsize=(6.4, 8.6), sharex="col", squeeze=False)
    for row, way in zip(axes, ways, strict=True):
        who = list(table.loc[table["how"] == way, "who"].unique())
        for axis, encoder in zip(row, encoders, strict=True):
            part = table[(table["how"] == way) & (table["encoder"] == encoder)]
            _dots(axis, part, who)
            axis.set_title(f"{encoder}\n{WAYS[way]}" if way == ways[0] else WAYS[way], fontsize=11)
            axis.set_yticks(range(len(who)), who if axis is row[0] else [""] * len(who), fontsize=9)
            axis.invert_yaxis()
    for axis in axes[-1]:
        axis.set_xlabel("mean MS")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), ncols=2, fontsize=9, loc="outside upper center")
    return figure


def _dots(axis, part, who: list[str]) -> None:
    for at_least, marker, label in ((2, "o", "all defined"), (10, "D", "on at least 10 pictures")):
        rows = part[part["at_least"] == at_least].set_index("who").loc[who]
        places = np.arange(len(who)) + (0.15 if at_least == 10 else -0.15)
        colours = [SHADES[SAE] if name == SAE else COLOURS["raw"] for name in who]
        axis.hlines(places, rows["low"].astype(float), rows["high"].astype(float), color=colours, lw=2.5)
        axis.scatter(rows["value"].astype(float), places, c=colours, marker=marker, s=24, label=label)


def firing(found: Findings) -> Figure:
    """Mean MS over how often a neuron fires, for the autoencoder, k-means and random directions at its rates."""
    table = found.frame("by firing")
    encoders, pictures = list(table["encoder"].unique()), list(table["pictures"].unique())
    figure, axes = plt.subplots(1, len(encoders), figsize=(6.4, 3.6), squeeze=False)
    for axis, encoder in zip(axes[0], encoders, strict=True):
        for who, colour in SHADES.items():
            rows = table[(table["encoder"] == encoder) & (table["who"] == who)].astype(
                {"value": float, "low": float, "high": float}
            )
            axis.fill_between(range(len(rows)), rows["low"], rows["high"], color=colour, alpha=0.2, lw=0)
            axis.plot(range(len(rows)), rows["value"], "o-", color=colour, markersize=4, label=who)
        axis.set_xticks(range(len(pictures)), pictures, rotation=45, ha="right", fontsize=9)
        axis.set(title=encoder, xlabel="pictures on which it fires")
    axes[0, 0].set_ylabel("mean MS")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), ncols=3, fontsize=9, loc="outside upper center")
    return figure


def truth(found: Findings) -> Figure:
    """Mean F1 of the best latent for each factor (column) by dictionary (row)."""
    table = found.frame("f1").astype({"value": float})
    factors, who = list(table["factor"].unique()), list(table["who"].unique())
    grid = table.pivot(index="who", columns="factor", values="value").loc[who, factors]
    figure, axis = plt.subplots(figsize=(6.4, 5.0))
    sns.heatmap(grid, annot=True, fmt=".2f", cmap="viridis", vmin=0, vmax=1, annot_kws={"size": 8}, ax=axis, cbar=False)
    axis.set(xlabel="", ylabel="")
    axis.tick_params(axis="x", rotation=60)
    return figure


FIGURES = {"ms": ms, "firing": firing, "truth": truth}
