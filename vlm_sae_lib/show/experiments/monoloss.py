"""Figures of training for the score."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.show.style import COLOURS

KINDS = {"batch_top_k": "BatchTopK", "matryoshka_batch_top_k": "Matryoshka"}
OWN = "own inputs"
LAST = (f"{OWN} with zeros", "species purity", "class purity")
"""Rows of the gains below the scores."""
FAR = 0.05
"""R² lost, from which on a λ is only named."""


def frontier(found: Findings) -> Figure:
    """MS against R²: the line of plain SAEs over K, and the SAEs trained for the score."""
    frame = found.frame("frontier")
    places = list(frame["place"].unique())
    scores = [OWN] + [
        name for name in frame if f"{name}, low" in frame and name not in (OWN, *LAST) and "purity" not in name
    ]
    figure, axes = plt.subplots(len(scores), len(places), figsize=(6.4, 2.5 * len(scores)), sharex="col", squeeze=False)
    for row, score in zip(axes, scores, strict=True):
        for axis, place in zip(row, places, strict=True):
            for kind, label in KINDS.items():
                part = frame[(frame["place"] == place) & (frame["kind"] == kind)]
                _draw(axis, part, score, kind, label)
            axis.locator_params(nbins=4)
            axis.set_title(f"{place}\n{score}" if score is scores[0] else score, fontsize=11)
    for axis in axes[-1]:
        axis.set_xlabel("R²")
    for axis in axes[:, 0]:
        axis.set_ylabel("mean MS")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=10)
    return figure


def _draw(axis, part, score: str, kind: str, label: str) -> None:
    plain = part[~part["loss"]].sort_values("R²")
    trained = part[part["loss"]]
    for rows, style, word in ((plain, "o-", "over K"), (trained, "*", "with the loss")):
        errors = np.abs(rows[[f"{score}, low", f"{score}, high"]].to_numpy().T - rows[score].to_numpy())
        size = 13 if style == "*" else 4
        axis.errorbar(
            rows["R²"], rows[score], errors, fmt=style, color=COLOURS[kind], markersize=size, capsize=2, lw=1.2,
            label=f"{label}, {word}",
        )  # fmt: skip


def gain(found: Findings) -> Figure:
    """Gain at equal R² under each score, with intervals."""
    names = [name for name in found.results if name.endswith("/gain at equal R²") and ENOUGH not in name]
    scores = sorted({name.split("/")[2] for name in names if "weighted" not in name})
    scores = [OWN] + [score for score in scores if score not in (OWN, *LAST)] + list(LAST)
    saes = sorted({"/".join(name.split("/")[:2]) for name in names}, reverse=True)
    figure, axis = plt.subplots(figsize=(6.4, 1.2 + 0.75 * len(scores)))
    for offset, sae in zip(np.linspace(-0.27, 0.27, len(saes)), saes, strict=True):
        place, kind = sae.split("/")
        rows = [found.results[f"{sae}/{score}/gain at equal R²"] for score in scores]
        value, low, high = (
            np.array([np.nan if row[key] is None else row[key] for row in rows])
            for key in ("value", "ci_low", "ci_high")
        )
        marker = "o" if place == "projection" else "s"
        errors = np.nan_to_num(np.clip([value - low, high - value], 0, None))
        axis.errorbar(
            value, np.arange(len(scores)) + offset, xerr=errors, fmt=marker, color=COLOURS[kind], markersize=5,
            capsize=2, label=f"{KINDS[kind]}, {place}",
        )  # fmt: skip
    axis.axvline(0, color="0.3", lw=1)
    axis.set_yticks(range(len(scores)), scores, fontsize=10)
    axis.invert_yaxis()
    axis.set_xlabel("gain at the same R²")
    figure.legend(loc="outside lower center", ncols=2, fontsize=10)
    return figure


def coefficients(found: Findings) -> Figure:
    """The λ that were tried, on the choosing pictures: the trained score against R²; those far off are only named."""
    frame = found.frame("tried")
    places = list(frame["place"].unique())
    figure, axes = plt.subplots(1, len(places), figsize=(6.4, 4.4), squeeze=False)
    for axis, place in zip(axes[0], places, strict=True):
        outside = []
        for kind, label in KINDS.items():
            part = frame[(frame["place"] == place) & (frame["kind"] == kind)].sort_values("coefficient")
            near = part["r2"] > part["r2"].max() - FAR
            outside += [f"{value:g} ({label})" for value in part["coefficient"][~near]]
            axis.plot(part["r2"][near], part["own"][near], "o-", color=COLOURS[kind], markersize=4, label=label)
            for row in part[near].itertuples():
                axis.annotate(f"{row.coefficient:g}", (row.r2, row.own), (3, 4), textcoords="offset points", fontsize=9)
        axis.locator_params(nbins=4)
        axis.margins(0.15)
        axis.set(title=place, xlabel="R²" + ("\nfurther left: " + ",\n".join(outside) if outside else ""))
    axes[0, 0].set_ylabel(f"MS by the {OWN}")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=10)
    return figure


FIGURES = {"frontier": frontier, "gain": gain, "coefficients": coefficients}
