"""Figures of the experiment on insertion and suppression."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.show.style import COLOURS

METHODS = {
    "SAE": COLOURS["matryoshka_batch_top_k"],
    "SAE, error kept": COLOURS["rectified"],
    "DiffMean": COLOURS["batch_top_k"],
    "random direction": COLOURS["control"],
}
TASKS = {"insertion": "the concept is named (%)", "suppression": "the concept is gone (%)"}


def trade_off(found: Findings) -> Figure:
    """Success against the rest of the answers kept, a point per strength, a panel per task, 95 % intervals."""
    figure, axes = plt.subplots(2, 1, figsize=(6.0, 8.0))
    for axis, (task, words) in zip(axes, TASKS.items(), strict=True):
        table = found.frame(f"{task} curve")
        for method, colour in METHODS.items():
            line = table[table["method"] == method].sort_values("step")
            x, y = 100 * line["rest"], 100 * line["success"]
            errors = {
                f"{side}err": 100 * np.clip([line[what] - line[f"{what}_low"], line[f"{what}_high"] - line[what]], 0, 1)
                for side, what in (("x", "rest"), ("y", "success"))
            }
            axis.errorbar(x, y, **errors, marker="o", ms=5, lw=2, elinewidth=0.7, color=colour, label=method)
        axis.set(title=task, xlabel="the other answers are right (%)", ylabel=words, xlim=(-3, 103), ylim=(-3, 103))
    figure.legend(*axes[0].get_legend_handles_labels(), ncols=2, fontsize=10, loc="outside upper center", frameon=False)
    return figure


def at_their_best(found: Findings) -> Figure:
    """Success, rest and both of each method at its chosen settings."""
    outcomes = {"success": "concept named / gone", "rest": "other answers right", "both": "both"}
    figure, axes = plt.subplots(2, 1, figsize=(6.0, 6.6), sharex=True)
    for axis, task in zip(axes, TASKS, strict=True):
        for j, (method, colour) in enumerate(METHODS.items()):
            rows = [found.results[f"{task}/{outcome}/{method}"] for outcome in outcomes]
            value, low, high = (
                100 * np.array([row[key] for row in rows], float) for key in ("value", "ci_low", "ci_high")
            )
            y = np.arange(len(outcomes)) * (len(METHODS) + 1) + j
            error = np.clip([value - low, high - value], 0, None)
            axis.barh(y, value, height=0.9, color=colour, label=method, xerr=error, error_kw={"lw": 1.2})
        axis.set_yticks(np.arange(len(outcomes)) * (len(METHODS) + 1) + 1.5, list(outcomes.values()))
        axis.set(title=task, xlim=(0, 100))
        axis.invert_yaxis()
        axis.grid(False, axis="y")
    axes[1].set_xlabel("% of pictures, mean over concepts")
    figure.legend(*axes[0].get_legend_handles_labels(), ncols=2, fontsize=10, loc="outside upper center", frameon=False)
    return figure


FIGURES = {"trade_off": trade_off, "at_their_best": at_their_best}
