"""Figures of the captioning experiment."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.show.style import COLOURS

CONDITIONS = ("clean", "noise", "dark", "occluded")
NAMES = {
    "reconstruction": COLOURS["raw"],
    "amplify": COLOURS["batch_top_k"],
    "suppress": COLOURS["rectified"],
    "shift back": COLOURS["rectified, cut"],
    "best edit": COLOURS["matryoshka_batch_top_k"],
    "random latents": COLOURS["control"],
}


def gains(found: Findings) -> Figure:
    """Change of the share of captions with every slot right: on test pictures, and (hollow) where it was chosen."""
    figure, axis = plt.subplots(figsize=(6.2, 6.4))
    labelled = set()
    for i, condition in enumerate(CONDITIONS):
        for j, (name, colour) in enumerate(NAMES.items()):
            if f"{condition}/gain, all slots right/{name}" not in found.results:
                continue
            row = found.results[f"{condition}/gain, all slots right/{name}"]
            y = i * (len(NAMES) + 1) + j
            value, low, high = (100 * row[key] for key in ("value", "ci_low", "ci_high"))
            label = None if name in labelled else name
            labelled.add(name)
            error = [[max(value - low, 0)], [max(high - value, 0)]]
            axis.errorbar(value, y, xerr=error, marker="o", ms=6, lw=1.5, color=colour, label=label)
            if name != "reconstruction":  # of which there is one, so that nothing was chosen
                chosen = 100 * found.value(f"{condition}/gain where chosen, all slots right/{name}")
                axis.plot(chosen, y, marker="o", ms=7, mfc="none", color=colour)
    axis.axvline(0, color="black", lw=1)
    axis.set_yticks(np.arange(len(CONDITIONS)) * (len(NAMES) + 1) + 2.5, CONDITIONS)
    axis.set_xlabel("change in captions with every slot right\n(percentage points)")
    axis.invert_yaxis()
    axis.grid(False, axis="y")
    figure.legend(*axis.get_legend_handles_labels(), ncols=3, fontsize=10, loc="outside upper center", frameon=False)
    return figure


FIGURES = {"gains": gains}
