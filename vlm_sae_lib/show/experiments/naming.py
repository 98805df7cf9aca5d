"""Figures of the naming experiment."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.pictures import load_pictures
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.show.style import COLOURS
from vlm_sae_lib.show.tiles import draw_picture

METHODS = {
    "its top pictures": (COLOURS["matryoshka_batch_top_k"], "o"),
    "its top pictures, centred": (COLOURS["batch_top_k"], "s"),
    "its decoder direction": (COLOURS["rectified, cut"], "D"),
}
CONTROLS = {
    "": ("the latent's own name", COLOURS["matryoshka_batch_top_k"]),
    "/named blindly": ("named blindly", COLOURS["rectified"]),
    "/shuffled names": ("another latent's name", COLOURS["control"]),
    "/names of equal firing rate": ("name of one as rare", COLOURS["raw"]),
}


def right(found: Findings) -> Figure:
    """Share of latents whose name is true of most of their top pictures, by SAE and method, with the controls."""
    measure = "/most top pictures have it"
    cases = [name.removesuffix(measure) for name in found.results if name.endswith(measure)]
    figure, axis = plt.subplots(figsize=(6.2, 0.55 * len(cases) + 1.6))
    for step, (suffix, (label, colour)) in enumerate(CONTROLS.items()):
        rows = [found.results[f"{case}{measure}{suffix}"] for case in cases]
        value, low, high = (np.array([row[key] for row in rows], dtype=float) for key in ("value", "ci_low", "ci_high"))
        y = np.arange(len(rows)) + (step - 1.5) * 0.16
        errors = np.clip([value - low, high - value], 0, None)
        axis.errorbar(value, y, xerr=errors, fmt="o", markersize=4.5, color=colour, label=label)
    axis.set_yticks(range(len(cases)), [case.replace("/", "\n") for case in cases], fontsize=9)
    axis.invert_yaxis()
    axis.set_xlabel("latents whose name fits most top pictures")
    axis.legend(loc="lower center", bbox_to_anchor=(0.25, 1.0), ncols=2, fontsize=9, frameon=False)
    return figure


def calibration(found: Findings) -> Figure:
    """How often names are true, by the confidence they are given with; perfect confidence lies on the diagonal."""
    table = found.frame("calibration")
    figure, axis = plt.subplots(figsize=(6.2, 4.4))
    axis.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    for method, (colour, marker) in METHODS.items():
        part = table[table["method"] == method].astype({"right": float, "low": float, "high": float})
        errors = np.nan_to_num([part["right"] - part["low"], part["high"] - part["right"]])
        axis.errorbar(part["confidence"], part["right"], yerr=errors, marker=marker, color=colour, label=method)
    axis.set(xlabel="mean stated confidence", ylabel="share of names that are true", ylim=(0, 1.03), xlim=(0, 1))
    axis.legend(fontsize=9, loc="lower right")
    return figure


def ranks(found: Findings) -> Figure:
    """By what the name is about: how often it is true, and how many latents got such a name."""
    table = found.frame("ranks")
    table = table[table["latents"] > 0].astype({"right": float, "low": float, "high": float})
    figure, axis = plt.subplots(figsize=(6.2, 4.4))
    y, value = np.arange(len(table)), table["right"]
    errors = np.nan_to_num([value - table["low"], table["high"] - value])
    axis.errorbar(
        value, y, xerr=errors, fmt="o", color=COLOURS["matryoshka_batch_top_k"], label="true of most pictures"
    )
    axis.plot(table["base rate"], y, "x", color=COLOURS["control"], label="base rate of the value")
    axis.set_yticks(y, [f"{about} ({n})" for about, n in zip(table["about"], table["latents"], strict=True)])
    axis.invert_yaxis()
    axis.set(xlabel="share", xlim=(-0.02, 1.03))
    axis.legend(fontsize=9, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2, frameon=False)
    return figure


def examples(found: Findings) -> Figure:
    """Latents of the shipped SAE with their names, from the surest to the least sure, and their top test pictures."""
    table = found.frame("examples")
    table = table.iloc[np.linspace(0, len(table) - 1, 7).round().astype(int)]
    pictures = load_pictures(load_profile(found.profile).test_pictures)
    figure, axes = plt.subplots(len(table), 5, figsize=(6.2, 1.05 * len(table)), width_ratios=(2.6, 1, 1, 1, 1))
    for row, named in zip(axes, table.to_dict("records"), strict=True):
        said = f"{named['about']}; {named['confidence']:.2f} sure, {round(16 * named['precision'])} of 16"
        lines = [named["name"], said, f"latent {named['latent']} of {named['sae'][:6]}"]
        row[0].text(0, 0.5, "\n".join(lines), fontsize=9, va="center")
        for axis, picture in zip(row[1:], named["top pictures"], strict=True):
            draw_picture(axis, pictures.picture(picture), 1.0)
        for axis in row:
            axis.axis("off")
    return figure


FIGURES = {"right": right, "examples": examples, "calibration": calibration, "ranks": ranks}
