"""The results of notebook 3: mean scores with every control, gaps, shares, agreement with the truth, uniqueness."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vlm_sae_lib.records.results import Results, published, published_source
from vlm_sae_lib.scores.comparison import Scored
from vlm_sae_lib.statistics.intervals import Estimate

SAES = ("batch_top_k", "matryoshka_batch_top_k")
JUDGES = ("DINOv2 ViT-B", "CLIP ViT-B")
OURS = "matryoshka_batch_top_k"
Scores = Mapping[str, Mapping[str, Scored]]
"""By encoder and kind of neuron."""


def names(expansion: float) -> dict[str, str]:
    """How the kinds of neurons are called in the results; expansion: of the autoencoders."""
    return {
        OURS: f"matryoshka_x{expansion:g}",
        "batch_top_k": f"batch_top_k_x{expansion:g}",
        "rectified, cut": "rectified_cut",
        "random directions": "random_directions",
        "shuffled code": "shuffled_code",
        "shuffled pictures": "shuffled_pictures",
    }


def inputs(results: Results, activations: Any, embeddings: Mapping[str, Any], saes: Mapping[str, Any]) -> None:
    results.input("activations", activations.id)
    for name, store in embeddings.items():
        results.input(f"embeddings/{name}", store.id)
    for kind, sae in saes.items():
        results.input(f"sae/{kind}", sae.hash)


def means(results: Results, scored: Scores, at_least: int, expansion: float, seed: int) -> None:
    """Mean MS of each kind, over all its neurons as in the paper and over those on ``at_least`` pictures; the best.

    Each SAE is held against every other kind, and its verdict names those that it does not clearly exceed.
    """
    called, basis = names(expansion), _basis(seed)
    for place, (encoder, parts) in enumerate(scored.items()):
        for kind, part in parts.items():
            where: dict[str, Any] = {"model": "CLIP ViT-L", "layer": 23, "statistic": "mean"}
            where |= {"scoring_encoder": JUDGES[place], "sae": "none" if kind == "raw" else kind}
            where |= {} if kind == "raw" else {"expansion": expansion}
            theirs: dict[str, Any] = (
                {
                    "paper_value": published("monosemanticity", **where),
                    "source": published_source("monosemanticity", **where),
                }
                if kind in ("raw", *SAES)
                else {}
            )
            held = _held_against(parts, kind, f"ms_mean/{encoder}", 2, called)
            results.add(
                f"ms_mean/{encoder}/{called.get(kind, kind)}",
                part.mean().value,
                interval=part.mean().interval,
                n=int(part.kept().sum()),
                **held,
                **theirs,
                **basis,
            )
    for encoder, parts in scored.items():
        for kind, part in parts.items():
            name, filtered = called.get(kind, kind), part.mean(at_least)
            held = _held_against(parts, kind, f"ms_mean_active/{encoder}", at_least, called)
            results.add(
                f"ms_mean_active/{encoder}/{name}",
                filtered.value,
                interval=filtered.interval,
                n=int(part.kept(at_least).sum()),
                **held,
                **basis,
            )
            results.add(f"ms_best/{encoder}/{name}", np.nanmax(part.ms), n=int(part.kept().sum()), split="test")


def comparisons(
    results: Results,
    gaps: Mapping[str, Mapping[str, Estimate]],
    above: Mapping[str, Mapping[str, Estimate]],
    constants: Mapping[str, float],
    n: int,
    expansion: float,
    seed: int,
) -> None:
    """Per encoder: its mean cosine over n pictures, how far ours lie above each rival, and their share above a bar."""
    called, basis = names(expansion), _basis(seed)
    for encoder, constant in constants.items():
        results.add(f"mean_cosine/{encoder}", constant, n=n, split="test")
        for rival, gap in gaps[encoder].items():
            results.add(
                f"ms_gap/{encoder}/{called[OURS]}_minus_{called.get(rival, rival)}",
                gap.value,
                interval=gap.interval,
                verdict="above zero" if gap.interval.low > 0 else "not clearly above zero",
                **basis,
            )
        for bar, share in above[encoder].items():
            results.add(
                f"share_above/{encoder}/{bar}", share.value, interval=share.interval, **{**basis, "unit": "share"}
            )


def truth(results: Results, tracks: Mapping[str, Mapping[str, Estimate]], expansion: float) -> None:
    """How far the rank of an encoder's scores agrees with the rank of the truth's."""
    called = names(expansion)
    for encoder, kinds in tracks.items():
        for kind, rho in kinds.items():
            controls = (
                {
                    control: f"truth_spearman/{encoder}/{called[control]}"
                    for control in ("shuffled code", "shuffled pictures")
                }
                if kind in SAES
                else {}
            )
            results.add(
                f"truth_spearman/{encoder}/{called.get(kind, kind)}",
                rho.value,
                interval=rho.interval,
                split="test",
                interval_kind="bootstrap over neurons",
                controls=controls,
            )


def widths(results: Results, encoder: str, found: Mapping[str, list[Estimate]], expansions: Any, seed: int) -> None:
    for kind, row in found.items():
        for expansion, mean in zip(expansions, row, strict=True):
            name = f"ms_width/{encoder}/{kind}_x{expansion:g}"
            results.add(name, mean.value, interval=mean.interval, **_basis(seed))


def overlaps(results: Results, report: Any, chance: Any, expansion: float) -> None:
    """Share of the pairs of latents that have a picture in common, and of random sets; reports of ``uniqueness``."""
    theirs = published("uniqueness", statistic="pairs_above_0") / published("uniqueness", statistic="pairs")
    results.add("uniqueness/random_sets", chance.pairs_above(0) / chance.pairs, n=chance.pairs, split="train")
    results.add(
        f"uniqueness/{names(expansion)[OURS]}",
        report.pairs_above(0) / report.pairs,
        n=report.pairs,
        split="train",
        unit="share of pairs with a common picture",
        controls={"random sets": "uniqueness/random_sets"},
        paper_value=theirs,
        source=published_source("uniqueness", statistic="pairs_above_0"),
    )


def main_comparison(scored: Scores, expansion: float) -> list[str]:
    """The names of the results that the paper's main table is about."""
    called = names(expansion)
    kinds = (called[OURS], called["batch_top_k"], "raw", "rectified", "rectified_cut")
    return [
        f"{prefix}/{encoder}/{kind}" for prefix in ("ms_mean", "ms_mean_active") for encoder in scored for kind in kinds
    ]


def _held_against(
    parts: Mapping[str, Scored], kind: str, prefix: str, least: int, called: Mapping[str, str]
) -> dict[str, Any]:
    if kind not in SAES:
        return {}
    rivals = [other for other in parts if other not in SAES]
    below = [rival for rival in rivals if parts[kind].minus(parts[rival], least).interval.low <= 0]
    return {
        "controls": {rival: f"{prefix}/{called.get(rival, rival)}" for rival in rivals},
        "verdict": f"not above: {', '.join(below)}" if below else "above every control",
    }


def _basis(seed: int) -> dict[str, Any]:
    return {"unit": "mean MS", "split": "test", "seeds": [seed], "interval_kind": "bootstrap over pictures"}
