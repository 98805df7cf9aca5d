"""Do Matryoshka levels follow the tree of life (paper v3 App. E.3, Tab. A8), beyond what rarity gives?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import AT_LEAST
from vlm_sae_lib.experiments.registry import Experiment
from vlm_sae_lib.records.results import published, published_source
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.scores import levels
from vlm_sae_lib.scores.hierarchy import REDUCTIONS, neuron_depths
from vlm_sae_lib.statistics.gather import gather_statistics
from vlm_sae_lib.statistics.intervals import Estimate, of_trainings
from vlm_sae_lib.taxonomy import taxonomy_fractions
from vlm_sae_lib.workbench import Workbench

MATRYOSHKA, PLAIN = "matryoshka_batch_top_k", "batch_top_k"
SEEDS, HOOK_POINT, DEALINGS, SHUFFLES = (0, 1, 2), "projection", 1000, 20
PAPER_ENCODERS = ("DINOv2 ViT-B", "CLIP ViT-B")
"""The paper's scoring encoders of v3 and of v1, beside ours of the same rank."""

OVER_LATENTS = "2,000 bootstrap draws, of the seeds first and then of the level's latents, middle 95 %"
OVER_WITHIN = "2,000 bootstrap draws, of the seeds first and then of the latents within each level, middle 95 %"
RANKS_PER_LEVEL = "ranks per level"


@dataclass(frozen=True, eq=False)
class Read:
    """What one SAE's latents do on one set of pictures: depth by each reading, rates, and where the depth is defined.

    Attributes:
        depths: per reading (n_latents,), NaN where fewer than 16 pictures excite the latent.
        rates: share of the pictures on which each latent fires.
        top: ids of the top-16 pictures.
    """

    depths: dict[str, Float[np.ndarray, " n_latents"]]
    rates: Float[np.ndarray, " n_latents"]
    top: Int[np.ndarray, "n_latents 16"]


def run(bench: Workbench, found: Findings) -> None:
    """Depth and MS of every level, of three seeds and of the SAEs that come with the book, and six controls."""
    profile = bench.profile
    fractions = taxonomy_fractions(bench.pictures("train").folders)
    settings = {"k": profile.taxonomy_k, "group_fractions": fractions}
    kinds = [(kind, seed) for kind in (MATRYOSHKA, PLAIN) for seed in SEEDS]
    configs = [bench.config(kind, profile.taxonomy_expansion, seed=seed, **settings) for kind, seed in kinds]
    saes: dict[tuple[str, Any], SparseAutoencoder] = dict(zip(kinds, bench.saes(configs, HOOK_POINT), strict=True))
    saes[MATRYOSHKA, "shipped"] = bench.shown("taxonomy_matryoshka")
    saes[PLAIN, "shipped"] = bench.shown("taxonomy_batch_top_k")
    sizes = saes[MATRYOSHKA, 0].group_sizes
    for split in ("train", "test"):
        read = {key: read_latents(bench, sae, split) for key, sae in saes.items()}
        if split == "train":
            _exclusions(found, read, sizes)
            _depths(found, read, sizes, bench.pictures(split).folders)
            _sample(found, saes[MATRYOSHKA, "shipped"], read[MATRYOSHKA, "shipped"])
        _slopes(found, read, sizes, split, bench.pictures(split).folders)
    _monosemanticity(bench, found, saes, sizes)


def read_latents(bench: Workbench, sae: Any, split: str) -> Read:
    """An SAE's top-16 pictures of a split, their depths and its firing rates."""
    store, folders = bench.activations(split, HOOK_POINT), bench.pictures(split).folders
    statistics = gather_statistics(store, store, sae).statistics
    top = statistics.top_images()
    full = (top >= 0).all(axis=1)
    depths: dict[str, np.ndarray] = {
        by: np.where(full, neuron_depths(top, folders, reduce=by), np.nan) for by in REDUCTIONS
    }
    return Read(depths, statistics.firing_rate(), top)


def partners(ours: Read, plain: Read) -> Int[np.ndarray, " n_latents"]:
    """For each Matryoshka latent the plain latent that fires most nearly as often, -1 without a depth."""
    return levels.frequency_partners(ours.depths["mean"], ours.rates, plain.depths["mean"], plain.rates)


def matched(ours: Read, plain: Read) -> Float[np.ndarray, " n_latents"]:
    """The depth of each latent's partner of equal frequency."""
    partner = partners(ours, plain)
    return np.where(partner >= 0, plain.depths["mean"][partner], np.nan)


def _exclusions(found: Findings, read: dict, sizes: Sequence[int]) -> None:
    level = levels.levels_of(sizes)
    matches = {seed: partners(read[MATRYOSHKA, seed], read[PLAIN, seed]) for seed in SEEDS}
    for i, size in enumerate(sizes):
        here = {seed: read[MATRYOSHKA, seed] for seed in SEEDS}
        never = [int((r.rates[level == i] == 0).sum()) for r in here.values()]
        few = [int((r.top[level == i] < 0).any(axis=1).sum()) for r in here.values()]
        rates = [r.rates[(level == i) & (r.top >= 0).all(axis=1)] for r in here.values()]
        basis: dict[str, Any] = {"seeds": list(SEEDS), "split": "train", "n": size * len(SEEDS)}
        found.add(f"level {i}/latents", size, n=size, **_paper(level=i, statistic="group_size"))
        found.add(f"level {i}/never fired", sum(never), unit="latents of all seeds", **basis)
        found.add(f"level {i}/fewer than 16 pictures", sum(few), unit="latents of all seeds", **basis)
        found.add(f"level {i}/median firing rate", _median(rates), unit="share of the pictures", **basis)
        chosen = {seed: part[(level == i) & (part >= 0)] for seed, part in matches.items()}
        found.add(f"level {i}/different partners", sum(len(set(part.tolist())) for part in chosen.values()),
                  unit="latents of all seeds", **basis)  # fmt: skip
        theirs = [read[PLAIN, seed].rates[part] for seed, part in chosen.items()]
        found.add(
            f"level {i}/median firing rate of the partners", _median(theirs), unit="share of the pictures", **basis
        )


def _depths(found: Findings, read: dict, sizes: Sequence[int], folders: Sequence[str | None]) -> None:
    level, n = levels.levels_of(sizes), len(sizes)
    found.add("depth of random pairs", levels.expected_depth(folders), n=len(folders), unit="ranks, 0 to 7",
              split="train")  # fmt: skip
    ours, plain = ([read[kind, seed] for seed in SEEDS] for kind in (MATRYOSHKA, PLAIN))
    rungs = [levels.frequency_levels(r.rates, sizes) for r in plain]
    matches = [matched(a, b) for a, b in zip(ours, plain, strict=True)]
    dealt = np.mean([levels.dealt_levels(r.depths["mean"], level, n, DEALINGS, s)[0] for s, r in enumerate(ours)], 0)
    shuffled = np.mean(
        [levels.shuffled_labels(r.top, folders, level, n, draws=SHUFFLES, seed=s)[0] for s, r in enumerate(ours)], 0
    )
    by_level = {
        "BatchTopK, sorted by frequency": _by_level([r.depths["mean"] for r in plain], rungs, n),
        "BatchTopK, frequency-matched": _by_level(matches, [level] * len(SEEDS), n),
    }
    defined = [sum(map(_count, v)) for v in _by_level([r.depths["mean"] for r in ours], [level] * len(SEEDS), n)]
    controls = {
        **{name: [(of_trainings(v), sum(map(_count, v))) for v in parts] for name, parts in by_level.items()},
        "levels dealt at random": list(zip(levels.middle(dealt), defined, strict=True)),
        "shuffled taxonomy": list(zip(levels.middle(shuffled), defined, strict=True)),
    }
    basis = {"unit": "ranks, 0 to 7", "seeds": list(SEEDS), "split": "train"}
    rows = []
    for name, estimates in controls.items():
        draws = {"levels dealt at random": DEALINGS, "shuffled taxonomy": SHUFFLES}.get(name)
        kind = f"middle 95 % of {draws} draws, each the mean of the seeds" if draws else OVER_LATENTS
        for i, (estimate, number) in enumerate(estimates):
            found.estimate(f"depth/{name}/level {i}", estimate, interval_kind=kind, n=number, **basis)
            rows.append({"who": name, "level": i, **_row(estimate)})
    for by in REDUCTIONS:
        for i, values in enumerate(_by_level([r.depths[by] for r in ours], [level] * len(SEEDS), n)):
            estimate = of_trainings(values)
            paper = _paper(level=i, statistic="lca_depth") if by == "rounded_mean" else {}
            beside = {name: f"depth/{name}/level {i}" for name in controls} | {"random pairs": "depth of random pairs"}
            found.estimate(f"depth/{by}/level {i}", estimate, interval_kind=OVER_LATENTS, n=defined[i],
                           controls=beside, **basis, **paper)  # fmt: skip
            rows.append({"who": by, "level": i, **_row(estimate)})
            shipped = read[MATRYOSHKA, "shipped"].depths[by][level == i]
            found.add(f"shipped/depth/{by}/level {i}", float(np.nanmean(shipped)) if _count(shipped) else np.nan,
                      n=_count(shipped), unit="ranks, 0 to 7", split="train")  # fmt: skip
    found.table("depths", pd.DataFrame(rows))
    _steps(found, [r.depths["rounded_mean"] for r in ours], level)


def _steps(found: Findings, depths: Sequence[np.ndarray], level: np.ndarray) -> None:
    """How much deeper each level lies than the one before: between two levels the slope is the difference of means."""
    for i in range(int(level.max())):
        here = (level == i) | (level == i + 1)
        runs = [(values[here], level[here]) for values in depths]
        found.estimate(f"step/level {i} to {i + 1}", levels.trend_over_seeds(runs), interval_kind=OVER_WITHIN,
                       n=sum(_count(values) for values, _ in runs), unit="ranks", seeds=list(SEEDS),
                       split="train")  # fmt: skip


def _sample(found: Findings, sae: Any, read: Read) -> None:
    """The first two latents with a depth of each level of the shipped SAE, with the pictures that the depth is of."""
    found.input("sae/taxonomy_matryoshka", sae.hash)
    level, defined = levels.levels_of(sae.group_sizes), ~np.isnan(read.depths["mean"])
    picked = np.concatenate([np.flatnonzero(defined & (level == i))[:2] for i in range(len(sae.group_sizes))])
    rows = {"latent": picked, "level": level[picked], "pictures": read.top[picked].tolist()}
    found.table("sample", pd.DataFrame(rows | {by: read.depths[by][picked] for by in REDUCTIONS}))


def _slopes(found: Findings, read: dict, sizes: Sequence[int], split: str, folders: Sequence[str | None]) -> None:
    """How much deeper a latent lies per level, for each reading and control; only the plain mean has all controls."""
    level = levels.levels_of(sizes)
    ours, plain = ([read[kind, seed] for seed in SEEDS] for kind in (MATRYOSHKA, PLAIN))
    basis: dict[str, Any] = {
        "unit": RANKS_PER_LEVEL, "seeds": list(SEEDS), "split": split, "interval_kind": OVER_WITHIN,
    }  # fmt: skip
    rungs = [levels.frequency_levels(r.rates, sizes) for r in plain]
    for by in REDUCTIONS:
        runs = [(r.depths[by], level) for r in ours]
        sorted_runs = [(r.depths[by], rung) for r, rung in zip(plain, rungs, strict=True)]
        n, name = sum(_count(values) for values, _ in runs), f"slope/{split}/{by}"
        found.estimate(f"{name}/BatchTopK, sorted by frequency", levels.trend_over_seeds(sorted_runs), n=n, **basis)
        found.estimate(f"{name}/beyond frequency", levels.trend_over_seeds(runs, minus=sorted_runs), n=n, **basis)
        beside = {"BatchTopK, sorted by frequency": f"{name}/BatchTopK, sorted by frequency"}
        if by == "mean":
            beside |= _more_controls(found, name, ours, plain, level, folders, n, basis)
        found.estimate(name, levels.trend_over_seeds(runs), n=n, controls=beside, **basis)


def _more_controls(
    found: Findings,
    name: str,
    ours: list[Read],
    plain: list[Read],
    level: np.ndarray,
    folders: Sequence[str | None],
    n: int,
    basis: dict[str, Any],
) -> dict[str, str]:
    size = int(level.max()) + 1
    matches = [matched(a, b) for a, b in zip(ours, plain, strict=True)]
    beyond = [(r.depths["mean"] - match, level) for r, match in zip(ours, matches, strict=True)]
    found.estimate(f"{name}/BatchTopK, frequency-matched", levels.trend_over_seeds([(m, level) for m in matches]), n=n,
                   **basis)  # fmt: skip
    found.estimate(f"{name}/beyond matched", levels.trend_over_seeds(beyond), n=n, **basis)
    drawn = {
        "levels dealt at random": [levels.dealt_levels(r.depths["mean"], level, size, DEALINGS, s)[1]
                                   for s, r in enumerate(ours)],
        "shuffled taxonomy": [levels.shuffled_labels(r.top, folders, level, size, draws=SHUFFLES, seed=s)[1]
                              for s, r in enumerate(ours)],
    }  # fmt: skip
    for what, slopes in drawn.items():
        draws = np.mean(slopes, axis=0)
        kind = f"middle 95 % of {len(draws)} draws, each the mean of the seeds"
        found.estimate(f"{name}/{what}", levels.middle(draws[:, None])[0], n=n, **basis | {"interval_kind": kind})
    return {what: f"{name}/{what}" for what in ("BatchTopK, frequency-matched", *drawn)}


def _monosemanticity(bench: Workbench, found: Findings, saes: dict, sizes: Sequence[int]) -> None:
    """MS per level under both encoders, on test pictures; the paper's v3 table and v1's."""
    level, n_levels, rows = levels.levels_of(sizes), len(sizes), []
    store = bench.activations("test", HOOK_POINT)
    for encoder, theirs in zip(bench.scoring_names, PAPER_ENCODERS, strict=False):
        stats = {key: gather_statistics(store, bench.embeddings("test", encoder), sae).statistics
                 for key, sae in saes.items()}  # fmt: skip
        ms = {key: part.monosemanticity() for key, part in stats.items()}
        rungs = [levels.frequency_levels(stats[PLAIN, seed].firing_rate(), sizes) for seed in SEEDS]
        ours, plain = ([ms[kind, seed] for seed in SEEDS] for kind in (MATRYOSHKA, PLAIN))
        often = [np.where(stats[MATRYOSHKA, s].firing_count() >= AT_LEAST, ms[MATRYOSHKA, s], np.nan) for s in SEEDS]
        basis: dict[str, Any] = {"seeds": list(SEEDS), "split": "test", "unit": "MS"}
        sorts = _by_level(plain, rungs, n_levels)
        enough = _by_level(often, [level] * len(SEEDS), n_levels)
        for i, values in enumerate(_by_level(ours, [level] * len(SEEDS), n_levels)):
            name, control = f"MS/{encoder}/level {i}", f"MS/{encoder}/BatchTopK, sorted by frequency/level {i}"
            mean, by_frequency = of_trainings(values), of_trainings(sorts[i])
            found.estimate(control, by_frequency, interval_kind=OVER_LATENTS, n=sum(map(_count, sorts[i])),
                           **basis)  # fmt: skip
            where = {"level": i, "scoring_encoder": theirs}
            beside, n = {"BatchTopK, sorted by frequency": control}, sum(map(_count, values))
            found.estimate(f"{name}/mean", mean, interval_kind=OVER_LATENTS, controls=beside, n=n, **basis,
                           **_paper(**where, statistic="mean"))  # fmt: skip
            found.estimate(f"{name}/mean of at least {AT_LEAST} pictures", of_trainings(enough[i]),
                           interval_kind=OVER_LATENTS, n=sum(map(_count, enough[i])), **basis)  # fmt: skip
            for what, reduce in (("best", np.nanmax), ("worst", np.nanmin)):
                each = [float(reduce(v)) for v in values if _count(v)]
                found.add(f"{name}/{what}", np.mean(each) if each else np.nan, interval=_range(each), n=n,
                          interval_kind="smallest and largest of the seeds", **basis,
                          **_paper(**where, statistic=what))  # fmt: skip
            found.add(f"{name}/undefined", sizes[i] * len(SEEDS) - n, n=sizes[i] * len(SEEDS),
                      unit="latents of all seeds", seeds=list(SEEDS), split="test")  # fmt: skip
            for who, estimate in (("levels", mean), ("frequency", by_frequency)):
                rows.append({"encoder": encoder, "who": who, "level": i, **_row(estimate)})
        runs, others = [(v, level) for v in ours], list(zip(plain, rungs, strict=True))
        slope = {"interval_kind": OVER_WITHIN, "n": sum(map(_count, ours)), **basis | {"unit": "MS per level"}}
        name = f"MS slope/{encoder}"
        found.estimate(f"{name}/BatchTopK, sorted by frequency", levels.trend_over_seeds(others), **slope)
        found.estimate(f"{name}/beyond frequency", levels.trend_over_seeds(runs, minus=others), **slope)
        found.estimate(name, levels.trend_over_seeds(runs), **slope, controls={
            "BatchTopK, sorted by frequency": f"{name}/BatchTopK, sorted by frequency"})  # fmt: skip
    found.table("ms", pd.DataFrame(rows))


def _by_level(values: Sequence[np.ndarray], rungs: Sequence[np.ndarray], n_levels: int) -> list[list[np.ndarray]]:
    """For each level the values of each seed's latents in it."""
    return [[v[rung == i] for v, rung in zip(values, rungs, strict=True)] for i in range(n_levels)]


def _paper(**where: Any) -> dict[str, Any]:
    return {"paper_value": published("hierarchy", **where), "source": published_source("hierarchy", **where)}


def _count(values: np.ndarray) -> int:
    return int((~np.isnan(values)).sum())


def _median(parts: Sequence[np.ndarray]) -> float:
    values = np.concatenate(parts)
    return float(np.median(values)) if len(values) else float("nan")


def _range(values: Sequence[float]) -> tuple[float, float] | None:
    return (min(values), max(values)) if values else None


def _row(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "low": estimate.interval.low, "high": estimate.interval.high}


EXPERIMENT = Experiment(
    name="hierarchy",
    title="Do the levels follow the tree of life?",
    question="Do later Matryoshka levels lie deeper in the taxonomy, and deeper than rarity alone would put them?",
    paper="Tab. A8, App. E.3",
    run=run,
)
