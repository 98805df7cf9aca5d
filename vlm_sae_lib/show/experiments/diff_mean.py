"""Figures of the experiment on insertion and suppression."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.show.style import COLOURS

METHODS = {
    "SAE": (COLOURS["matryoshka_batch_top_k"], "-"),
    "SAE, error kept": (COLOURS["matryoshka_batch_top_k"], "--"),
    "DiffMean": (COLOURS["batch_top_k"], "-"),
    "random directions": (COLOURS["control"], "-"),
    "random directions, error kept": (COLOURS["control"], "--"),
}
"""Colour and line; broken where the error is kept beside a method that drops it."""
OUTCOMES = {"success": "concept named / gone", "rest": "other answers right", "both": "both"}
SHORT = {"success": "concept", "rest": "the rest", "both": "both"}
TASKS = {"insertion": "the concept is named (%)", "suppression": "the concept is gone (%)"}


def trade_off(found: Findings) -> Figure:
    """Success against the rest of the answers kept, a point per strength, a panel per task, 95 % intervals."""
    figure, axes = plt.subplots(2, 1, figsize=(6.0, 8.0))
    for axis, (task, words) in zip(axes, TASKS.items(), strict=True):
        table = found.frame(f"{task} curve")
        for method, (colour, stroke) in METHODS.items():
            line = table[table["method"] == method].sort_values("step")
            x, y = 100 * line["rest"], 100 * line["success"]
            errors = {
                f"{side}err": 100 * np.clip([line[what] - line[f"{what}_low"], line[f"{what}_high"] - line[what]], 0, 1)
                for side, what in (("x", "rest"), ("y", "success"))
            }
            axis.errorbar(x, y, **errors, marker="o", ms=5, lw=2, ls=stroke, elinewidth=0.7, color=colour, label=method)
        axis.set(title=task, xlabel="the other answers are right (%)", ylabel=words, xlim=(-3, 103), ylim=(-3, 103))
    figure.legend(*axes[0].get_legend_handles_labels(), ncols=2, fontsize=10, loc="outside upper center", frameon=False)
    return figure


def over_strength(found: Findings) -> Figure:
    """Success, rest and both over five strengths, a row per outcome, a column per task, 95 % intervals."""
    figure, axes = plt.subplots(len(OUTCOMES), 2, figsize=(6.4, 7.6), sharex=True, sharey=True)
    for column, task in enumerate(TASKS):
        table = found.frame(f"{task} curve")
        for axis, (outcome, words) in zip(axes[:, column], SHORT.items(), strict=True):
            for method, (colour, stroke) in METHODS.items():
                line = table[table["method"] == method].sort_values("step")
                step, low, high = 1 + line["step"], 100 * line[f"{outcome}_low"], 100 * line[f"{outcome}_high"]
                axis.plot(step, 100 * line[outcome], marker="o", ms=4, ls=stroke, color=colour, label=method)
                axis.fill_between(step, low, high, color=colour, alpha=0.12, lw=0)
            axis.set(ylim=(-3, 103), xticks=range(1, 6))
            if column == 0:
                axis.set_ylabel(f"{words} (%)")
        axes[0, column].set_title(task)
        axes[-1, column].set_xlabel("strength, the mildest first")
    labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(*labels, ncols=2, fontsize=10, loc="outside upper center", frameon=False)
    return figure


def at_their_best(found: Findings) -> Figure:
    """Success, rest and both of each method at its chosen settings."""
    figure, axes = plt.subplots(2, 1, figsize=(6.0, 7.4), sharex=True)
    for axis, task in zip(axes, TASKS, strict=True):
        for j, (method, (colour, stroke)) in enumerate(METHODS.items()):
            rows = [found.results[f"{task}/{outcome}/{method}"] for outcome in OUTCOMES]
            value, low, high = (
                100 * np.array([row[key] for row in rows], float) for key in ("value", "ci_low", "ci_high")
            )
            y = np.arange(len(OUTCOMES)) * (len(METHODS) + 1) + j
            error = np.clip([value - low, high - value], 0, None)
            alpha = 1.0 if stroke == "-" else 0.5
            axis.barh(y, value, height=0.9, color=colour, alpha=alpha, label=method, xerr=error, error_kw={"lw": 1.2})
        axis.set_yticks(np.arange(len(OUTCOMES)) * (len(METHODS) + 1) + len(METHODS) / 2 - 0.5, list(OUTCOMES.values()))
        axis.set(title=task, xlim=(0, 100))
        axis.invert_yaxis()
        axis.grid(False, axis="y")
    axes[1].set_xlabel("% of pictures, mean over concepts")
    figure.legend(*axes[0].get_legend_handles_labels(), ncols=2, fontsize=10, loc="outside upper center", frameon=False)
    return figure


FIGURES = {"trade_off": trade_off, "over_strength": over_strength, "at_their_best": at_their_best}
