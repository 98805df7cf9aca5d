"""Figures of the uniqueness experiment."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.show.style import COLOURS

LINES = {
    "learned": ("learned neurons", COLOURS["matryoshka_batch_top_k"], "-"),
    "random directions": ("random directions, as rare", COLOURS["control"], "--"),
    "equally popular pictures": ("sets of equally popular pictures", COLOURS["rectified"], "--"),
    "blind sets": ("sets dealt blindly", COLOURS["raw"], "--"),
}


def jaccard(found: Findings) -> Figure:
    """Share of pairs whose top pictures overlap by more than a bar; the band is the span of the seeds or dealings."""
    figure, axis = plt.subplots(figsize=(6.4, 4.4))
    table = found.frame("jaccard")
    for what, (label, colour, line) in LINES.items():
        there = table[(table["what"] == what) & (table["share"] > 0)]
        axis.plot(there["above"], there["share"], marker="o", color=colour, ls=line, label=label)
        axis.fill_between(there["above"], there["low"].clip(lower=1e-9), there["high"], color=colour, alpha=0.2)
    axis.set(yscale="log", xlabel="Jaccard similarity of the top-16 pictures above", ylabel="share of all pairs",
             ylim=(table.loc[table["share"] > 0, "share"].min() / 2, None))  # fmt: skip
    axis.legend(fontsize=10)
    return figure


FIGURES = {"jaccard": jaccard}
