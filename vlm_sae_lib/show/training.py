"""How sparse autoencoders learn, and what they rebuild: training curves, R² against width, layer and L0."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from vlm_sae_lib.controls.reconstruction import Evaluated
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.records.results import paper_layer as paper_layer  # the notebooks ask for it here
from vlm_sae_lib.records.results import published, published_table
from vlm_sae_lib.sae.config import SaeConfig
from vlm_sae_lib.show.numbers import with_interval
from vlm_sae_lib.show.style import COLOURS, LABELS
from vlm_sae_lib.statistics.intervals import Estimate, Interval

CURVES = {"loss": "loss", "r2": "R² of the batch", "l0": "L0", "dead": "dead latents"}
DASHES = ("-", "--", ":", "-.")
MARKERS = {"batch_top_k": "o", "matryoshka_batch_top_k": "s"}
Widths = Mapping[tuple[str, float], Any]  # (kind, expansion) → something


class PaperRow(NamedTuple):
    """The paper's R², as a share, and L0; NaN where it has none."""

    r2: float
    l0: float

    @property
    def known(self) -> bool:
        return not math.isnan(self.r2)


def training_curves(saes: Widths) -> Figure:
    """Loss, R², L0 and dead latents over the steps, from the SAEs' own logs: colour is kind, dash is width."""
    if not saes:
        raise UserError("There is no SAE whose training could be drawn.")
    widths = sorted({expansion for _, expansion in saes})
    figure, axes = plt.subplots(2, 2, figsize=(6.4, 6.0), sharex=True, layout="constrained")
    for (kind, expansion), sae in saes.items():
        log = sae.metadata["log"]
        style = {"color": COLOURS[kind], "linestyle": DASHES[widths.index(expansion) % len(DASHES)], "linewidth": 1.6}
        for axis, name in zip(axes.flat, CURVES, strict=True):
            values = [np.nan if value is None else value for value in log[name]]
            axis.plot(log["step"], values, **style, label=f"{LABELS[kind]}, ε = {expansion:g}")
    for axis, title in zip(axes.flat, CURVES.values(), strict=True):
        axis.set_title(title)
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes[0, 0].set_yscale("log")
    axes[0, 0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[0, 0].yaxis.set_major_formatter("{x:g}")
    axes[0, 0].yaxis.set_minor_formatter(NullFormatter())
    axes[1, 0].set_ylim(0, 2 * max(sae.k or sae.metadata["log"]["l0"][-1] for sae in saes.values()))
    axes[0, 1].set_ylim(max(0.0, _least(saes, "r2")), 1)
    for axis in axes[1]:
        axis.set_xlabel("step")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)
    return figure


def _least(saes: Widths, name: str) -> float:
    """The smallest value of a log after its first quarter: where the axis may begin without hiding the outcome."""
    tails = [sae.metadata["log"][name][len(sae.metadata["log"][name]) // 4 :] for sae in saes.values()]
    values = [value for tail in tails for value in tail if value is not None]
    return min(values, default=0.0) - 0.02


def r2_by_width(ours: Mapping[tuple[str, float], Estimate], paper: Mapping[tuple[str, float], float]) -> Figure:
    """R² against the expansion factor, ours with intervals on the left, the paper's on the right; one scale each."""
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.6), layout="constrained")
    _draw_widths(axes[0], ours)
    _draw_widths(axes[1], {key: Estimate(value, Interval(value, value)) for key, value in paper.items()})
    for axis, title in zip(axes, ("here", "in the paper"), strict=True):
        axis.set_title(title)
    axes[0].set_ylabel("R²")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=10)
    return figure


def _draw_widths(axis: plt.Axes, values: Mapping[tuple[str, float], Estimate]) -> None:
    expansions = sorted({expansion for _, expansion in values})
    for kind in dict.fromkeys(kind for kind, _ in values):
        found = [values[kind, e] for e in expansions if (kind, e) in values]
        places = [expansions.index(e) for e in expansions if (kind, e) in values]
        _with_bars(axis, places, found, color=COLOURS[kind], marker=MARKERS.get(kind, "o"), label=LABELS[kind])
    axis.set_xticks(range(len(expansions)), [f"{e:g}" for e in expansions])
    axis.set_xlabel("expansion factor ε")


def r2_by_layer(values: Mapping[str, Mapping[str, Estimate]]) -> Figure:
    """R² at each hook point, one line per kind."""
    figure, axis = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    for kind, layers in values.items():
        options = {"color": COLOURS[kind], "marker": MARKERS.get(kind, "o"), "label": LABELS[kind]}
        _with_bars(axis, range(len(layers)), list(layers.values()), **options)
        axis.set_xticks(range(len(layers)), list(layers))
    axis.set(ylabel="R²", xlabel="hook point")
    axis.legend(fontsize=10)
    return figure


def r2_by_l0(series: Mapping[str, Sequence[tuple[float, Estimate]]]) -> Figure:
    """R² against L0, one line per dictionary; a name that is no SAE kind is drawn as a control, dashed."""
    figure, axis = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    others = iter((COLOURS["rectified"], COLOURS["raw"], COLOURS["control"], COLOURS["rectified, cut"]))
    for name, points in series.items():
        known = name in LABELS
        options = {"color": COLOURS[name] if known else next(others), "marker": MARKERS.get(name, "^")}
        ranked = sorted(points, key=lambda point: point[0])
        places, found = [l0 for l0, _ in ranked], [estimate for _, estimate in ranked]
        _with_bars(axis, places, found, **options, linestyle="-" if known else "--", label=LABELS.get(name, name))
    axis.set(xlabel="L0: components or latents per picture", ylabel="R²")
    axis.legend(fontsize=10)
    return figure


def _with_bars(axis: plt.Axes, places: Sequence[float], found: Sequence[Estimate], **options: Any) -> None:
    """A line through values with their intervals; an interval that is missing is not drawn."""
    value = np.array([e.value for e in found])
    reach = np.abs(np.array([e.interval for e in found]).T - value)
    axis.errorbar(places, value, yerr=np.nan_to_num(reach), capsize=3, linewidth=1.8, markersize=6, **options)


def spread_bars(cosines: Mapping[str, float], directions: Mapping[str, float]) -> Figure:
    """Mean cosine, and number of directions, of the activations at each hook point."""
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.2), layout="constrained")
    for axis, values, title in zip(axes, (cosines, directions), ("mean cosine", "directions"), strict=True):
        axis.bar(list(values), list(values.values()), color=COLOURS["raw"])
        axis.set_title(title)
        axis.tick_params(axis="x", rotation=35)
    return figure


def activation_histograms(activations: Mapping[str, np.ndarray]) -> Figure:
    """How strongly single latents fire, over the pictures on which they do; the title says how many that are."""
    size = (6.4, 1.75 * len(activations))
    figure, axes = plt.subplots(len(activations), 1, figsize=size, squeeze=False, layout="constrained")
    for axis, (name, values) in zip(axes[:, 0], activations.items(), strict=True):
        values = np.asarray(values)
        above = values[values > 0]
        edges = np.linspace(0, above.max(initial=1e-9), 41)
        axis.hist(above, bins=edges, linewidth=0.3, color=COLOURS["matryoshka_batch_top_k"])
        axis.set_title(f"{name}: fires on {len(above)} of {len(values)}", loc="left", fontsize=11)
        axis.set_ylabel("pictures")
        axis.set_xlim(left=0)
    axes[-1, 0].set_xlabel("activation")
    return figure


def paper_reconstruction(layer: str, widths: Sequence[tuple[str, float]]) -> dict[tuple[str, float], PaperRow]:
    """The paper's R² (as a share) and L0 of CLIP ViT-L at one of its layers, for some kinds and widths.

    A width that the paper has not is a row of NaN.
    """
    table = published_table("reconstruction")
    had = set(pd.to_numeric(table["expansion"], errors="coerce").dropna())

    def row(kind: str, expansion: float) -> PaperRow:
        if expansion not in had:
            return PaperRow(math.nan, math.nan)
        where = {"layer": layer, "sae": kind, "expansion": expansion}
        r2 = published("reconstruction", **where, statistic="r2_percent") / 100
        return PaperRow(r2, published("reconstruction", **where, statistic="l0"))

    return {(kind, expansion): row(kind, expansion) for kind, expansion in widths}


def reconstruction_table(
    ours: Mapping[tuple[str, Any], Evaluated], paper: Mapping[tuple[str, Any], PaperRow], place: str = "ε"
) -> pd.DataFrame:
    """One row per SAE, by kind and place (expansion factor, hook point): R² and L0 beside the paper's."""
    rows = [
        {
            "SAE": LABELS[kind], place: where, "latents": found.n_latents,
            "R² [95 %]": with_interval(found.r2.value, *found.r2.estimate.interval),
            "r2_paper": f"{found.report.r2_paper:.3f}", "L0": f"{found.report.l0:.1f}",
            "never fired": found.report.never_fired,
            "paper's R²": f"{paper[kind, where].r2:.3f}", "paper's L0": paper[kind, where].l0,
        }
        for (kind, where), found in ours.items()
    ]  # fmt: skip
    return pd.DataFrame(rows).set_index(["SAE", place])


def price_table(ours: Mapping[tuple[str, float], Evaluated], dim: int) -> pd.DataFrame:
    """What width costs: weights, and latents that never fire or hardly ever."""
    rows = [
        {
            "SAE": LABELS[kind], "ε": expansion, "latents": found.n_latents,
            "weights": 2 * dim * found.n_latents + found.n_latents + dim,
            "never fired": found.report.never_fired, "share that fires": f"{(found.firing_rates > 0).mean():.2f}",
            "median % of pictures": f"{100 * np.median(found.firing_rates[found.firing_rates > 0]):.1f}",
        }
        for (kind, expansion), found in ours.items()
    ]  # fmt: skip
    return pd.DataFrame(rows).set_index(["SAE", "ε"])


def rivals_table(rivals: Mapping[str, Any]) -> pd.DataFrame:
    """R² with its interval of codes that nobody learned, a row each. rivals: R² by name."""
    rows = {name: with_interval(found.value, *found.estimate.interval) for name, found in rivals.items()}
    return pd.DataFrame({"R² [95 %]": rows}).rename_axis("code")


def settings_table(config: SaeConfig, dim: int, n_rows: int) -> pd.DataFrame:
    """What a training is set to, beside what the paper's code is; dim, n_rows: of the activations."""
    schedule, width = config.schedule(dim, n_rows), config.expansion
    rows = {
        f"latents at ε = {width:g}": (
            schedule.n_latents, f"{1024 * width:,.0f}; at the projection {768 * width:,.0f}"
        ),
        "groups": (schedule.group_sizes, "1/16, 1/8, 1/4, 9/16 of the latents"),
        "K": (config.k, "20"),
        "steps": (config.steps, "100,000"),
        "batch": (config.batch_size, "4,096"),
        "learning rate": (schedule.lr, "0.0256 / √latents"),
        "warm-up steps": (schedule.warmup, "1,000"),
        "threshold learned from step": (schedule.threshold_start, "1,000"),
        "dead after (samples)": (schedule.dead_window, "10,000,000"),
    }  # fmt: skip
    table = pd.DataFrame({name: map(str, pair) for name, pair in rows.items()}, index=["here", "paper's code"])
    return table.T.rename_axis("setting")
