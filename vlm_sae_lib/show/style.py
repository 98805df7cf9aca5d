"""One look for every figure, and what a reader or a test can check about it."""

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from IPython.display import Markdown, display

from vlm_sae_lib.show.tiles import mark_figures

# Colour-blind safe (Okabe and Ito); the same thing has the same colour in every figure of the book.
COLOURS = {
    "raw": "#767676",
    "rectified": "#E69F00",
    "rectified, cut": "#D55E00",
    "batch_top_k": "#0072B2",
    "matryoshka_batch_top_k": "#009E73",
    "frozen decoder": "#8C564B",
    "control": "#CC79A7",
    "truth": "#000000",
}
LABELS = {
    "raw": "raw neurons",
    "rectified": "rectified raw neurons",
    "rectified, cut": "rectified raw neurons, cut to the SAE's L0",
    "batch_top_k": "BatchTopK SAE",
    "matryoshka_batch_top_k": "Matryoshka SAE",
    "frozen decoder": "SAE with a frozen decoder",
    "control": "control",
    "truth": "truth",
}


def use_style() -> None:
    """Set the book's figure style: white, sans serif, sizes that are legible on a phone, PNG at two times.

    In a notebook each figure also says from now on what of it may be published (``tiles``).
    """
    mark_figures()
    sns.set_theme(style="whitegrid", context="notebook", font="DejaVu Sans")
    plt.rcParams.update({
        "figure.dpi": 110, "savefig.dpi": 110, "figure.constrained_layout.use": True, "axes.titleweight": "bold",
        "axes.titlesize": 12, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "vlm-sae",
    })  # fmt: skip


def digest(name: str, values: Any) -> None:
    """Print what was plotted in three significant digits: notebook tests compare text, not pictures."""
    values = np.asarray(values, dtype=float)
    finite = values[np.isfinite(values)]
    if not len(finite):
        print(f"{name}: n = 0")  # noqa: T201
        return
    low, middle, high = (f"{v:.3g}" for v in (finite.min(), np.median(finite), finite.max()))
    print(f"{name}: n = {len(finite)}, min {low}, median {middle}, max {high}")  # noqa: T201


def tell(text: str) -> None:
    """Show a sentence whose numbers come from the run (an f-string in Markdown)."""
    display(Markdown(text))


def number(value: float | None, digits: int = 3) -> str:
    """A number for a sentence or table; a dash where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.{digits}f}"


def with_interval(value: float, low: float | None, high: float | None, digits: int = 3) -> str:
    """``0.52 [0.49, 0.55]``."""
    if low is None or high is None or math.isnan(low):
        return number(value, digits)
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"
