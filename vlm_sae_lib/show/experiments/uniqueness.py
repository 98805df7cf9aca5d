"""Figures of the uniqueness experiment."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from vlm_sae_lib.experiments.findings import Findings


def jaccard(found: Findings) -> Figure:
    """Share of pairs whose top pictures overlap by more than a bar, per SAE."""
    figure, axis = plt.subplots(figsize=(6.4, 3.8))
    for name, part in found.frame("jaccard").groupby("sae", sort=False):
        there = part[part["share"] > 0]
        axis.plot(there["above"], there["share"], marker="o", label=name)
    axis.set(yscale="log", xlabel="Jaccard similarity of the top-16 pictures above", ylabel="share of all pairs")
    axis.legend()
    return figure


FIGURES = {"jaccard": jaccard}
