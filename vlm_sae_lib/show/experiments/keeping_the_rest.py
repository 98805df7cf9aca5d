"""Figures of the experiment on steering that keeps the rest."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.show.style import COLOURS
from vlm_sae_lib.steering import arms

ANEW = "picture painted anew"
GROUPS = {
    "edits of latents": (arms.OF_LATENTS, COLOURS["matryoshka_batch_top_k"]),
    "rivals": ((arms.DIFF_MEAN, arms.DIRECTION, arms.RANK_ONE, arms.PROMPT), COLOURS["batch_top_k"]),
    "controls": ((arms.DEALT, arms.RANDOM), COLOURS["control"]),
    "nothing edited": ((ANEW,), COLOURS["raw"]),
}
SHORT = {
    arms.PAPER: "detects, dropped", arms.DETECTS: "detects", arms.ACTS: "acts", arms.SWAP: "swap",
    arms.SWAP_WHERE: "swap, local", arms.DIFF_MEAN: "DiffMean", arms.PROMPT: "prompt", arms.RANDOM: "random",
    ANEW: "painted anew",
}  # fmt: skip
"""What stands beside a point of the trade-off; all that is learned lies too close together for names of its own."""


def _points(found: Findings, outcome: str, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Values in per cent, and how far their intervals reach below and above, (2, n)."""
    rows = [found.results[f"{outcome}/{name}"] for name in names]
    value, low, high = (100 * np.array([row[key] for row in rows], float) for key in ("value", "ci_low", "ci_high"))
    return value, np.clip([value - low, high - value], 0, None)


def both_by_arm(found: Findings) -> Figure:
    """Concept named and every other answer right: a bar for each arm, 95 % intervals over the concepts."""
    figure, axis = plt.subplots(figsize=(6.4, 5.6))
    names: list[str] = []
    for label, (group, colour) in GROUPS.items():
        value, error = _points(found, "both", group)
        places = len(names) + np.arange(len(group))
        axis.barh(places, value, color=colour, xerr=error, error_kw={"lw": 1.2}, label=label)
        names += group
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.grid(False, axis="y")
    axis.set(xlim=(0, 100), xlabel="concept named, all else right (% of pictures)")
    axis.axvline(40, color="#444444", ls=":", lw=1.2)
    figure.legend(*axis.get_legend_handles_labels(), ncols=4, fontsize=9, loc="outside upper center", frameon=False)
    return figure


def trade_off(found: Findings) -> Figure:
    """How often the concept is named against how much of the rest is right, a point for each arm, 95 % intervals."""
    figure, axis = plt.subplots(figsize=(6.4, 5.2))
    for label, (group, colour) in GROUPS.items():
        x, across = _points(found, "rest", group)
        y, along = _points(found, "success", group)
        axis.errorbar(x, y, xerr=across, yerr=along, fmt="o", color=colour, elinewidth=0.8, label=label)
        _name(axis, group, x, y, colour)
    across_all, along_all = (_points(found, outcome, arms.TAUGHT)[0].mean() for outcome in ("rest", "success"))
    axis.annotate(
        "all that is learned", (across_all, along_all), xytext=(-60, 0), textcoords="offset points", fontsize=8,
        ha="right",
    )  # fmt: skip
    axis.set(xlabel="the other answers are right (%)", ylabel="the concept is named (%)", ylim=(-3, 103))
    figure.legend(*axis.get_legend_handles_labels(), ncols=4, fontsize=9, loc="outside upper center", frameon=False)
    return figure


def _name(axis: Axes, group: tuple[str, ...], x: np.ndarray, y: np.ndarray, colour: str) -> None:
    for name, across, along in zip(group, x, y, strict=True):
        if name in SHORT:
            side = {"ha": "right", "xytext": (-5, 6)} if name == arms.PROMPT else {"xytext": (5, -11)}
            axis.annotate(SHORT[name], (across, along), textcoords="offset points", fontsize=8, color=colour, **side)


FIGURES = {"both_by_arm": both_by_arm, "trade_off": trade_off}
