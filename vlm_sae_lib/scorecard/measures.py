"""What a scorecard measures: each measure's name, what it is in plain words, and which way is better."""

from dataclasses import dataclass
from typing import Literal

from vlm_sae_lib.profiles import PROFILES

Better = Literal["higher", "lower", "neither"]
Over = Literal["pictures", "latents", "concepts", "none"]
ENCODERS = tuple(name for name, _ in PROFILES["pocket"].scoring_towers)
PROBED = (1, 2, 5)
"""Latents that a probe may read."""


@dataclass(frozen=True)
class Measure:
    """One row of a scorecard.

    Attributes:
        name: its key in card.json.
        group: the heading that it stands under.
        better: which way; "neither" is not ranked.
        counted: what a value's ``n`` is a number of.
        over: what the interval is drawn over, of the one training that there is.
    """

    name: str
    group: str
    title: str
    meaning: str
    better: Better
    counted: str = "pictures"
    over: Over = "pictures"


def ms_name(encoder: str, enough: bool) -> str:
    """The key of the mean MS under a scoring encoder, over one of the plan's two populations."""
    return f"ms_{encoder.lower().replace(' ', '_').replace('-', '_')}" + ("_of_10_pictures" if enough else "")


def _monosemanticity() -> list[Measure]:
    found = []
    for encoder in ENCODERS:
        for enough, who in ((False, "every latent whose score is defined"), (True, "latents active on 10 pictures")):
            found.append(Measure(
                ms_name(encoder, enough), "Monosemanticity", f"MS, {encoder}" + (", 10 pictures" if enough else ""),
                f"how alike the pictures are that a latent fires on, as the {encoder} encoder sees them; mean over "
                f"{who}",
                "higher", "latents",
            ))  # fmt: skip
    return found


def _probes() -> list[Measure]:
    return [
        Measure(f"probe_{k}", "What few latents hold", f"probe of {k} latent{'s' * (k > 1)}, F1",
                f"how well a weighted sum of {k} latent{'s' * (k > 1)}, told the truth, says whether a picture shows a "
                "value; mean over the factors", "higher", "values")
        for k in PROBED
    ]  # fmt: skip


def _steering() -> list[Measure]:
    found = []
    for task, done in (("insertion", "named"), ("suppression", "no longer named")):
        found += [
            Measure(f"{task}_success", "Steering", f"{task}, success",
                    f"share of pictures for which the concept is {done} when its latent is pushed", "higher",
                    "concepts", "concepts"),
            Measure(f"{task}_both", "Steering", f"{task}, rest kept",
                    f"share of pictures for which the concept is {done} and every other answer stays right", "higher",
                    "concepts", "concepts"),
        ]  # fmt: skip
    return found


MEASURES: tuple[Measure, ...] = (
    Measure("r2", "Reconstruction", "R²", "share of the activations' variance that it rebuilds", "higher"),
    Measure("l0", "Reconstruction", "L0", "active latents for each activation", "neither"),
    Measure("dead", "Reconstruction", "dead latents", "share of the latents that fire on none of the final pictures",
            "lower", "latents", "none"),
    *_monosemanticity(),
    Measure("recovery_correlation", "Recovery of the known values", "correlation",
            "of a latent and the value that it was matched with one to one; mean over the pairs", "higher", "values"),
    Measure("recovery_found", "Recovery of the known values", "values found",
            "share of the known values whose matched latent correlates above .7", "higher", "values"),
    Measure("recovery_f1", "Recovery of the known values", "F1",
            "how well \"the matched latent fires\" tells \"the picture shows the value\"; mean over the pairs",
            "higher", "values"),
    Measure("absorbed", "Scattering", "absorption",
            "share of a coarse value's pictures on which its latent is silent while the species' own latent fires",
            "lower", "values"),
    Measure("split", "Scattering", "splitting",
            "share of a value's pictures that its best latent misses and its other latents catch", "lower", "values"),
    *_probes(),
    Measure("cause", "Edits", "cause",
            "how often a value is no longer read from a picture when its latents are switched off", "higher", "values"),
    Measure("isolation", "Edits", "isolation", "how often everything else is then still read as before", "higher",
            "values"),
    Measure("stability", "Stability", "stability",
            "cosine of each latent's direction with its match in a second training; mean over the latents", "higher",
            "latents", "latents"),
    *_steering(),
)  # fmt: skip
NAMES = tuple(measure.name for measure in MEASURES)
