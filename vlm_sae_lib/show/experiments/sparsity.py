"""Figures of the sparsity experiment."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.show.style import COLOURS

POPULATIONS = {"all defined neurons": "", "active on at least 10 pictures": ENOUGH}
SHOWN = {
    "Matryoshka": ("Matryoshka SAE, ε = 1", "matryoshka_batch_top_k"),
    "random directions": ("random directions, as rare", "control"),
    "rectified, cut": ("raw neurons, rectified and cut", "rectified, cut"),
    "a frozen decoder": ("Matryoshka SAE, decoder frozen", "frozen decoder"),
}
KINDS = {"Matryoshka": ("Matryoshka, ε = 1", "matryoshka_batch_top_k", "o"),
         "BatchTopK": ("BatchTopK, ε = 1", "batch_top_k", "s"),
         "Matryoshka ×4": ("Matryoshka, ε = 4", "truth", "*")}  # fmt: skip


def by_k(found: Findings) -> Figure:
    """Mean MS against K: all defined neurons above, those of at least ten pictures below."""
    table = found.frame("spread")
    table = table[table["encoder"] == table["encoder"].iloc[0]]
    figure, axes = plt.subplots(2, 1, figsize=(6.4, 7), sharex=True)
    for axis, (title, suffix) in zip(axes, POPULATIONS.items(), strict=True):
        for what, (label, colour) in SHOWN.items():
            rows = table[(table["what"] == what) & table[f"mean{suffix}"].notna()]
            axis.errorbar(rows["k"], rows[f"mean{suffix}"], yerr=_reach(rows, suffix), marker="o", capsize=3,
                          color=COLOURS[colour], label=label)  # fmt: skip
        axis.set(xscale="log", ylabel="mean MS", title=title)
    axes[1].set_xlabel("K")
    axes[1].set_xticks(sorted(table["k"].unique()), [f"{k:g}" for k in sorted(table["k"].unique())])
    axes[1].minorticks_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", fontsize=10, frameon=False)
    return figure


def by_r2(found: Findings) -> Figure:
    """Mean MS against R², what a gain in one costs in the other: all defined neurons above, fewer below."""
    figure, axes = plt.subplots(2, 1, figsize=(6.4, 7.4), sharex=True)
    table = found.frame("by R²")
    for axis, (title, suffix) in zip(axes, POPULATIONS.items(), strict=True):
        for what, (label, colour, marker) in KINDS.items():
            rows = table[(table["what"] == what) & table[f"mean{suffix}"].notna()].sort_values("r2")
            axis.errorbar(rows["r2"], rows[f"mean{suffix}"], yerr=_reach(rows, suffix), marker=marker, capsize=3,
                          label=label, color=COLOURS[colour], markersize=12 if marker == "*" else 6)  # fmt: skip
            for k, x, y in zip(rows["k"], rows["r2"], rows[f"high{suffix}"].fillna(rows[f"mean{suffix}"]), strict=True):
                axis.annotate(f"K={k:g}", (x, y), xytext=(2, 4), textcoords="offset points", fontsize=8)
        axis.set(ylabel="mean MS", title=title)
    axes[1].set_xlabel("R²")
    axes[0].legend(fontsize=10)
    return figure


def _reach(rows: pd.DataFrame, suffix: str) -> np.ndarray:
    mean, low, high = (rows[f"{name}{suffix}"] for name in ("mean", "low", "high"))
    return np.nan_to_num(np.stack([mean - low, high - mean]).astype(float)).clip(0)


FIGURES = {"by_k": by_k, "by_r2": by_r2}
