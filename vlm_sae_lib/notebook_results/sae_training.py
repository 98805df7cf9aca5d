"""The results of notebook 2: what autoencoders rebuild, beside the paper, and beside codes that nobody learned."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vlm_sae_lib.controls.reconstruction import Evaluated
from vlm_sae_lib.records.results import Results
from vlm_sae_lib.show.style import LABELS
from vlm_sae_lib.show.verdicts import direction, record
from vlm_sae_lib.statistics.intervals import OVER_TRAININGS, Estimate, student

Width = tuple[str, Any]
OVER_PICTURES = {"interval_kind": "bootstrap over test pictures"}
PAIRED = {"interval_kind": "bootstrap over test pictures, paired"}


def rebuilt(
    results: Results, ours: Mapping[Width, Evaluated], paper: Mapping[Width, Any], layer: str, k: int,
    about: Mapping[str, Any],
) -> None:  # fmt: skip
    """R², L0 and silent latents of each kind and width; about: the split, the seeds and how many pictures."""
    for (kind, e), found in ours.items():
        rivals = {"untrained": f"R², untrained, ε = {e}", "PCA": f"R², PCA, the picture's strongest, K = {k}"}
        record(
            results, f"R², {LABELS[kind]}, ε = {e}", found.r2.estimate, controls=rivals, paper_value=paper[kind, e].r2,
            source=f"v3 Table A9, layer {layer}", **about, **OVER_PICTURES,
        )  # fmt: skip
        results.add(
            f"L0, {LABELS[kind]}, ε = {e}", found.report.l0, paper_value=paper[kind, e].l0,
            source=f"v3 Table A10, layer {layer}", **about,
        )  # fmt: skip
        results.add(
            f"never fired, {LABELS[kind]}, ε = {e}", found.report.never_fired, **{**about, "n": found.n_latents}
        )


def on_training_pictures(results: Results, values: Mapping[Width, float], n: int, seeds: Sequence[int]) -> None:
    for (kind, e), value in values.items():
        results.add(
            f"R² on the training pictures, {LABELS[kind]}, ε = {e}", value, n=n, split="train", seeds=list(seeds)
        )


def gained(
    results: Results, kind: str, ends: tuple[float, float], gain: Estimate, theirs: float, verdict: str,
    about: Mapping[str, Any],
) -> None:  # fmt: skip
    """How much R² the widest has over the narrowest; ends: their expansion factors; theirs: the paper's gain."""
    record(
        results, f"R² gained from ε = {ends[0]} to {ends[1]}, {LABELS[kind]}", gain, verdict=verdict, **about, **PAIRED,
        source="v3 Table A9", paper_value=theirs,
    )  # fmt: skip


def paid(
    results: Results, cost: Mapping[float, Estimate], theirs: Mapping[float, float], over_seeds: np.ndarray,
    seeds: Sequence[int], about: Mapping[str, Any],
) -> None:  # fmt: skip
    """What Matryoshka pays at each width, and over the trainings of the narrowest."""
    for e, found in cost.items():
        record(
            results, f"R² that Matryoshka pays, ε = {e}", found, **about, paper_value=theirs[e], source="v3 Table A9",
            **PAIRED, verdict=direction(found, "above zero", "below zero", "not clearly either"),
        )  # fmt: skip
    record(
        results, "R² that Matryoshka pays, over seeds", student(over_seeds), interval_kind=OVER_TRAININGS,
        n=len(seeds), split="test", seeds=list(seeds),
    )  # fmt: skip


def rivals(results: Results, found: Mapping[str, Any], n: int) -> None:
    """R² of codes that nobody learned, by name."""
    for name, one in found.items():
        record(results, f"R², {name}", one.estimate, n=n, split="test", **OVER_PICTURES)


def by_k(results: Results, found: Mapping[tuple[str, int], Evaluated], e: float, about: Mapping[str, Any]) -> None:
    for (kind, k), one in found.items():
        record(results, f"R², {LABELS[kind]}, ε = {e}, K = {k}", one.r2.estimate, **about, **OVER_PICTURES)


def by_layer(
    results: Results, found: Mapping[tuple[str, str], Evaluated], paper: Mapping[tuple[str, str], Any],
    layers: Mapping[str, str], about: Mapping[str, Any],
) -> None:  # fmt: skip
    """R² at each hook point; layers: the paper's layer of each."""
    for (kind, point), one in found.items():
        record(
            results, f"R², {LABELS[kind]}, {point}", one.r2.estimate, paper_value=paper[kind, point].r2,
            source=f"v3 Table A9, layer {layers[point]}", **about, **OVER_PICTURES,
        )  # fmt: skip


def alive(
    results: Results, shares: Mapping[Width, float], ours: Mapping[Width, Evaluated], about: Mapping[str, Any]
) -> None:
    for (kind, e), share in shares.items():
        results.add(
            f"share of latents that fire, {LABELS[kind]}, ε = {e}", share, **{**about, "n": ours[kind, e].n_latents}
        )


def top_pictures(results: Results, name: str, right: float, usual: float, n: int) -> None:
    """How many of a latent's sixteen pictures show its concept, and how many of all n."""
    results.add(f"share of all pictures with {name}", usual, n=n, split="test")
    results.add(
        f"top-16 precision, the latent for {name}", right, n=16, split="test, latent chosen on other pictures",
        controls={"of all pictures": f"share of all pictures with {name}"},
    )  # fmt: skip


def pushed(results: Results, name: str, value: str, kind: pd.Series, control: pd.Series, n: int) -> None:
    """How far pictures move towards a concept's word, and how far a random direction moves them to any of its kind."""
    results.add(f"random push, {name}", control.max(), n=n, unit="cosine", split="test")
    results.add(
        f"push towards {name}", kind[value], n=n, unit="cosine", split="test",
        controls={"largest push of a random direction": f"random push, {name}"},
        verdict=f"of its kind, {kind.idxmax()} rises most",
    )  # fmt: skip
