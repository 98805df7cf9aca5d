"""Figures of the experiment on agreement with the truth."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.show.style import COLOURS

OBSERVERS = {
    "all factors": (COLOURS["matryoshka_batch_top_k"], "o"),
    "one factor": (COLOURS["batch_top_k"], "s"),
    "surprise": (COLOURS["rectified, cut"], "D"),
}
WHO = {
    "MS": ("MS", COLOURS["matryoshka_batch_top_k"]),
    "MS of random directions": ("MS of random directions", COLOURS["truth"]),
    "latents alone": ("MS, latents alone", COLOURS["batch_top_k"]),
    "lower firing rate": ("lower firing rate", COLOURS["rectified"]),
    "larger maximum": ("larger maximum", COLOURS["rectified, cut"]),
    "shuffled MS within pools": ("MS shuffled in its pool", COLOURS["control"]),
    "shuffled MS": ("MS shuffled", COLOURS["raw"]),
}


def bins(found: Findings) -> Figure:
    """Alignment by bin of the difference in MS: the truth's observers here, people in the paper.

    Broad bars reach from the least to the most that one training alone would have said.
    """
    table = found.frame("bins")
    encoder = table["binned_by"].iloc[0]
    table = table[(table["binned_by"] == encoder) & (table["encoder"] == encoder)]
    figure, axis = plt.subplots(figsize=(6.2, 4.4))
    for step, (observer, (colour, marker)) in enumerate(OBSERVERS.items()):
        part = table[table["observer"] == observer]
        x = (part["bin_low"] + part["bin_high"]) / 2 + (step - 1) * 0.014
        errors = np.clip([part["alignment"] - part["low"], part["high"] - part["alignment"]], 0, None)
        axis.errorbar(x, part["alignment"], yerr=errors, fmt=marker, color=colour, label=f"truth: {observer}")
        axis.vlines(x, part["smallest"], part["largest"], color=colour, alpha=0.25, linewidth=5)
    people = table[table["observer"] == "all factors"].dropna(subset=["paper"])
    middle = (people["bin_low"] + people["bin_high"]) / 2
    axis.plot(middle, people["paper"].astype(float), color=COLOURS["truth"], marker="x", label="people (paper)")
    axis.axhline(0.5, color="black", linewidth=0.8, linestyle=":")
    axis.set(xlabel=f"difference in MS ({encoder})", ylabel="pairs in which MS prefers the same")
    axis.legend(fontsize=9, loc="lower right")
    return figure


def headline(found: Findings) -> Figure:
    """Mean over bins, all pairs, for MS and for what it is held against, by observer."""
    encoder = found.frame("bins")["binned_by"].iloc[0]
    figure, axis = plt.subplots(figsize=(6.2, 4.8))
    for step, (who, (label, colour)) in enumerate(WHO.items()):
        rows = [found.results[f"{encoder}/{observer}/{who}"] for observer in OBSERVERS]
        value, low, high = (np.array([row[key] for row in rows], dtype=float) for key in ("value", "ci_low", "ci_high"))
        y = np.arange(len(rows)) + (step - (len(WHO) - 1) / 2) * 0.12
        errors = np.clip([value - low, high - value], 0, None)
        axis.errorbar(value, y, xerr=errors, fmt="o", markersize=5, color=colour, label=label)
    axis.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    paper = found.results[f"{encoder}/all factors/MS"]["paper_value"]
    axis.axvline(paper, color=COLOURS["truth"], linewidth=0.8, linestyle="--", label="people (paper)")
    axis.set_yticks(range(len(OBSERVERS)), OBSERVERS)
    axis.invert_yaxis()
    axis.set_xlabel("pairs in which both prefer the same, mean over bins")
    axis.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2, fontsize=9, frameon=False)
    return figure


FIGURES = {"bins": bins, "headline": headline}
