"""Do Matryoshka levels follow the tree of life (paper v3 App. E.3, Tab. A8), beyond what rarity gives?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vlm_sae_lib.experiments.experiment import Experiment
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.hierarchy_latents import (
    HOOK_POINT,
    MATCHED,
    MATRYOSHKA,
    PLAIN,
    SORTED,
    Read,
    by_level,
    count,
    matched,
    paper,
    partners,
    read_latents,
    row,
)
from vlm_sae_lib.experiments.hierarchy_ms import monosemanticity
from vlm_sae_lib.experiments.measure import AT_LEAST, OVER_TRAININGS, SEEDS
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.scores import levels
from vlm_sae_lib.scores.hierarchy import REDUCTIONS
from vlm_sae_lib.statistics.intervals import RESAMPLES, of_trainings
from vlm_sae_lib.taxonomy import taxonomy_fractions
from vlm_sae_lib.workbench import Workbench

DEALINGS, SHUFFLES = 1000, 20
DEALT, SHUFFLED = "levels dealt at random", "shuffled taxonomy"
RANKS_PER_LEVEL = "ranks per level"
OVER_LATENTS = f"one training: {RESAMPLES:,} bootstrap draws of the latents within each level, middle 95 %"
EFFECT, GROSS, BEYOND_SORTED = "slope beyond latents that fire as often", "slope", "slope beyond sorting by frequency"
"""The effect that the plan names, and what is told beside it."""


def run(bench: Workbench, found: Findings) -> None:
    """Depth and MS of every level, of ten seeds and of the SAEs that come with the book; six controls; the effects."""
    profile = bench.profile
    fractions = taxonomy_fractions(bench.pictures("train").folders)
    settings = {"k": profile.taxonomy_k, "group_fractions": fractions}
    kinds = [(kind, seed) for kind in (MATRYOSHKA, PLAIN) for seed in SEEDS]
    configs = [bench.config(kind, profile.taxonomy_expansion, seed=seed, **settings) for kind, seed in kinds]
    saes: dict[tuple[str, Any], SparseAutoencoder] = dict(zip(kinds, bench.saes(configs, HOOK_POINT), strict=True))
    saes[MATRYOSHKA, "shipped"] = bench.shown("taxonomy_matryoshka")
    saes[PLAIN, "shipped"] = bench.shown("taxonomy_batch_top_k")
    sizes = saes[MATRYOSHKA, 0].group_sizes
    train, test = ({key: read_latents(bench, sae, split) for key, sae in saes.items()} for split in ("train", "test"))
    _effects(found, train, test, sizes)
    _shipped(found, train[MATRYOSHKA, "shipped"], train[PLAIN, "shipped"], sizes)
    _exclusions(found, train, sizes)
    _depths(found, train, sizes, bench.pictures("train").folders)
    _sample(found, saes[MATRYOSHKA, "shipped"], train[MATRYOSHKA, "shipped"])
    for split, read in (("train", train), ("test", test)):
        _slopes(found, read, sizes, split, bench.pictures(split).folders)
    monosemanticity(bench, found, saes, sizes)


def _effects(found: Findings, train: Mapping[tuple, Read], test: Mapping[tuple, Read], sizes: Sequence[int]) -> None:
    """What the plan names: the rise per level of each training, less that of partners which fire as often.

    Of every latent with sixteen train pictures, and of those that fire on ten test pictures as well; a partner has to
    meet the same condition.
    """
    for whom, at_least in (("", 0), (ENOUGH, AT_LEAST)):
        ours, plain = (
            [train[kind, seed].of(test[kind, seed].pictures >= at_least) for seed in SEEDS]
            for kind in (MATRYOSHKA, PLAIN)
        )
        rises = rise_by_training(ours, plain, sizes)
        n = sum(count(each.depths["mean"]) for each in ours)
        for name, values in rises.items():
            beside = {what: f"effect/{what}{whom}" for what in rises if what != name} if name == EFFECT else None
            found.effect(name + whom, values, unit="training", of=RANKS_PER_LEVEL, n=n, split="train",
                         seeds=list(SEEDS), controls=beside)  # fmt: skip


def rise_by_training(ours: Sequence[Read], plain: Sequence[Read], sizes: Sequence[int]) -> dict[str, np.ndarray]:
    """Slope of the mean depth over the level for each training: beyond partners, as it is, and beyond sorted groups.

    Returns:
        Three arrays ``(n_trainings,)``, by the effects' names.
    """
    level = levels.levels_of(sizes)
    runs = [(each.depths["mean"], level) for each in ours]
    beyond = [(a.depths["mean"] - matched(a, b), level) for a, b in zip(ours, plain, strict=True)]
    groups = [(each.depths["mean"], levels.frequency_levels(each.rates, sizes)) for each in plain]
    return {
        EFFECT: levels.slopes(beyond), GROSS: levels.slopes(runs), BEYOND_SORTED: levels.slopes(runs, minus=groups),
    }  # fmt: skip


def _shipped(found: Findings, ours: Read, plain: Read, sizes: Sequence[int]) -> None:
    """The same of the two autoencoders that come with the book, which notebook 4 reads: one training of each."""
    level, deep = levels.levels_of(sizes), ours.depths["mean"]
    groups = levels.frequency_levels(plain.rates, sizes)
    estimates = {
        EFFECT: levels.trend(deep - matched(ours, plain), level),
        GROSS: levels.trend(deep, level),
        BEYOND_SORTED: levels.trend_difference(deep, level, plain.depths["mean"], groups),
    }
    for name, estimate in estimates.items():
        found.estimate(f"shipped/{name}", estimate, interval_kind=OVER_LATENTS, n=count(deep), unit=RANKS_PER_LEVEL,
                       split="train")  # fmt: skip


def _exclusions(found: Findings, read: dict, sizes: Sequence[int]) -> None:
    level = levels.levels_of(sizes)
    matches = {seed: partners(read[MATRYOSHKA, seed], read[PLAIN, seed]) for seed in SEEDS}
    for i, size in enumerate(sizes):
        here = {seed: read[MATRYOSHKA, seed] for seed in SEEDS}
        never = [int((r.rates[level == i] == 0).sum()) for r in here.values()]
        few = [int((r.top[level == i] < 0).any(axis=1).sum()) for r in here.values()]
        rates = [r.rates[(level == i) & (r.top >= 0).all(axis=1)] for r in here.values()]
        basis: dict[str, Any] = {"seeds": list(SEEDS), "split": "train", "n": size * len(SEEDS)}
        found.add(f"level {i}/latents", size, n=size, **paper(level=i, statistic="group_size"))
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
    others = {
        SORTED: by_level([r.depths["mean"] for r in plain], rungs, n),
        MATCHED: by_level(matches, [level] * len(SEEDS), n),
    }
    defined = [sum(map(count, v)) for v in by_level([r.depths["mean"] for r in ours], [level] * len(SEEDS), n)]
    controls = {
        **{name: [(of_trainings(v), sum(map(count, v))) for v in parts] for name, parts in others.items()},
        DEALT: list(zip(levels.middle(dealt), defined, strict=True)),
        SHUFFLED: list(zip(levels.middle(shuffled), defined, strict=True)),
    }
    basis = {"unit": "ranks, 0 to 7", "seeds": list(SEEDS), "split": "train"}
    rows = []
    for name, estimates in controls.items():
        draws = {DEALT: DEALINGS, SHUFFLED: SHUFFLES}.get(name)
        kind = f"middle 95 % of {draws} draws, each the mean of the seeds" if draws else OVER_TRAININGS
        for i, (estimate, number) in enumerate(estimates):
            found.estimate(f"depth/{name}/level {i}", estimate, interval_kind=kind, n=number, **basis)
            rows.append({"who": name, "level": i, **row(estimate)})
    for by in REDUCTIONS:
        for i, values in enumerate(by_level([r.depths[by] for r in ours], [level] * len(SEEDS), n)):
            estimate = of_trainings(values)
            theirs = paper(level=i, statistic="lca_depth") if by == "rounded_mean" else {}
            # the controls are plain means: beside another reading they would be another quantity
            beside = {name: f"depth/{name}/level {i}" for name in controls if by == "mean"}
            beside |= {"random pairs": "depth of random pairs"}
            found.estimate(f"depth/{by}/level {i}", estimate, interval_kind=OVER_TRAININGS, n=defined[i],
                           controls=beside, **basis, **theirs)  # fmt: skip
            rows.append({"who": by, "level": i, **row(estimate)})
            shipped = read[MATRYOSHKA, "shipped"].depths[by][level == i]
            found.add(f"shipped/depth/{by}/level {i}", float(np.nanmean(shipped)) if count(shipped) else np.nan,
                      n=count(shipped), unit="ranks, 0 to 7", split="train")  # fmt: skip
    found.table("depths", pd.DataFrame(rows))
    _steps(found, [r.depths["rounded_mean"] for r in ours], level)


def _steps(found: Findings, depths: Sequence[np.ndarray], level: np.ndarray) -> None:
    """How much deeper each level lies than the one before: between two levels the slope is the difference of means."""
    for i in range(int(level.max())):
        here = (level == i) | (level == i + 1)
        runs = [(values[here], level[here]) for values in depths]
        found.estimate(f"step/level {i} to {i + 1}", levels.trend_over_seeds(runs), interval_kind=OVER_TRAININGS,
                       n=sum(count(values) for values, _ in runs), unit="ranks", seeds=list(SEEDS),
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
        "unit": RANKS_PER_LEVEL, "seeds": list(SEEDS), "split": split, "interval_kind": OVER_TRAININGS,
    }  # fmt: skip
    rungs = [levels.frequency_levels(r.rates, sizes) for r in plain]
    for by in REDUCTIONS:
        runs = [(r.depths[by], level) for r in ours]
        sorted_runs = [(r.depths[by], rung) for r, rung in zip(plain, rungs, strict=True)]
        n, name = sum(count(values) for values, _ in runs), f"slope/{split}/{by}"
        found.estimate(f"{name}/{SORTED}", levels.trend_over_seeds(sorted_runs), n=n, **basis)
        found.estimate(f"{name}/beyond frequency", levels.trend_over_seeds(runs, minus=sorted_runs), n=n, **basis)
        beside = {SORTED: f"{name}/{SORTED}"}
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
    found.estimate(f"{name}/{MATCHED}", levels.trend_over_seeds([(m, level) for m in matches]), n=n, **basis)
    found.estimate(f"{name}/beyond matched", levels.trend_over_seeds(beyond), n=n, **basis)
    drawn = {
        DEALT: [levels.dealt_levels(r.depths["mean"], level, size, DEALINGS, s)[1] for s, r in enumerate(ours)],
        SHUFFLED: [
            levels.shuffled_labels(r.top, folders, level, size, draws=SHUFFLES, seed=s)[1] for s, r in enumerate(ours)
        ],
    }
    for what, slopes in drawn.items():
        draws = np.mean(slopes, axis=0)
        kind = f"middle 95 % of {len(draws)} draws, each the mean of the seeds"
        found.estimate(f"{name}/{what}", levels.middle(draws[:, None])[0], n=n, **basis | {"interval_kind": kind})
    return {what: f"{name}/{what}" for what in (MATCHED, *drawn)}


def _median(parts: Sequence[np.ndarray]) -> float:
    values = np.concatenate(parts)
    return float(np.median(values)) if len(values) else float("nan")


EXPERIMENT = Experiment(
    name="hierarchy",
    title="Do the levels follow the tree of life?",
    question="Do later Matryoshka levels lie deeper in the taxonomy, and deeper than rarity alone would put them?",
    paper="Tab. A8, App. E.3",
    run=run,
)
