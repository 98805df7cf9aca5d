"""Figures of the layers experiment."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.show.style import COLOURS

MAIN = "Matryoshka ×4"
COMPARED = {
    MAIN: ("Matryoshka SAE, ε = 4", COLOURS["matryoshka_batch_top_k"], "o"),
    f"random for {MAIN}": ("random directions, as rare", COLOURS["control"], "^"),
    "rectified, cut": ("raw neurons, rectified and cut", COLOURS["rectified, cut"], "D"),
}
KINDS = {"BatchTopK": "batch_top_k", "Matryoshka": "matryoshka_batch_top_k"}
NAMES = {"BatchTopK": "BatchTopK SAE", "Matryoshka": "Matryoshka SAE", "random for Matryoshka": "random directions"}
LEVELS = {"raw": "raw", "rectified, cut": "rectified, cut", f"random for {MAIN}": "control"}
POPULATIONS = {"all defined neurons": "", "at least 10 pictures": ENOUGH}


def widths(found: Findings) -> Figure:
    """Mean MS against width under the main encoder: a row for each layer, a column for each population."""
    encoder, points = _places(found)
    figure, axes = plt.subplots(len(points), 2, figsize=(6.4, 2.6 * len(points) + 0.8), sharex="row", sharey="row",
                                squeeze=False)  # fmt: skip
    for row, point in zip(axes, points, strict=True):
        for axis, (words, suffix) in zip(row, POPULATIONS.items(), strict=True):
            _widths(axis, found, f"{point}/{encoder}/mean{suffix}/")
            axis.set_title(f"{point}: {words}", fontsize=10)
        row[0].set_ylabel("mean MS")
    for axis in axes[-1]:
        axis.set_xlabel("expansion factor ε")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=10,
                  frameon=False)  # fmt: skip
    return figure


def _widths(axis: Axes, found: Findings, start: str) -> None:
    every = sorted({float(name.rpartition("×")[2]) for name in found.results if name.startswith(start + "Matr")})
    for what, label in {"raw": "raw neurons", "rectified, cut": "rectified and cut"}.items():
        axis.axhline(found.value(start + what), color=COLOURS[what], ls="--", lw=1.6, label=label)
    for kind, key in {**KINDS, "random for Matryoshka": "control"}.items():
        rows = [found.results[f"{start}{kind} ×{width:g}"] for width in every]
        value, low, high = (np.array([row[k] for row in rows], dtype=float) for k in ("value", "ci_low", "ci_high"))
        axis.errorbar(range(len(every)), value, yerr=(value - low, high - value), color=COLOURS[key], marker="o",
                      capsize=3, label=NAMES[kind], ls="--" if key == "control" else "-")  # fmt: skip
    axis.set_xticks(range(len(every)), [f"{width:g}" for width in every])


def curves(found: Findings) -> Figure:
    """Sorted MS of all neurons at the last layer, against the share of the neurons (paper Fig. 5a)."""
    figure, axis = plt.subplots(figsize=(6.4, 4.6))
    table = found.frame("curves")
    saes = [what for what in table["what"].unique() if what.startswith("Matryoshka")]
    shades = dict(zip(saes, plt.get_cmap("viridis")(np.linspace(0, 0.9, len(saes))), strict=True))
    for what, part in table.groupby("what", sort=False):
        place = part["rank"] / part["rank"].max()
        colour = shades.get(what, COLOURS[LEVELS.get(what, "control")])
        label = what.replace("Matryoshka ×", "ε = ") if what in saes else COMPARED.get(what, ("raw neurons",))[0]
        axis.plot(place, part["ms"], color=colour, lw=1.8, ls="-" if what in saes else "--", label=label)
    axis.set(xlabel="share of the defined neurons, the best first", ylabel="MS")
    axis.legend(fontsize=9, ncols=2)
    return figure


def activity(found: Findings) -> Figure:
    """Mean MS by how many pictures a neuron is active on: in bins, and over neurons of at least so many."""
    figure, axes = plt.subplots(2, 1, figsize=(6.4, 7.2))
    binned, least = found.frame("by firing"), found.frame("least activity")
    for what, (label, colour, marker) in COMPARED.items():
        style = {"color": colour, "marker": marker, "capsize": 3, "label": label}
        rows = binned[(binned["what"] == what) & binned["mean"].notna()]
        axes[0].errorbar(rows["from"], rows["mean"], yerr=_reach(rows), **style)
        rows = least[(least["what"] == what) & least["mean"].notna()]
        axes[1].errorbar(rows["pictures"], rows["mean"], yerr=_reach(rows), **style)
    axes[0].set(xscale="log", xlabel="active on … test pictures (from, to the next point)", ylabel="mean MS")
    axes[1].set(xscale="log", xlabel="neurons active on at least … test pictures", ylabel="mean MS")
    for axis in axes:
        axis.xaxis.set_major_formatter("{x:g}")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", fontsize=10, frameon=False)
    return figure


def rebuilt(found: Findings) -> Figure:
    """R² against width, a line for each layer and kind; the paper's dotted."""
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 4.2), sharey=True)
    table = found.frame("reconstruction")
    points = list(table["hook point"].unique())
    shades = dict(zip(points, plt.get_cmap("cividis")(np.linspace(0, 0.85, len(points))), strict=True))
    for axis, kind in zip(axes, KINDS, strict=True):
        for point in points:
            rows = table[(table["hook point"] == point) & table["what"].str.startswith(kind)]
            rows = rows.assign(width=rows["what"].str.rpartition("×")[2].astype(float)).sort_values("width")
            found_rows = [found.results[f"{point}/R²/{what}"] for what in rows["what"]]
            value, low, high = (
                np.array([r[k] for r in found_rows], dtype=float) for k in ("value", "ci_low", "ci_high")
            )
            axis.errorbar(rows["width"], value, yerr=(value - low, high - value), marker="o", capsize=3,
                          color=shades[point], label=point)  # fmt: skip
            axis.plot(rows["width"], rows["paper's R²"], ls=":", color=shades[point])
        axis.set(xscale="log", title=kind, xlabel="expansion factor ε")
        axis.xaxis.set_major_formatter("{x:g}")
    axes[0].set_ylabel("R² (dotted: the paper's)")
    axes[1].legend(fontsize=9)
    return figure


def _places(found: Findings) -> tuple[str, list[str]]:
    """The main encoder, and the hook points in order."""
    table = found.frame("spread")
    return table["encoder"].iloc[0], list(table["hook point"].unique())


def _reach(rows: pd.DataFrame) -> np.ndarray:
    """How far an interval reaches below and above the value; zero where there is none."""
    return np.nan_to_num(np.stack([rows["mean"] - rows["low"], rows["high"] - rows["mean"]]).astype(float)).clip(0)


FIGURES = {"widths": widths, "curves": curves, "activity": activity, "rebuilt": rebuilt}
