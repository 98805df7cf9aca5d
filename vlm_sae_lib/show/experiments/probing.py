"""Figures of the probing experiment."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vlm_sae_lib.controls.disentangling import CAUSE, ISOLATION
from vlm_sae_lib.experiments.editing import DIRECTION, EDITED, INSTEAD
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.probing import (
    BATCH_TOP_K,
    BOUND,
    CUT,
    FROZEN,
    K_MEANS,
    LATENTS,
    MATRYOSHKA,
    METRICS,
    PCA,
    RANDOM,
    RAW,
)
from vlm_sae_lib.experiments.shortcuts import APART, TOGETHER
from vlm_sae_lib.show.style import COLOURS

SHADES = {
    MATRYOSHKA: (COLOURS["matryoshka_batch_top_k"], "o-"), BATCH_TOP_K: (COLOURS["batch_top_k"], "s-"),
    FROZEN: (COLOURS["frozen decoder"], "D-"), RAW: (COLOURS["raw"], "^--"), PCA: (COLOURS["control"], "v--"),
    K_MEANS: (COLOURS["rectified"], "<--"), K_MEANS + CUT: (COLOURS["rectified, cut"], "<:"),
    RANDOM: ("#B0B0B0", ">--"), RANDOM + CUT: ("#B0B0B0", ">:"),
}  # fmt: skip
KINDS = (MATRYOSHKA, BATCH_TOP_K, FROZEN)


def few(found: Findings) -> Figure:
    """F1 and AUROC of probes on 1, 2 and 5 latents of each dictionary, with the probe on all activations."""
    table = _numbers(found.frame("probes"))
    table = table[table["group"] == "all factors"]
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 5.4))
    for axis, metric in zip(axes, METRICS, strict=True):
        part = table[table["metric"] == metric]
        for place, (who, (colour, style)) in enumerate(SHADES.items()):
            rows = part[part["who"] == who].set_index("latents").loc[list(LATENTS)]
            errors = np.nan_to_num(np.abs(rows[["low", "high"]].to_numpy().T - rows["value"].to_numpy()))
            x = np.arange(len(LATENTS)) + 0.03 * (place - 4)
            axis.errorbar(x, rows["value"], errors, fmt=style, ms=4, lw=1.4, color=colour, label=who)
        bound = part[part["who"] == BOUND]
        axis.axhline(bound["value"].iloc[0], color=COLOURS["truth"], lw=1, label=BOUND)
        axis.set_xticks(range(len(LATENTS)), [str(k) for k in LATENTS])
        axis.set(xlabel="latents that the probe reads", ylabel=f"mean {metric} of the values")
    figure.legend(*axes[0].get_legend_handles_labels(), ncols=3, fontsize=9, loc="outside upper center", frameon=False)
    return figure


def groups(found: Findings) -> Figure:
    """F1 of a probe on one latent, by groups of factors."""
    table = _numbers(found.frame("probes"))
    table = table[(table["metric"] == "F1") & (table["latents"].isin([0, 1])) & (table["group"] != "all factors")]
    names = list(table["group"].unique())
    figure, axes = plt.subplots(1, len(names), figsize=(6.4, 4.2), sharey=True)
    who = [*SHADES, BOUND]
    for axis, group in zip(axes, names, strict=True):
        rows = table[table["group"] == group].set_index("who").loc[who]
        colours = [SHADES[name][0] if name in SHADES else COLOURS["truth"] for name in who]
        axis.hlines(range(len(who)), rows["low"], rows["high"], color=colours, lw=2.5)
        axis.scatter(rows["value"], range(len(who)), c=colours, s=20)
        axis.set_title(group.replace(", ", ",\n", 1), fontsize=10)
        axis.set(xlabel="F1 of one latent")
    axes[0].set_yticks(range(len(who)), who, fontsize=9)
    axes[0].invert_yaxis()
    return figure


def edits(found: Findings) -> Figure:
    """Cause (right) and isolation (up) of each edit; in the upper right corner it does one thing only."""
    table = _numbers(found.frame("edits"))
    table = table[table["group"] == "all factors"].set_index(["what", "who"])
    figure, axis = plt.subplots(figsize=(6.2, 4.8))
    for kind in KINDS:
        colour = SHADES[kind][0]
        for k, size in zip(EDITED, (30, 80), strict=True):
            for who, face in ((f"{kind}, {k}", colour), (f"{kind}, {k} {INSTEAD}", "none")):
                _cross(axis, table, who, colour)
                label = f"{kind}, {'others' if face == 'none' else 'its own'}, {k}"
                axis.scatter(table.loc[(CAUSE, who), "value"], table.loc[(ISOLATION, who), "value"], s=size,
                             edgecolors=colour, facecolors=face, label=label, zorder=3)  # fmt: skip
    _cross(axis, table, DIRECTION, COLOURS["truth"])
    axis.scatter(table.loc[(CAUSE, DIRECTION), "value"], table.loc[(ISOLATION, DIRECTION), "value"], marker="*", s=120,
                 color=COLOURS["truth"], label="direction projected out", zorder=3)  # fmt: skip
    axis.set(xlabel="cause: the value is no longer said", ylabel="isolation: the rest is said as before")
    figure.legend(*axis.get_legend_handles_labels(), ncols=2, fontsize=9, loc="outside upper center", frameon=False)
    return figure


def shortcut(found: Findings) -> Figure:
    """Accuracy of probes for class where class and habitat go together, and where they do not."""
    table = _numbers(found.frame("shortcuts"))
    what = list(table["what"].unique())
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 4.8), sharey=True)
    for axis, world in zip(axes, (TOGETHER, APART), strict=True):
        rows = table[table["world"] == world].set_index("what").loc[what]
        colours = [SHADES.get(name.split(", ")[0], (COLOURS["truth"],))[0] for name in what]
        axis.hlines(range(len(what)), rows["low"], rows["high"], color=colours, lw=2.5)
        axis.scatter(rows["value"], range(len(what)), c=colours, s=20)
        axis.set_title(f"class and habitat\n{world}", fontsize=10)
        axis.set(xlabel="accuracy")
    axes[0].set_yticks(range(len(what)), [name.replace(" when", "\nwhen") for name in what],
                       fontsize=9)  # fmt: skip
    axes[0].invert_yaxis()
    return figure


def _cross(axis, table: pd.DataFrame, who: str, colour: str) -> None:
    x, y = (table.loc[(what, who)] for what in (CAUSE, ISOLATION))
    axis.plot([x["low"], x["high"]], [y["value"]] * 2, color=colour, lw=1)
    axis.plot([x["value"]] * 2, [y["low"], y["high"]], color=colour, lw=1)


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype({"value": float, "low": float, "high": float})


FIGURES = {"few": few, "groups": groups, "edits": edits, "shortcut": shortcut}
