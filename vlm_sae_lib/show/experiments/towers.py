"""Figures of the experiment on other towers and encoders."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.show.style import COLOURS

KINDS = {
    "raw": (COLOURS["raw"], "raw neurons"),
    "rectified, cut": (COLOURS["rectified, cut"], "rectified, as sparse"),
    "random for Matryoshka ×4": (COLOURS["control"], "random directions"),
    "a frozen decoder ×4": (COLOURS["frozen decoder"], "a frozen decoder ×4"),
    "BatchTopK ×4": (COLOURS["batch_top_k"], "BatchTopK ×4"),
    "Matryoshka ×4": (COLOURS["matryoshka_batch_top_k"], "Matryoshka ×4"),
}


def means(found: Findings) -> Figure:
    """Mean MS over all neurons that have one, with its interval, by tower, hook point and encoder."""
    table = found.frame("means")
    table = table[table["population"] == ""]
    wheres = list(dict.fromkeys(table["where"]))
    figure, axis = plt.subplots(figsize=(6.2, 0.62 * len(wheres) + 1.6))
    for step, (what, (colour, label)) in enumerate(KINDS.items()):
        rows = table[table["what"] == what].set_index("where").loc[wheres]
        _dots(axis, step, rows["mean"], rows["low"], rows["high"], colour, label)
    _finish(axis, wheres, "mean MS")
    return figure


def agreement(found: Findings) -> Figure:
    """Spearman's ρ of two encoders' scores, by tower and hook point."""
    names = [name for name in found.results if "/rank agreement of " in name and "the truth" not in name]
    wheres = list(dict.fromkeys(name.rpartition("/")[0] for name in names))
    figure, axis = plt.subplots(figsize=(6.2, 0.75 * len(wheres) + 1.6))
    for step, (what, (colour, label)) in enumerate(KINDS.items()):
        rows = [found.results[f"{where}/{what}"] for where in wheres]
        value, low, high = (np.array([row[key] for row in rows], dtype=float) for key in ("value", "ci_low", "ci_high"))
        _dots(axis, step, value, low, high, colour, label)
    _finish(axis, [where.replace("rank agreement of ", "") for where in wheres], "Spearman's ρ between the encoders")
    return figure


def _dots(axis, step: int, value, low, high, colour: str, label: str) -> None:
    y = np.arange(len(value)) + (step - (len(KINDS) - 1) / 2) * 0.15
    value, low, high = (np.asarray(side, dtype=float) for side in (value, low, high))
    errors = np.clip(np.stack([value - low, high - value]), 0, None)
    axis.errorbar(value, y, xerr=errors, fmt="o", markersize=4.5, color=colour, label=label)


def _finish(axis, wheres: list[str], label: str) -> None:
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(range(len(wheres)), [_lines(where) for where in wheres], fontsize=9)
    axis.invert_yaxis()
    axis.set_xlabel(label)
    axis.legend(loc="lower center", bbox_to_anchor=(0.3, 1.0), ncols=2, fontsize=9, frameon=False)


def _lines(where: str) -> str:
    """``first CLIP, projection`` on one line, the encoder below."""
    tower, hook_point, encoder = where.split("/")
    return f"{tower}, {hook_point}\n{encoder}" if " and " in encoder else f"{tower}, {hook_point}\nby {encoder}"


FIGURES = {"means": means, "agreement": agreement}
