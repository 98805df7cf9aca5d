"""Do different neurons answer to different pictures (paper v3 App. G), and do random sets of pictures differ more?"""

import numpy as np
import pandas as pd
from jaxtyping import Int

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.registry import Experiment
from vlm_sae_lib.results import published, published_source
from vlm_sae_lib.scores.gather import gather_statistics
from vlm_sae_lib.scores.intervals import Interval
from vlm_sae_lib.scores.uniqueness import UniquenessReport, uniqueness
from vlm_sae_lib.workbench import Workbench

KIND, HOOK_POINT, EXPANSION, SEEDS, DRAWS = "matryoshka_batch_top_k", "projection", 16, (0, 1, 2), 20
"""The paper's SAE; random sets are drawn as often as ``DRAWS``."""


def run(bench: Workbench, found: Findings) -> None:
    """Shares of pairs of neurons whose top-16 pictures overlap, for SAEs of three seeds and for random sets."""
    store, embeddings = bench.activations("test", HOOK_POINT), bench.embeddings()
    configs = [bench.config(KIND, EXPANSION, seed=seed) for seed in SEEDS]
    saes = {f"seed {s}": sae for s, sae in zip(SEEDS, bench.saes(configs, HOOK_POINT), strict=True)}
    saes["shipped ×4 at block_5"] = bench.shown("main_matryoshka")
    curves = []
    for name, sae in saes.items():
        at = store if name.startswith("seed") else bench.activations("test", bench.profile.main_hook_point)
        top = gather_statistics(at, embeddings, sae).statistics.top_images()
        _record(found, name, top, len(store))
        curves += _curve(name, uniqueness(top))
    found.table("jaccard", pd.DataFrame(curves))
    for bar in ("0", "0.5"):
        values = [found.value(f"{name}/share of pairs above {bar}") for name in saes if name.startswith("seed")]
        share = published("uniqueness", statistic=f"pairs_above_{bar}") / published("uniqueness", statistic="pairs")
        found.add(
            f"share of pairs above {bar}", np.mean(values), interval=(min(values), max(values)),
            interval_kind="smallest and largest of the seeds", n=len(SEEDS), unit="share of pairs", seeds=list(SEEDS),
            split="test", controls={"random sets": f"seed 0/random sets above {bar}"}, paper_value=share,
            source=published_source("uniqueness", statistic=f"pairs_above_{bar}"),
        )  # fmt: skip


def _record(found: Findings, name: str, top: Int[np.ndarray, "n_neurons k"], pictures: int) -> None:
    report = uniqueness(top)
    draws = [uniqueness(random_sets(report.neurons_kept, top.shape[1], pictures, seed)) for seed in range(DRAWS)]
    found.add(f"{name}/neurons", report.neurons_kept, n=len(top), split="test")
    for bar in (0.0, 0.5):
        shares = [draw.pairs_above(bar) / draw.pairs for draw in draws]
        found.add(
            f"{name}/random sets above {bar:g}", np.mean(shares), interval=Interval(min(shares), max(shares)),
            interval_kind=f"smallest and largest of {DRAWS} draws", n=report.pairs, unit="share of pairs",
        )  # fmt: skip
        found.add(
            f"{name}/share of pairs above {bar:g}", report.pairs_above(bar) / report.pairs, n=report.pairs,
            unit="share of pairs", split="test", controls={"random sets": f"{name}/random sets above {bar:g}"},
        )  # fmt: skip


def random_sets(neurons: int, k: int, pictures: int, seed: int) -> Int[np.ndarray, "neurons k"]:
    """As many sets of k different pictures, drawn at random."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.choice(pictures, k, replace=False) for _ in range(neurons)])


def _curve(name: str, report: UniquenessReport) -> list[dict]:
    bars = np.linspace(0, 0.9, 10)
    return [{"sae": name, "above": float(bar), "share": report.pairs_above(bar) / report.pairs} for bar in bars]


EXPERIMENT = Experiment(
    name="uniqueness",
    title="Are the neurons different from one another?",
    question="How many pairs of neurons share top pictures, and how many would if pictures were dealt at random?",
    paper="App. G",
    run=run,
)
