"""The results of notebook 1: exams of the models, what must hold of hooks and stores, how activations are spread."""

from collections.abc import Mapping, Sized
from typing import Any

import pandas as pd

from vlm_sae_lib.records.results import Results, published, published_source
from vlm_sae_lib.statistics.intervals import Estimate

SPREAD: dict[str, Any] = {"split": "test", "interval_kind": "bootstrap over pictures, none paired with itself"}
NAMES_OF_PAPER = ("DINOv2 ViT-B", "CLIP ViT-B")


def clip_exam(results: Results, zero_shot: pd.DataFrame, n: int, bars: Mapping[str, float]) -> None:
    """Zero-shot accuracy about each thing, beside guessing; where a bar was set, whether it is reached."""
    for about, row in zero_shot.iterrows():
        results.add(f"guessing, {about}", row["guessing"], n=n, split="fresh pictures")
        passed = (
            f"at least {bars[about]}: {'yes' if row['accuracy'] >= bars[about] else 'no'}" if about in bars else None
        )
        results.add(
            f"CLIP zero-shot, {about}", row["accuracy"], interval=(row["ci_low"], row["ci_high"]), n=n,
            interval_kind="Wilson, pictures", split="fresh pictures", controls={"guessing": f"guessing, {about}"},
            verdict=passed,
        )  # fmt: skip


def llava_exam(results: Results, exam: pd.DataFrame) -> None:
    """LLaVA's accuracy about each thing."""
    for what, row in exam.iterrows():
        results.add(
            f"LLaVA, {what}", row["accuracy"], interval=(row["ci_low"], row["ci_high"]), n=int(row["n"]),
            interval_kind="Wilson, pictures", split="fresh pictures",
        )  # fmt: skip


def holds(results: Results, name: str, kept: bool, n: int) -> None:
    """Something that must be so, and was tried on n pictures."""
    results.add(name, float(kept), n=n, verdict="holds" if kept else "does not hold")


def spread(
    results: Results, cosines: Mapping[str, Estimate], directions: Mapping[str, float], rows: Mapping[str, int]
) -> None:
    """Mean cosine and number of directions at each hook point; rows: how many pictures each stands on."""
    for point, found in cosines.items():
        results.add(f"mean cosine, {point}", found.value, interval=found.interval, n=rows[point], **SPREAD)
        results.add(f"directions, {point}", directions[point], n=rows[point], split="test")


def floors(
    results: Results, found: Mapping[str, Estimate], embeddings: Mapping[str, Sized], bar: float
) -> dict[str, str]:
    """The mean cosine of two scoring encoders; whether the first lies at most at the bar.

    Returns: for each encoder what the paper's raw neurons score under its counterpart, in words.
    """
    told = {}
    for place, (name, theirs) in enumerate(zip(found, NAMES_OF_PAPER, strict=False)):
        row: dict[str, Any] = {"model": "CLIP ViT-L", "layer": "last", "sae": "none", "statistic": "mean"}
        row["scoring_encoder"] = theirs
        verdict = f"at most {bar}: {'yes' if found[name].value <= bar else 'no'}" if place == 0 else None
        value, source = published("monosemanticity", **row), published_source("monosemanticity", **row)
        results.add(
            f"mean cosine, {name}", found[name].value, interval=found[name].interval, n=len(embeddings[name]),
            verdict=verdict, paper_value=value, source=source, **SPREAD,
        )  # fmt: skip
        told[name] = f"{value:.3f} with *{theirs}* ({source})"
    return told


def inputs(results: Results, bench: Any) -> None:
    """What everything was made from; bench: a ``Workbench``."""
    results.input("weights of the explained tower", bench.tower().weights_hash)
    for name in bench.scoring_names:
        results.input(f"weights of {name}", bench.scoring_tower(name).weights_hash)
    for split in ("train", "choosing", "test"):
        results.input(f"{split} pictures", bench.pictures(split).fingerprint)
