"""What the hierarchy experiment says."""

from itertools import pairwise

from vlm_sae_lib.claims.verdict import Conclusion, Verdict, clearly_above, said
from vlm_sae_lib.records.results import Results

FREQUENCY = "BatchTopK, sorted by frequency"


def conclude(found: Results) -> list[Conclusion]:
    """The paper's first abstract: the levels follow the tree of life. Its parts, and what rarity explains of them."""
    steps = [name for name in found.results if name.startswith("step/") and found.value(name) is not None]
    up, clearly = [found.value(name) > 0 for name in steps], [clearly_above(found, name) for name in steps]
    theirs = _rising([found.results[name]["paper_value"] for name in _levels(found)])
    slope, beyond, matched = (f"slope/train/mean{end}" for end in ("", "/beyond frequency", "/beyond matched"))
    sorted_ = f"slope/train/mean/{FREQUENCY}"
    readings = [f"slope/{split}/{by}" for split in ("train", "test") for by in ("rounded_mean", "mean", "mode")]
    encoders = [name.removeprefix("MS slope/") for name in found.results if name.startswith("MS slope/")]
    encoders = [name for name in encoders if "/" not in name]
    ms = [f"MS slope/{encoder}" for encoder in encoders]
    ms_beyond = [f"{name}/beyond frequency" for name in ms]
    return [
        Conclusion(
            "Later levels lie deeper in the tree.",
            Verdict.of(clearly_above(found, slope)),
            f"The depth of a latent changes by {said(found, slope)} ranks per level.",
            (slope,),
        ),
        Conclusion(
            "Depth rises from every level to the next, by the paper's own statistic.",
            Verdict.of(all(up), all(clearly)) if steps else Verdict.UNTESTED,
            f"{sum(up)} of {len(up)} steps of the rounded means go up, {sum(clearly)} of them clearly: "
            + ", ".join(said(found, name) for name in steps)
            + f" ranks. Of the paper's, which have no intervals, {sum(theirs)} of {len(theirs)} go up.",
            tuple(steps),
        ),
        Conclusion(
            "It makes no difference how the pairs are summed up, or which pictures are looked at.",
            Verdict.of(*(clearly_above(found, name) == clearly_above(found, slope) for name in readings)),
            "Rounded mean, mean and mode, on training and on test pictures: "
            + ", ".join(said(found, name) for name in readings)
            + " ranks per level.",
            tuple(readings),
        ),
        Conclusion(
            "Depth rises more than in a plain BatchTopK autoencoder whose latents are merely sorted by frequency.",
            Verdict.of(clearly_above(found, beyond)),
            f"The plain one rises by {said(found, sorted_)} ranks per level; the difference is {said(found, beyond)}.",
            (beyond, sorted_),
        ),
        Conclusion(
            "Depth rises more than that of plain latents which fire as often.",
            Verdict.of(clearly_above(found, matched)),
            f"Beyond its partner of equal frequency a latent lies {said(found, matched)} ranks deeper per level.",
            (matched,),
        ),
        Conclusion(
            "Later levels are more monosemantic.",
            Verdict.of(*(clearly_above(found, name) for name in ms)),
            "; ".join(f"{said(found, name, 3)} per level by the {name.partition('/')[2]} encoder" for name in ms) + ".",
            tuple(ms),
        ),
        Conclusion(
            "They are so beyond what sorting by frequency gives.",
            Verdict.of(*(clearly_above(found, name) for name in ms_beyond)),
            "The difference of the slopes is " + " and ".join(said(found, name, 3) for name in ms_beyond) + ".",
            tuple(ms_beyond),
        ),
    ]


def _levels(found: Results) -> list[str]:
    return [name for name in found.results if name.startswith("depth/rounded_mean/level ")]


def _rising(values: list[float | None]) -> list[bool]:
    """Of each step between defined levels: does it go up?"""
    return [b > a for a, b in pairwise(values) if a is not None and b is not None]
