"""What the captioning experiment says."""

from vlm_sae_lib.claims.verdict import Conclusion, Verdict, clearly_above, said
from vlm_sae_lib.records.results import Results

CONDITIONS = ("clean", "noise", "dark", "occluded")
GAIN, BEST, RANDOM = "gain, all slots right", "best of all", "random latents"
CEILING = 0.98


def conclude(found: Results) -> list[Conclusion]:
    """Whether captions gain, whether that is the latents' doing, how much was luck of choice, and the 12.7 %."""
    gains = [f"{c}/{GAIN}/{BEST}" for c in CONDITIONS]
    control = [f"{c}/{GAIN}/{RANDOM}" for c in CONDITIONS]
    before = [f"{c}/gain where chosen, all slots right/{BEST}" for c in CONDITIONS]
    relative = [f"{c}/relative change, all slots right/{BEST}" for c in CONDITIONS]
    bare = "clean/all slots right/bare model"
    beyond = [clearly_above(found, g, found.results[r]["value"]) for g, r in zip(gains, control, strict=True)]
    told = found.results[relative[0]]["paper_value"]
    at_ceiling = found.results[bare]["value"] >= CEILING
    return [
        Conclusion(
            "Some intervention on latents raises the accuracy of captions of clean pictures.",
            Verdict.UNTESTED if at_ceiling else Verdict.of(clearly_above(found, gains[0])),
            f"{said(found, bare)} of the captions are right without any intervention"
            + (", so there is next to nothing to gain" if at_ceiling else "")
            + f"; the best intervention changes that by {said(found, gains[0], 3)}.",
            (bare, gains[0]),
        ),
        Conclusion(
            "Some intervention on latents raises the accuracy of captions of degraded pictures.",
            Verdict.of(*(clearly_above(found, name) for name in gains[1:])),
            f"Captions with every slot right change by {_listed(found, gains[1:])}.",
            tuple(gains[1:]),
        ),
        Conclusion(
            "What is gained is the work of these latents: latents drawn at random gain less.",
            Verdict.of(*beyond[1:]),
            f"The best of as many interventions on random latents changes them by {_listed(found, control[1:])}.",
            (*gains[1:], *control[1:]),
        ),
        Conclusion(
            "The gain on the pictures on which the intervention was chosen is the gain on others.",
            Verdict.of(*(_agrees(found, b, g) for b, g in zip(before[1:], gains[1:], strict=True))),
            f"Where it was chosen the change was {_listed(found, before[1:])}.",
            (*before[1:], *gains[1:]),
        ),
        Conclusion(
            f"Intervening on SAE latents improves captioning accuracy by {100 * told:g} %.",
            Verdict.of(*(clearly_above(found, name, told) for name in relative)),
            "No version of the paper has such an experiment; the sentence stands in summaries only. Here the relative "
            f"change is {_listed(found, relative)}.",
            tuple(relative),
        ),
    ]


def _agrees(found: Results, chosen: str, test: str) -> bool:
    """The gain where it was chosen lies in the interval of the gain on other pictures."""
    row = found.results[test]
    return row["ci_low"] <= found.results[chosen]["value"] <= row["ci_high"]


def _listed(found: Results, names: list[str]) -> str:
    return ", ".join(f"{said(found, name)} ({name.split('/')[0]})" for name in names)
