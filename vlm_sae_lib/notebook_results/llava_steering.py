"""The results of notebook 5: rates of insertion and suppression with their controls, ratios, similarities."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from vlm_sae_lib.records.results import Results, published
from vlm_sae_lib.show.steering import at_least
from vlm_sae_lib.steering.experiment import METHODS, STEERED
from vlm_sae_lib.steering.word_similarity import BARE

CRITERIA = {
    ("insertion", "success"): "concept_appeared",
    ("insertion", "rest"): "prompt_followed",
    ("insertion", "both"): "both",
    ("suppression", "success"): "concept_removed",
    ("suppression", "rest"): "unrelated_kept",
    ("suppression", "both"): "both",
}
"""What the paper asks a judge, by task and by our outcome."""
PAGES = {"a blank page": "white", "ordinary pictures": "imagenet"}
"""What the paper calls the pictures, by our word."""


def papers_rates() -> dict[tuple[str, str], dict[str, float]]:
    """The paper's share of answers by task and outcome, steered by its SAE and by DiffMean."""
    return {
        (task, outcome): {
            method: published("steering_judged", task=task, criterion=criterion, method=method) / 100
            for method in ("sae", "diff_mean")
        }
        for (task, outcome), criterion in CRITERIA.items()
    }


def papers_table() -> pd.DataFrame:
    """The same in words, a row for each task and criterion."""
    rows = [
        {"task": task, "paper's criterion": CRITERIA[task, outcome].replace("_", " "), "paper, SAE": f"{p['sae']:.3f}",
         "paper, DiffMean": f"{p['diff_mean']:.3f}"}
        for (task, outcome), p in papers_rates().items()
    ]  # fmt: skip
    return pd.DataFrame(rows).set_index("task")


def papers_similarities() -> dict[tuple[str, str], float]:
    """The paper's mean CLIP similarity by condition (steered, not_steered) and pictures (white, imagenet)."""
    return {
        (condition, images): published("steering_similarity", condition=condition, images=images, statistic="mean")
        for condition in ("steered", "not_steered")
        for images in ("white", "imagenet")
    }


def inputs(results: Results, vlm: Any, sae: Any, choosing: Any, test: Any) -> None:
    for name, value in {
        "vlm": vlm.weights_hash, "sae/steering": sae.hash, "pictures/choosing": choosing.fingerprint,
        "pictures/test": test.fingerprint,
    }.items():  # fmt: skip
        results.input(name, value)


def rates(results: Results, tables: Mapping[str, pd.DataFrame], seed: int) -> None:
    """The rates of each task (``by_about``), each with its controls; of all concepts the paper's beside ours."""
    paper = papers_rates()
    for task, table in tables.items():
        for row in table.itertuples():
            name = task if row.outcome == "success" else f"{task}_{row.outcome}"
            mine = row.method == STEERED
            theirs = paper.get((task, row.outcome), {}).get("sae") if mine and row.about == "all" else None
            results.add(
                f"{name}/{row.about}/{row.method}", row.rate, interval=(row.low, row.high), n=row.concepts,
                controls={m: f"{name}/{row.about}/{m}" for m in METHODS[1:]} if mine else None,
                unit="share of answers, mean over concepts", paper_value=theirs,
                source=None if theirs is None else "v3 Table 2, judged free text", **_basis(seed),
            )  # fmt: skip


def ratios(results: Results, found: Mapping[str, Mapping[str, Any]], bar: float, seed: int) -> None:
    """How many times the best control each rate is, and whether it reaches the bar."""
    for name, ratio in found.items():
        ends: Any = [None if not np.isfinite(ratio[end]) else ratio[end] for end in ("low", "high")]
        best = ratio["best_control"]
        results.add(
            f"{name}/times best control", ratio["value"], interval=ends, n=ratio["concepts"],
            unit="steered rate over the best control's",
            controls={best: f"{name}/{best}"} if ratio["concepts"] else None,
            verdict=f"at least {bar} times: {at_least(ratio, bar)}", **_basis(seed),
        )  # fmt: skip


def similarities(results: Results, near: Mapping[str, pd.DataFrame], seed: int) -> None:
    """How close the words come to the latents' top pictures, by what was looked at; none where there is no judge."""
    of_paper = papers_similarities()
    for title, table in near.items():
        for method, row in table.iterrows():
            condition: Any = {STEERED: "steered", BARE: "not_steered"}.get(method)
            controls = {m: f"similarity on {title}/all/{m}" for m in table.index if m != method}
            results.add(
                f"similarity on {title}/all/{method}", row["similarity"], interval=(row["low"], row["high"]),
                n=int(row["concepts"]), unit="cosine of word and top pictures, mean over concepts",
                paper_value=of_paper.get((condition, PAGES[title])), source="v3 Table 3" if condition else None,
                controls=controls if method == STEERED else None, **_basis(seed),
            )  # fmt: skip


def _basis(seed: int) -> dict[str, Any]:
    return {
        "interval_kind": "bootstrap over concepts", "split": "chosen on choosing, scored on test", "seeds": [seed]
    }  # fmt: skip
