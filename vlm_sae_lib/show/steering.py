"""Figures and tables of steering: what is said at each strength, how often a concept takes, and at what price."""

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure
from PIL import Image

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.show.numbers import number, with_interval
from vlm_sae_lib.show.style import COLOURS
from vlm_sae_lib.show.tiles import draw_picture
from vlm_sae_lib.show.verdicts import yes
from vlm_sae_lib.steering.experiment import BARE_SAE, METHODS, RANDOM_DIRECTION, RANDOM_LATENT, STEERED

METHOD_COLOURS = {
    STEERED: COLOURS["matryoshka_batch_top_k"],
    BARE_SAE: COLOURS["raw"],
    RANDOM_LATENT: COLOURS["rectified"],
    RANDOM_DIRECTION: COLOURS["control"],
}
WIDTH = 6.4  # inches: the book's column


def caption_ladder(rows: Sequence[tuple[Image.Image, str, Sequence[tuple[str, str]]]]) -> Figure:
    """Pictures, each with what is said about it at rising strengths.

    rows: (picture, its title, lines of (strength in words, caption)); long captions are cut after three lines.
    Raises: UserError for no row, or a row without a line.
    """
    if not rows or not all(lines for _, _, lines in rows):
        raise UserError("A ladder of captions needs at least one picture, and each picture at least one caption.")
    blocks = [
        [(strength, textwrap.wrap(caption, 52, max_lines=3, placeholder=" …") or ["(says nothing)"])
         for strength, caption in lines]
        for _, _, lines in rows
    ]  # fmt: skip
    heights = [max(1.6, 0.35 + sum(0.07 + 0.19 * len(text) for _, text in block)) for block in blocks]
    figure = plt.figure(figsize=(WIDTH, sum(heights)), layout="none")
    top = 1.0
    for (picture, title, _), block, height in zip(rows, blocks, heights, strict=True):
        share = height / sum(heights)
        side = 1.3
        place = (0.01, top - (0.25 + side) / sum(heights), side / WIDTH, side / sum(heights))
        axis = figure.add_axes(place)
        draw_picture(axis, picture, side, interpolation="none")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set(visible=True, color="#999999")
        y = top - 0.16 / sum(heights)
        figure.text(0.01, y, title, fontsize=11, fontweight="bold", va="center")
        for strength, text in block:
            y -= 0.26 / sum(heights)
            figure.text(0.24, y, strength, fontsize=9.5, fontweight="bold", va="center")
            for i, line in enumerate(text):
                figure.text(0.40, y, line, fontsize=9.5, va="center")
                y -= 0.19 / sum(heights) if i < len(text) - 1 else 0
        top -= share
    return figure


def dose_curves(doses: pd.DataFrame, outcomes: Sequence[str] = ("success", "rest")) -> Figure:
    """Rates against strength, one panel per outcome, one line per method, with 95 % bands where there are any.

    doses: columns method, multiple (of the latent's maximum), outcome, rate, low, high.
    """
    titles = {"success": "the concept is named", "rest": "the other answers are right", "both": "both"}
    figure, axes = plt.subplots(1, len(outcomes), figsize=(WIDTH, 3.4), sharey=True, squeeze=False)
    for axis, outcome in zip(axes[0], outcomes, strict=True):
        for method, line in doses[doses["outcome"] == outcome].groupby("method", sort=False):
            line = line.sort_values("multiple")
            colour = METHOD_COLOURS.get(method, "black")
            axis.plot(line["multiple"], 100 * line["rate"], marker="o", ms=4, lw=2, color=colour, label=method)
            axis.fill_between(line["multiple"], 100 * line["low"], 100 * line["high"], color=colour, alpha=0.15, lw=0)
        if not np.isfinite(doses.loc[doses["outcome"] == outcome, "rate"]).any():  # a log axis needs something to show
            axis.set_xlim(doses["multiple"].min() / 2, doses["multiple"].max() * 2)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set(title=titles.get(outcome, outcome), xlabel="strength (× maximum)", ylim=(-2, 102))
    axes[0, 0].set_ylabel("% of answers")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), ncols=3, fontsize=10, loc="outside upper center", frameon=False
    )
    return figure


def rate_bars(rates: pd.DataFrame, outcome: str = "success", x_label: str = "% of answers") -> Figure:
    """One group of bars per kind of concept, a bar per method, with 95 % intervals. rates: as of ``by_about``."""
    part = rates[rates["outcome"] == outcome]
    groups, methods = list(dict.fromkeys(part["about"])), [m for m in METHODS if m in set(part["method"])]
    figure, axis = plt.subplots(figsize=(WIDTH, 0.6 + 0.2 * len(groups) * (len(methods) + 1)))
    for j, method in enumerate(methods):
        row = part[part["method"] == method].set_index("about").reindex(groups)
        y = np.arange(len(groups)) * (len(methods) + 1) + j
        rate, low, high = (100 * row[c].to_numpy(float) for c in ("rate", "low", "high"))
        error = np.nan_to_num(np.clip([rate - low, high - rate], 0, None))
        colour = METHOD_COLOURS[method]
        axis.barh(
            y, rate, height=0.9, color=colour, label=method, xerr=error, error_kw={"lw": 1.2, "ecolor": "#333333"}
        )
    middles = np.arange(len(groups)) * (len(methods) + 1) + (len(methods) - 1) / 2
    axis.set_yticks(middles, [f"{g}\n({_counted(_concepts(part, g))})" for g in groups])
    axis.set(xlabel=x_label, xlim=(0, 100))
    axis.invert_yaxis()
    axis.grid(False, axis="y")
    figure.legend(
        *axis.get_legend_handles_labels(), ncols=4, fontsize=9.5, loc="outside upper center", frameon=False,
        columnspacing=1.0, handlelength=1.2,
    )  # fmt: skip
    return figure


def trade_off(concepts: pd.DataFrame, methods: Sequence[str] = (RANDOM_DIRECTION, RANDOM_LATENT, STEERED)) -> Figure:
    """A dot per concept and method: rest of the answers right against concept named; a cross at each mean.

    concepts: as of ``rates.by_concept``; concepts without a rest are left out.
    """
    figure, axis = plt.subplots(figsize=(5.6, 4.6))
    for method in methods:
        part = concepts[concepts["method"] == method].dropna(subset=["success", "rest"])
        x, y, colour = 100 * part["rest"], 100 * part["success"], METHOD_COLOURS[method]
        axis.scatter(x, y, s=26, alpha=0.6, lw=0, color=colour, label=method)
        axis.scatter(x.mean(), y.mean(), s=170, marker="P", color=colour, edgecolor="black", lw=1.2, zorder=3)
    axis.set(
        xlabel="the other answers are right (%)", ylabel="the concept is named (%)", xlim=(-3, 103), ylim=(-3, 103)
    )
    figure.legend(
        *axis.get_legend_handles_labels(), ncols=3, fontsize=10, loc="outside upper center", frameon=False,
        columnspacing=1.0, handletextpad=0.2,
    )  # fmt: skip
    return figure


def rate_table(rates: pd.DataFrame, outcome: str = "success", digits: int = 2) -> pd.DataFrame:
    """Rates in words, a row per kind of concept, a column per method. rates: as of ``by_about``."""
    part = rates[rates["outcome"] == outcome]
    order = [m for m in METHODS if m in set(part["method"])]
    intervals = part[["rate", "low", "high"]].to_numpy(float)
    cells = part.assign(cell=[with_interval(rate, low, high, digits) for rate, low, high in intervals])
    table = cells.pivot(index="about", columns="method", values="cell").reindex(part["about"].unique())[order]
    table.insert(0, "concepts", [_concepts(part, about) for about in table.index])
    return table.rename_axis(index="kind of concept", columns=None)


def similarity_table(similarities: Mapping[str, pd.DataFrame], digits: int = 3) -> pd.DataFrame:
    """Similarities in words, a row per method, a column for each of what was looked at.

    similarities: as of ``similarity_by_method``, by what was looked at.
    """
    cells = {
        title: [
            with_interval(mean, low, high, digits)
            for mean, low, high in table[["similarity", "low", "high"]].to_numpy(float)
        ]
        for title, table in similarities.items()
    }
    methods = next(iter(similarities.values())).index if similarities else []
    return pd.DataFrame(cells, index=methods).rename_axis(index="word of")


def ratio_words(ratio: Mapping[str, float | str], digits: int = 1) -> str:
    """``4.7 [3.9, 5.6] times the best control (random latent)``; ratio: as of ``rates.times_best_control``."""
    value, low, high = (_times(float(ratio[key]), digits) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}] times the best control ({ratio['best_control']})"


def at_least(ratio: Mapping[str, float | str], bar: float) -> str:
    """Whether a ratio reaches a bar, in the plan's words, where its whole interval decides; else ``undecided``."""
    low, high = float(ratio["low"]), float(ratio["high"])
    return "holds" if low >= bar else "does not hold" if high < bar else "undecided"


def _times(value: float, digits: int) -> str:
    return "∞" if np.isinf(value) else number(value, digits)


def _concepts(part: pd.DataFrame, about: str) -> int:
    return int(part.loc[part["about"] == about, "concepts"].max())


def _counted(concepts: int) -> str:
    return f"{concepts} concept{'' if concepts == 1 else 's'}"


def ladder_table(rows: Sequence[tuple[Image.Image, str, Sequence[tuple[str, str]]]]) -> pd.DataFrame:
    """What ``caption_ladder`` draws, a row per caption."""
    told = [(title, strength, caption) for _, title, lines in rows for strength, caption in lines]
    return pd.DataFrame(told, columns=["picture", "strength", "caption"])


def ratio_table(ratios: Mapping[str, Mapping[str, float | str]], bar: float, digits: int = 1) -> pd.DataFrame:
    """How many times the best control, a row per kind of concept, and whether a bar is reached."""
    rows = {
        kind: {
            "times the best control": ratio_words(ratio, digits).split(" times")[0],
            "best control": ratio["best_control"], f"at least {bar} times": at_least(ratio, bar),
        }
        for kind, ratio in ratios.items()
    }  # fmt: skip
    return pd.DataFrame(rows).T.rename_axis("kind of concept")


def overall(rates: pd.DataFrame) -> pd.Series:
    """The rate over all concepts by method and outcome. rates: as of ``by_about``."""
    return rates[rates["about"] == "all"].set_index(["method", "outcome"])["rate"]


def parts_table(rates: pd.DataFrame) -> pd.DataFrame:
    """The parts of a suppression over all concepts: gone, the rest right, and both, a column each."""
    everything = rates[rates["about"] == "all"]
    words = {"success": "concept gone", "rest": "rest right", "both": "both"}
    parts = {word: rate_table(everything, outcome).drop(columns="concepts").iloc[0] for outcome, word in words.items()}
    return pd.DataFrame(parts).rename_axis("all concepts")


def dose_sentences(doses: pd.DataFrame, insertion: pd.DataFrame, about: str) -> Markdown:
    """What the dose does, in words that do not hang on the last digit.

    Args:
        doses: rates over all concepts (``by_about``), with the column ``multiple``.
        insertion: the rates of the settings chosen by trial.
        about: the kind of concept that both are compared on.
    """
    rate = doses.set_index(["method", "outcome", "multiple"])["rate"]["steered"]
    multiples = list(rate["success"].index)
    low, more = multiples[0], multiples[len(multiples) // 2]
    mine = (insertion["about"] == about) & (insertion["outcome"] == "success") & (insertion["method"] == STEERED)
    by_trial = insertion.loc[mine, "rate"].iloc[0]
    rises = rate["success"][more] > rate["success"][low]
    return Markdown(
        f"The rest falls with each step of strength: {yes(rate['rest'].is_monotonic_decreasing)}. Success at {more:g}× "
        f"exceeds success at {low:g}×: {yes(rises)}. The best detectors, each at the same "
        f"strength, succeed as often as the settings chosen by trial: {yes(rate['success'].max() >= by_trial)}."
    )


def best_writers(scores: pd.DataFrame, trial: str, number: int) -> pd.DataFrame:
    """The steered settings that succeeded best on the choosing pictures, in turn of each kind of concept.

    Args:
        scores: of a study, a row per setting.
        trial: the kind that comes first of equals.
        number: how many, each of another latent.
    """
    chosen = scores[scores["method"] == STEERED].sort_values("choosing_rate", ascending=False, kind="stable")
    chosen = chosen.assign(place=chosen.groupby("about").cumcount(), other=chosen["about"] != trial)
    return chosen.sort_values(["place", "other"], kind="stable").drop_duplicates("latent").head(number)
