"""Figures of the origins experiment."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.show.style import COLOURS

SAE = "SAE"


def ms(found: Findings) -> Figure:
    """Mean MS of each dictionary at one L0, by each encoder: all defined latents, and those of ten pictures."""
    table = found.frame("ms")
    who, encoders = list(table["who"].unique()), list(table["encoder"].unique())
    figure, axes = plt.subplots(1, len(encoders), figsize=(6.4, 4.8), sharey=True, squeeze=False)
    for axis, encoder in zip(axes[0], encoders, strict=True):
        for at_least, marker, label in ((2, "o", "all defined"), (10, "D", "on at least 10 pictures")):
            part = table[(table["encoder"] == encoder) & (table["at_least"] == at_least)].set_index("who").loc[who]
            places = np.arange(len(who)) + (0.15 if at_least == 10 else -0.15)
            colours = [COLOURS["matryoshka_batch_top_k"] if name == SAE else COLOURS["raw"] for name in who]
            axis.hlines(places, part["low"].astype(float), part["high"].astype(float), color=colours, lw=2.5)
            axis.scatter(part["value"].astype(float), places, c=colours, marker=marker, s=30, label=label)
        axis.set_title(encoder)
        axis.set(xlabel="mean MS")
    axes[0, 0].set_yticks(range(len(who)), who)
    axes[0, 0].invert_yaxis()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), ncols=2, fontsize=9, loc="outside upper center")
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


FIGURES = {"ms": ms, "truth": truth}
