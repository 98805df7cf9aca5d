"""Figures of the recovery experiment."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.show.style import COLOURS

UNTRAINED, BOUND = "an untrained autoencoder", "best linear direction, told the truth"
SHADES = {
    "Matryoshka": (COLOURS["matryoshka_batch_top_k"], "o"),
    "BatchTopK": (COLOURS["batch_top_k"], "s"),
    "TopK": ("#56B4E9", "^"),
    "JumpReLU": (COLOURS["rectified, cut"], "v"),
    "ReLU, cut": (COLOURS["rectified"], "D"),
    "a frozen decoder": (COLOURS["frozen decoder"], "P"),
    "a soft-frozen decoder": ("#C49C94", "X"),
    "a frozen encoder": (COLOURS["control"], "*"),
    UNTRAINED: (COLOURS["raw"], "."),
}
WAYS = {
    "synthetic, by direction": "synthetic,\nby direction",
    "synthetic, by firing": "synthetic,\nby firing",
    "pictures, by firing": "pictures,\nby firing",
}
POPULATIONS = {0: ("all latents", "o", -0.15), 10: ("on at least 10 pictures", "D", 0.15)}


def recovered(found: Findings) -> Figure:
    """Correlation with the match and F1 of each kind (row of dots), against each truth (column)."""
    table = found.frame("recovery")
    kinds = [*SHADES, BOUND]
    colours = [COLOURS["truth"] if kind == BOUND else SHADES[kind][0] for kind in kinds]
    labels = ["told the truth" if kind == BOUND else kind for kind in kinds]
    figure, axes = plt.subplots(2, len(WAYS), figsize=(6.4, 6.4), sharey=True, sharex="row")
    for row, what in zip(axes, ("correlation", "F1"), strict=True):
        for axis, (way, title) in zip(row, WAYS.items(), strict=True):
            part = table[(table["way"] == way) & (table["what"] == what)].set_index("kind").reindex(kinds)
            _dots(axis, part, np.arange(len(kinds)), colours)
            axis.set(xlabel=what, title=title if what == "correlation" else "")
        row[0].set_yticks(range(len(kinds)), labels, fontsize=9)
    axes[0, 0].invert_yaxis()
    return figure


def ranks(found: Findings) -> Figure:
    """Each kind's recovery on synthetic activations against that on pictures, by correlation and by F1."""
    table = found.frame("recovery")
    synthetic, pictures = list(WAYS)[:2], list(WAYS)[2]
    figure, axes = plt.subplots(2, 2, figsize=(6.4, 6.8))
    for row, what in zip(axes, ("correlation", "F1"), strict=True):
        for axis, way in zip(row, synthetic, strict=True):
            for kind, (colour, marker) in SHADES.items():
                (x, xs), (y, ys) = (_point(table, of, what, kind) for of in (way, pictures))
                axis.errorbar(x, y, ys, xs, fmt=marker, color=colour, ms=6, lw=1, label=kind)
            axis.set(xlabel=f"{what}, {WAYS[way]}")
        row[0].set_ylabel(f"{what}, pictures")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), ncols=3, fontsize=8, loc="outside upper center")
    return figure


def stability(found: Findings) -> Figure:
    """Share of latents that another training finds again, and the mean cosine with the match, by kind."""
    table = found.frame("stability")
    kinds = list(SHADES)
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 4.4), sharey=True)
    for axis, what in zip(axes, dict.fromkeys(table["what"]), strict=True):
        for least, (label, marker, shift) in POPULATIONS.items():
            part = table[(table["what"] == what) & (table["at_least"] == least)].set_index("kind").loc[kinds]
            places, colours = np.arange(len(kinds)) + shift, [SHADES[kind][0] for kind in kinds]
            _dots(axis, part, places, colours, marker, label)
        axis.set_xlabel(what)
    axes[0].set_yticks(range(len(kinds)), kinds, fontsize=9)
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), ncols=2, fontsize=9, loc="outside upper center")
    return figure


def firing(found: Findings) -> Figure:
    """Share of latents that another training finds again, over how often they fire."""
    table = found.frame("stability by firing")
    pictures = list(table["pictures"].unique())
    figure, axis = plt.subplots(figsize=(6.4, 4.6))
    for kind, (colour, marker) in SHADES.items():
        rows = table[table["kind"] == kind].astype({"value": float, "low": float, "high": float})
        axis.fill_between(range(len(rows)), rows["low"], rows["high"], color=colour, alpha=0.15, lw=0)
        axis.plot(range(len(rows)), rows["value"], marker=marker, color=colour, ms=5, label=kind)
    axis.set_xticks(range(len(pictures)), pictures, fontsize=9)
    axis.set(xlabel="test pictures on which it fires", ylabel="share above 0.7")
    figure.legend(*axis.get_legend_handles_labels(), ncols=3, fontsize=8, loc="outside upper center")
    return figure


def _dots(axis, part: pd.DataFrame, places: np.ndarray, colours: list[str], marker: str = "o", label: str = "") -> None:
    part = part.astype({"value": float, "low": float, "high": float})
    axis.hlines(places, part["low"], part["high"], color=colours, lw=2.5)
    axis.scatter(part["value"], places, c=colours, marker=marker, s=24, label=label)


def _point(table: pd.DataFrame, way: str, what: str, kind: str) -> tuple[float, float]:
    """Value and half the interval."""
    row = table[(table["way"] == way) & (table["what"] == what) & (table["kind"] == kind)]
    value, high = (float(row[column].astype(float).iloc[0]) for column in ("value", "high"))
    return value, high - value


FIGURES = {"recovered": recovered, "ranks": ranks, "stability": stability, "firing": firing}
