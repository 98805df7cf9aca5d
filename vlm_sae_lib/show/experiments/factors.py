"""Figures of the factors experiment."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.show.style import COLOURS, LABELS

WHO = {
    "always yes": ("always saying yes", COLOURS["truth"]),
    "raw": (LABELS["raw"], COLOURS["raw"]),
    "rectified": (LABELS["rectified"], COLOURS["rectified"]),
    "PCA": ("principal directions, rectified", "#CC79A7"),
    "best linear direction, told the truth": ("best linear direction (upper bound)", "#8C564B"),
    "batch_top_k ×4": ("BatchTopK SAE ×4", COLOURS["batch_top_k"]),
    "matryoshka_batch_top_k ×4": ("Matryoshka SAE ×4", COLOURS["matryoshka_batch_top_k"]),
}
KINDS = {
    "matryoshka_batch_top_k": ("Matryoshka", COLOURS["matryoshka_batch_top_k"], "o-"),
    "batch_top_k": ("BatchTopK", COLOURS["batch_top_k"], "s-"),
    "random directions": ("random directions", COLOURS["raw"], "^--"),
}


def detection(found: Findings) -> Figure:
    """F1 and AUROC of the best neuron for each factor's values."""
    table = found.frame("detection")
    factors = list(table["factor"].unique())
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 6.4), sharey=True)
    for axis, metric, title in zip(axes, ("f1", "auroc"), ("F1", "AUROC"), strict=True):
        for place, (who, (label, colour)) in enumerate(WHO.items()):
            part = table[(table["metric"] == metric) & (table["who"] == who)].set_index("factor").loc[factors]
            _bars(axis, part, np.arange(len(factors)) + 0.12 * (place - 3), label, colour)
        axis.set(xlabel=f"{title} of the best neuron")
    axes[0].set_yticks(range(len(factors)), factors)
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), ncols=2, fontsize=9, loc="outside upper center", frameon=False)
    return figure


def gains(found: Findings) -> Figure:
    """What the Matryoshka SAE gains over each rival, factor by factor."""
    table = found.frame("gains")
    table = table[table["who"] == "matryoshka_batch_top_k ×4"]
    factors = list(table["factor"].unique())
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 5.6), sharey=True)
    rivals = ("raw", "rectified", "PCA")
    for axis, metric, title in zip(axes, ("f1", "auroc"), ("F1", "AUROC"), strict=True):
        for place, rival in enumerate(rivals):
            part = table[(table["metric"] == metric) & (table["rival"] == rival)].set_index("factor").loc[factors]
            _bars(axis, part, np.arange(len(factors)) + 0.2 * (place - 1), f"over {WHO[rival][0]}", WHO[rival][1])
        axis.axvline(0, color="black", lw=1)
        axis.set(xlabel=f"gain in {title}")
    axes[0].set_yticks(range(len(factors)), factors)
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), ncols=1, fontsize=9, loc="outside upper center", frameon=False)
    return figure


def splitting(found: Findings) -> Figure:
    """Latents of their own per value as the dictionary grows, and how recall is split among them."""
    table = found.frame("splitting")
    groups = ("coarse ranks", "fine ranks")
    figure, axes = plt.subplots(2, 2, figsize=(6.4, 6.2), sharex=True, sharey="row")
    for column, group in enumerate(groups):
        for kind, (label, colour, style) in KINDS.items():
            part = table[(table["group"] == group) & (table["kind"] == kind)]
            _line(axes[0, column], part[part["what"] == "latents"], label, colour, style)
            _line(axes[1, column], part[part["what"] == "recall"], label, colour, style)
            union = part[part["what"] == "union_recall"]
            axes[1, column].plot(union["expansion"], union["value"], color=colour, ls=":", marker="x", ms=5)
        axes[0, column].set_title(group)
        axes[1, column].set(xscale="log", xlabel="expansion factor", ylim=(0, 1))
        axes[1, column].set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"], minor=False)
        axes[1, column].minorticks_off()
    axes[0, 0].set(ylabel="own latents per value")
    axes[1, 0].set(ylabel="recall: largest (line),\nall together (dots)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), ncols=3, fontsize=9, loc="outside upper center")
    return figure


def absorption(found: Findings) -> Figure:
    """How many of a value's pictures are absorbed, and whether misses gather where children have own latents."""
    table = found.frame("absorption")
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.9))
    titles = {
        "absorbed": "absorbed pictures,\nshare of the value's",
        "excess": "misses on children with own\nlatents, beyond chance",
    }
    for axis, (what, title) in zip(axes, titles.items(), strict=True):
        for kind, (label, colour, style) in list(KINDS.items())[:2]:
            _line(axis, table[(table["what"] == what) & (table["kind"] == kind)], label, colour, style)
        axis.axhline(0, color="black", lw=1)
        axis.set(xscale="log", xlabel="expansion factor", ylabel=title)
        axis.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"], minor=False)
        axis.minorticks_off()
    figure.legend(*axes[0].get_legend_handles_labels(), ncols=2, fontsize=9, loc="outside upper center", frameon=False)
    return figure


def _bars(axis, part: pd.DataFrame, places: np.ndarray, label: str, colour: str) -> None:
    part = part.astype({"value": float, "low": float, "high": float})
    axis.hlines(places, part["low"], part["high"], color=colour, lw=2.5)
    axis.plot(part["value"], places, "o", ms=4, color=colour, label=label)


def _line(axis, part: pd.DataFrame, label: str, colour: str, style: str) -> None:
    part = part.sort_values("expansion").astype({"value": float, "low": float, "high": float})
    errors = np.nan_to_num(np.abs(part[["low", "high"]].to_numpy().T - part["value"].to_numpy()))
    axis.errorbar(part["expansion"], part["value"], errors, fmt=style, ms=5, capsize=3, color=colour, label=label)


FIGURES = {"detection": detection, "gains": gains, "splitting": splitting, "absorption": absorption}
