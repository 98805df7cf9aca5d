"""Figures of the similarity experiment."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.show.style import COLOURS

ARMS = {
    "steered": COLOURS["matryoshka_batch_top_k"],
    "another latent's pictures": COLOURS["rectified"],
    "random direction": COLOURS["control"],
    "bare model": COLOURS["raw"],
}
TITLES = {"white": "a white page", "pictures": "ordinary pictures"}


def dose(found: Findings) -> Figure:
    """Similarity against strength, a panel per setup, between the two references."""
    table = found.frame("dose")
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 4.2), sharey=True)
    for axis, (setup, title) in zip(axes, TITLES.items(), strict=True):
        for arm, colour in ARMS.items():
            line = table[(table["setup"] == setup) & (table["arm"] == arm)]
            axis.plot(line["alpha"], line["similarity"], marker="o", ms=4, color=colour, label=arm)
            axis.fill_between(line["alpha"], line["low"], line["high"], color=colour, alpha=0.15, lw=0)
        for name in ("correct pairs", "shuffled pairs"):
            height = found.value(f"reference/{name}")
            axis.axhline(height, color="black", lw=1, ls=":")
            axis.text(0.98, height, name, fontsize=9, ha="right", va="bottom", transform=axis.get_yaxis_transform())
        axis.axvline(found.value("alpha"), color="#999999", lw=1, ls="--", zorder=0)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set(title=title, xlabel="strength α")
    axes[0].set_ylabel("cosine of word and pictures")
    figure.legend(*axes[0].get_legend_handles_labels(), ncols=2, fontsize=10, loc="outside upper center", frameon=False)
    return figure


def price(found: Findings) -> Figure:
    """How many of the other answers are right against how close the word comes, along the strengths."""
    table = found.frame("dose")
    figure, axis = plt.subplots(figsize=(6.0, 4.2))
    for arm in ("steered", "random direction", "bare model"):
        line = table[(table["setup"] == "pictures") & (table["arm"] == arm)]
        axis.plot(100 * line["kept"].astype(float), line["similarity"], marker="o", color=ARMS[arm], label=arm)
    axis.set(xlabel="other answers right (%)", ylabel="cosine of word and pictures", xlim=(-3, 103))
    axis.legend(fontsize=10)
    return figure


FIGURES = {"dose": dose, "price": price}
