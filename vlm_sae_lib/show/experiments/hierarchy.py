"""Figures of the hierarchy experiment."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.show.style import COLOURS

LADDERS = {
    "mean": ("Matryoshka levels", COLOURS["matryoshka_batch_top_k"], "-"),
    "BatchTopK, sorted by frequency": ("BatchTopK, sorted by frequency", COLOURS["batch_top_k"], "-"),
    "BatchTopK, frequency-matched": ("BatchTopK, frequency-matched", "#56B4E9", "-"),
    "levels dealt at random": ("levels dealt at random", COLOURS["control"], "--"),
    "shuffled taxonomy": ("shuffled taxonomy", COLOURS["rectified"], "--"),
}


def depth(found: Findings) -> Figure:
    """Depth per level beside its controls, the paper's values and chance."""
    figure, axis = plt.subplots(figsize=(6.4, 5.2))
    table = found.frame("depths")
    for place, (who, (label, colour, line)) in enumerate(LADDERS.items()):
        _ladder(axis, table[table["who"] == who], label, colour, line, 0.06 * (place - 2))
    theirs = [row["paper_value"] for name, row in found.results.items() if name.startswith("depth/rounded_mean/level")]
    axis.plot(range(len(theirs)), theirs, "k:", marker="x", label="the paper, on iNaturalist")
    axis.axhline(found.value("depth of random pairs"), color="black", lw=1, ls="--", label="random pairs, here")
    axis.set(xlabel="Matryoshka level", ylabel="LCA depth of the top-16 pictures", ylim=(0, 7.1))
    axis.set_xticks(range(len(theirs)))
    figure.legend(*axis.get_legend_handles_labels(), ncols=2, fontsize=9, loc="outside upper center", frameon=False)
    return figure


def slopes(found: Findings) -> Figure:
    """The rise per level of every reading, and what is left of it beyond rarity."""
    rows = {
        "training pictures, rounded mean": "slope/train/rounded_mean",
        "training pictures, mean": "slope/train/mean",
        "training pictures, mode": "slope/train/mode",
        "test pictures, mean": "slope/test/mean",
        "BatchTopK sorted by frequency": "slope/train/mean/BatchTopK, sorted by frequency",
        "levels dealt at random": "slope/train/mean/levels dealt at random",
        "beyond the sorted BatchTopK": "slope/train/mean/beyond frequency",
        "beyond partners of equal frequency": "effect/slope beyond latents that fire as often",
    }
    figure, axis = plt.subplots(figsize=(6.4, 4.2))
    for place, (label, name) in enumerate(rows.items()):
        row = found.results[name]
        own = COLOURS["matryoshka_batch_top_k"] if "BatchTopK" not in label and "dealt" not in label else "#767676"
        colour = COLOURS["rectified, cut"] if label.startswith("beyond") else own
        axis.plot([row["ci_low"], row["ci_high"]], [place, place], color=colour, lw=3)
        axis.plot(row["value"], place, "o", color=colour)
    axis.axvline(0, color="black", lw=1)
    axis.set_yticks(range(len(rows)), rows)
    axis.invert_yaxis()
    axis.set(xlabel="rise of the depth, ranks per level")
    return figure


def ms(found: Findings) -> Figure:
    """MS per level by each scoring encoder, and of frequency groups of a plain autoencoder."""
    table = found.frame("ms")
    encoders = table["encoder"].unique()
    figure, axes = plt.subplots(1, len(encoders), figsize=(6.4, 3.9), squeeze=False)
    for axis, encoder in zip(axes[0], encoders, strict=True):
        for who, label, kind in (
            ("levels", "Matryoshka levels", "matryoshka_batch_top_k"),
            ("frequency", "BatchTopK, sorted by frequency", "batch_top_k"),
        ):
            part = table[(table["who"] == who) & (table["encoder"] == encoder)]
            _ladder(axis, part, label, COLOURS[kind], "-", 0.0)
        axis.set_title(f"{encoder} encoder")
        axis.set(xlabel="level", ylabel="mean MS" if axis is axes[0, 0] else "")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), ncols=2, fontsize=9, loc="outside upper center")
    return figure


def _ladder(axis: Axes, part: pd.DataFrame, label: str, colour: str, line: str, shift: float) -> None:
    part = part.sort_values("level").astype({"value": float, "low": float, "high": float})
    errors = np.nan_to_num(np.abs(part[["low", "high"]].to_numpy().T - part["value"].to_numpy()))
    axis.errorbar(part["level"] + shift, part["value"], errors, marker="o", ms=5, capsize=3, ls=line, color=colour,
                  label=label)  # fmt: skip


FIGURES = {"depth": depth, "slopes": slopes, "ms": ms}
