"""What the hierarchy experiment shows beside the effect that the plan names."""

from itertools import pairwise

from vlm_sae_lib.claims.verdict import Observation, clearly_above, said
from vlm_sae_lib.records.results import Results

READINGS = {"rounded_mean": "rounded mean", "mean": "mean", "mode": "most frequent depth"}
SORTED = "BatchTopK, sorted by frequency"
PLANNED = "slope beyond latents that fire as often"


def observe(found: Results) -> list[Observation]:
    """The rise as it is, what sorting by frequency leaves of it, single steps, readings, one training, and MS."""
    steps = [name for name in found.results if name.startswith("step/") and found.value(name) is not None]
    theirs = _rising([found.results[name]["paper_value"] for name in _levels(found)])
    chance = ("slope/train/mean/levels dealt at random", "slope/train/mean/shuffled taxonomy")
    gross, beyond, sorted_ = "effect/slope", "effect/slope beyond sorting by frequency", f"slope/train/mean/{SORTED}"
    alone = [f"shipped/{name}" for name in ("slope", PLANNED)]
    readings = [f"slope/{split}/{by}" for split in ("train", "test") for by in READINGS]
    return [
        Observation(
            "How much deeper do latents lie from level to level, nothing taken off?",
            f"{said(found, gross)} ranks per level, with sixteen train pictures (n = {_n(found, gross)} latents of all "
            f"trainings). Levels dealt out at random give {said(found, chance[0])}, a shuffled tree "
            f"{said(found, chance[1])}.",
            (gross, *chance),
        ),
        Observation(
            "And beyond a plain autoencoder whose latents are merely sorted by how often they fire?",
            f"Its groups rise by {said(found, sorted_)} ranks each; the difference of the two, seed by seed, is "
            f"{said(found, beyond)}.",
            (beyond, sorted_),
        ),
        Observation(
            "Does depth rise from every level to the next, by the paper's own statistic?",
            f"{sum(found.value(name) > 0 for name in steps)} of {len(steps)} steps of the rounded means go up, "
            f"{sum(clearly_above(found, name) for name in steps)} of them with the whole interval: "
            + ", ".join(said(found, name) for name in steps)
            + f" ranks. Of the paper's, which have no intervals, {sum(theirs)} of {len(theirs)} go up.",
            tuple(steps),
        ),
        Observation(
            "Does it matter how the pairs are summed up, or which pictures are looked at?",
            ", ".join(READINGS.values()) + ", on training pictures: "
            + ", ".join(said(found, name) for name in readings[:3])
            + " ranks per level; on test pictures: "
            + ", ".join(said(found, name) for name in readings[3:])
            + ".",
            tuple(readings),
        ),
        Observation(
            "What do the two autoencoders of the notebook give, one training of each?",
            f"{said(found, alone[0])} ranks per level, and {said(found, alone[1])} beyond latents that fire as often "
            f"(n = {_n(found, alone[1])} latents; these intervals are over latents, and say nothing about training "
            "once more).",
            tuple(alone),
        ),
        *_monosemanticity(found),
    ]  # fmt: skip


def _monosemanticity(found: Results) -> list[Observation]:
    names = [name for name in found.results if name.startswith("MS slope/") and name.count("/") == 1]
    slopes = [name for name in names if not name.endswith("pictures")]
    lines, rests = [], []
    for name in slopes:
        plain, beyond = f"{name}/{SORTED}", f"{name}/beyond frequency"
        encoder = name.removeprefix("MS slope/")
        lines.append(f"by the {encoder} encoder {said(found, name, 3)} per level, {said(found, plain, 3)} per group of "
                     f"the sorted autoencoder, a difference of {said(found, beyond, 3)}")  # fmt: skip
        rests += [name, plain, beyond]
    often = [name for name in found.results if name.startswith("MS slope/") and "/beyond frequency of" in name]
    return [
        Observation(
            "Are later levels more monosemantic, and more so than sorting by frequency makes them?",
            "; ".join(lines) + ". Of latents that fire on at least ten test pictures the differences are "
            + " and ".join(said(found, name, 3) for name in often) + ".",
            (*rests, *often),
        )
    ]  # fmt: skip


def _n(found: Results, name: str) -> str:
    return f"{found.results[name]['n']:,}"


def _levels(found: Results) -> list[str]:
    return [name for name in found.results if name.startswith("depth/rounded_mean/level ")]


def _rising(values: list[float | None]) -> list[bool]:
    """Of each step between defined levels: does it go up?"""
    return [b > a for a, b in pairwise(values) if a is not None and b is not None]
