"""Figures of scores: sorted MS curves, one score against another, weights, width, overlap."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlm_sae_lib.scores.comparison import Scored
from vlm_sae_lib.show.numbers import number, with_interval
from vlm_sae_lib.show.style import COLOURS, LABELS
from vlm_sae_lib.statistics.intervals import Estimate


def ms_table(scored: Mapping[str, Scored], at_least: int, digits: int = 2) -> pd.DataFrame:
    """One row per kind of neuron: how many, share with a defined MS, mean with interval, best, worst.

    ``at_least`` is the number of active pictures that the second mean asks of a neuron.
    """
    rows = []
    for kind, result in scored.items():
        ms = result.ms[~np.isnan(result.ms)]
        rows.append({
            "neurons": LABELS.get(kind, kind),
            "how many": len(result.ms),
            "MS defined": f"{len(ms) / max(len(result.ms), 1):.0%}",
            "mean MS [95 %]": stated(result.mean(), digits),
            "best": number(ms.max(initial=-np.inf), digits),
            "worst": number(ms.min(initial=np.inf), digits),
            f"on ≥ {at_least} pictures": int(result.kept(at_least).sum()),
            "mean MS of those [95 %]": stated(result.mean(at_least), digits),
        })  # fmt: skip
    return pd.DataFrame(rows).set_index("neurons")


def stated(estimate: Estimate, digits: int = 2) -> str:
    """``0.52 [0.49, 0.55]``."""
    return with_interval(estimate.value, *estimate.interval, digits)


def sorted_curves(
    ms: Mapping[str, Mapping[str, np.ndarray]], constants: Mapping[str, float], constant_label: str = "mean cosine"
) -> Figure:
    """One panel per encoder: the neurons of each kind from the most to the least monosemantic.

    ms: MS per encoder and kind; NaN is left out. constants: a dashed line per encoder.
    """
    figure, axes = plt.subplots(len(ms), 1, figsize=(6.4, 3.9 * len(ms)), squeeze=False)
    for axis, (encoder, kinds) in zip(axes[:, 0], ms.items(), strict=True):
        for kind, values in kinds.items():
            ordered = np.sort(values[~np.isnan(values)])[::-1]
            share = (np.arange(len(ordered)) + 0.5) / max(len(ordered), 1)
            style = {"lw": 2.2, "color": COLOURS.get(kind, COLOURS["control"]), "label": LABELS.get(kind, kind)}
            axis.plot(100 * share, ordered, ls="-" if kind in COLOURS else ":", **style)
        axis.axhline(constants[encoder], color="black", ls="--", lw=1.2, label=constant_label)
        axis.set(title=f"scored by the {encoder} encoder", ylabel="MS", xlim=(0, 100))
    axes[-1, 0].set_xlabel("neurons of each kind, best first, in per cent")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, ncols=2, fontsize=9, loc="outside upper center", frameon=False)
    return figure


def scatter(
    x: Mapping[str, np.ndarray], y: Mapping[str, np.ndarray], x_label: str, y_label: str, diagonal: bool = False
) -> Figure:
    """One score against another, a dot per neuron, coloured by kind; neurons with a NaN are left out."""
    figure, axis = plt.subplots(figsize=(6.0, 5.0))
    for kind in x:
        label, colour = LABELS.get(kind, kind), COLOURS.get(kind, COLOURS["control"])
        axis.scatter(x[kind], y[kind], s=14, alpha=0.55, lw=0, color=colour, label=label)
    if diagonal:
        low, high = axis.get_xlim()
        axis.plot([low, high], [low, high], color="black", ls="--", lw=1)
    axis.set(xlabel=x_label, ylabel=y_label)
    axis.legend(fontsize=9, frameon=True)
    return figure


def weight_histograms(weights: Mapping[str, np.ndarray], x_label: str) -> Figure:
    """How the min–max weights of a neuron of each kind are spread, one panel each, its own share of pictures."""
    figure, axes = plt.subplots(len(weights), 1, figsize=(6.4, 2.2 * len(weights)), sharex=True, squeeze=False)
    for axis, (kind, values) in zip(axes[:, 0], weights.items(), strict=True):
        share = np.full(len(values), 100 / max(len(values), 1))
        axis.hist(values, bins=np.linspace(0, 1, 41), weights=share, color=COLOURS.get(kind, COLOURS["control"]))
        axis.axvline(values.mean(), color="black", ls="--", lw=1.2)
        axis.set(title=LABELS.get(kind, kind), ylabel="% of pictures")
    axes[-1, 0].set_xlabel(x_label)
    return figure


def means_with_intervals(
    points: Mapping[str, Sequence[Estimate]], ticks: Sequence[str], x_label: str, y_label: str,
    constant: float | None = None, constant_label: str = "mean cosine",
) -> Figure:  # fmt: skip
    """A line per kind through means at each tick, with their intervals; what an interval lacks is drawn as a dot."""
    figure, axis = plt.subplots(figsize=(6.4, 4.2))
    for shift, (kind, estimates) in enumerate(points.items()):
        draw_estimates(axis, kind, estimates, 0.06 * (shift - (len(points) - 1) / 2))
    if constant is not None:
        axis.axhline(constant, color="black", ls="--", lw=1.2, label=constant_label)
    axis.set(xlabel=x_label, ylabel=y_label)
    axis.set_xticks(range(len(ticks)), ticks)
    axis.legend(fontsize=9, frameon=True)
    return figure


def draw_estimates(
    axis: Axes, kind: str, estimates: Sequence[Estimate], shift: float = 0.0, colour: str | None = None
) -> None:
    """Means at 0, 1, 2, … with their intervals as bars; a missing interval leaves the dot alone."""
    values = np.array([estimate.value for estimate in estimates])
    ends = np.array([estimate.interval for estimate in estimates]).T
    errors = np.nan_to_num(np.abs(ends - values))
    style: dict[str, Any] = {"color": colour or COLOURS.get(kind, COLOURS["control"]), "label": LABELS.get(kind, kind)}
    axis.errorbar(np.arange(len(values)) + shift, values, errors, marker="o", capsize=3, lw=1.8, **style)


def overlap_bars(shares: Mapping[str, Mapping[str, float]]) -> Figure:
    """Share of the pairs of neurons that overlap at all and more, per kind, on a logarithmic scale.

    shares: per kind (a label) the share in per cent per threshold (a label); zeros leave a gap.
    """
    table = pd.DataFrame(shares)
    figure, axis = plt.subplots(figsize=(6.4, 4.0))
    width = 0.8 / len(table.columns)
    for place, kind in enumerate(table.columns):
        at = np.arange(len(table)) + (place - (len(table.columns) - 1) / 2) * width
        values = table[kind].where(table[kind] > 0)
        axis.bar(at, values, width, color=COLOURS.get(kind, COLOURS["control"]), label=LABELS.get(kind, kind))
    axis.set_yscale("log")
    axis.set(xlabel="Jaccard similarity of the two sets of sixteen", ylabel="% of the pairs")
    axis.set_xticks(range(len(table)), table.index)
    axis.legend(fontsize=9, frameon=True, loc="upper right")
    return figure


def clear_gaps(gaps: Mapping[str, Mapping[str, Estimate]]) -> tuple[str, str]:
    """In words, the rivals (and encoders) whose gap's whole interval lies above zero, and those whose does not.

    gaps: by encoder and rival.
    """
    found: dict[bool, list[str]] = {True: [], False: []}
    for encoder, rivals in gaps.items():
        for rival, gap in rivals.items():
            found[gap.interval.low > 0].append(f"{LABELS.get(rival, rival)} ({encoder})")
    clear, unclear = (", ".join(found[above]) or "none" for above in (True, False))
    return clear, unclear


def width_table(
    scored: Mapping[str, Sequence[Scored]], expansions: Sequence[float], at_least: int, digits: int = 2
) -> pd.DataFrame:
    """One row per dictionary: mean and best MS over its latents on ``at_least`` pictures, and how many these are."""
    rows = [
        {
            "dictionary": f"{LABELS[kind]} ×{expansion:g}", "mean MS": number(score.mean(at_least).value, digits),
            "best": number(float(np.nanmax(score.ms[score.kept(at_least)])), digits),
            f"latents on ≥ {at_least} pictures": int(score.kept(at_least).sum()),
        }
        for kind, row in scored.items()
        for expansion, score in zip(expansions, row, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows).set_index("dictionary")


def agreement_table(tracks: Mapping[str, Mapping[str, Estimate]]) -> pd.DataFrame:
    """Rank agreement of scores with the truth's, a row per kind of neuron, a column per encoder."""
    cells = {
        encoder: {LABELS.get(kind, kind): stated(rho) for kind, rho in kinds.items()}
        for encoder, kinds in tracks.items()
    }
    return pd.DataFrame(cells).rename_axis("Spearman of MS with the truth's MS")
