"""One look for every figure, and what a reader or a test can check about it."""

import matplotlib.pyplot as plt
import seaborn as sns
from IPython.display import Markdown, display

from vlm_sae_lib.show.tables import use_tables
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
THEME = {
    "#262626": ("ink", "#dfe3e8"),
    "#000000": ("truth", "#ffffff"),
    "#333333": ("bar", "#c3c9d1"),
    "#555555": ("muted", "#aab2bd"),
    "#999999": ("faint", "#7d8792"),
    "#bbbbbb": ("branch", "#59636e"),
    "#cccccc": ("line", "#3b434d"),
    "#ffffff": ("ground", "#121212"),
    "#767676": ("raw", "#a3a9b1"),
    "#e69f00": ("orange", "#f0b429"),
    "#d55e00": ("vermilion", "#f27f33"),
    "#0072b2": ("blue", "#57b0ea"),
    "#009e73": ("green", "#35c79d"),
    "#8c564b": ("brown", "#c79487"),
    "#cc79a7": ("purple", "#e09cc2"),
}
"""Colours that a page may change: how its variable is called, and what it is in the dark."""


def use_style() -> None:
    """Set the book's figure style: white, sans serif, sizes that are legible on a phone.

    In a notebook each figure also says from now on what of it may be published (``tiles``), and tables are whole
    (``tables``).
    """
    mark_figures()
    use_tables()
    sns.set_theme(style="whitegrid", context="notebook", font="DejaVu Sans")
    plt.rcParams.update({
        "figure.dpi": 110, "savefig.dpi": 110, "figure.constrained_layout.use": True, "axes.titleweight": "bold",
        "axes.titlesize": 12, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "vlm-sae",
        "axes.edgecolor": "#cccccc", "grid.color": "#cccccc", "grid.linewidth": 0.8,
        "axes.prop_cycle": plt.cycler(color=list(dict.fromkeys(COLOURS.values()))),
    })  # fmt: skip


def tell(text: str) -> None:
    """Show a sentence whose numbers come from the run (an f-string in Markdown)."""
    display(Markdown(text))
