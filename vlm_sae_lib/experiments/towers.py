"""Other explained towers, and two scoring encoders for each (paper Tab. 1b, A3, A4, A6, A7): do the encoders agree?

A scoring encoder is never the tower that it scores. The profile's tower is scored by the profile's encoders; each of
these, explained in its turn, by the other one and by the profile's tower. Ten trainings of the ×4 autoencoders, which
the plan's effects are about (book/analysis_plan.md); three of the ×1 ones, which are only shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from vlm_sae_lib.controls.codes import random_directions
from vlm_sae_lib.controls.rectify import RectifiedNeurons
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.experiment import Experiment
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import AT_LEAST, POPULATIONS, SEEDS, interval_kind, known_factors, scored_runs
from vlm_sae_lib.hooks import PROJECTION
from vlm_sae_lib.records.results import published, published_source
from vlm_sae_lib.scores.comparison import Scored, by_training, over_seeds, over_trainings
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.scores.truth import factor_embeddings
from vlm_sae_lib.statistics.intervals import OVER_TRAININGS, spearman_draws, student
from vlm_sae_lib.workbench import Workbench

FIRST = "first CLIP"
SEEDS_OF = {1: SEEDS[:3], 4: SEEDS}
"""Seeds by expansion factor."""
SHORT = {"matryoshka_batch_top_k": "Matryoshka", "batch_top_k": "BatchTopK"}
MAIN = "Matryoshka ×4"
RANDOM = f"random for {MAIN}"
FROZEN = "a frozen decoder ×4"
"""The main kind, with a decoder that never learns (arXiv 2602.14111)."""
CONTROLS = ("raw", "rectified, cut", RANDOM, FROZEN)
RIVALS = {"rectified neurons": "rectified, cut", "random directions": RANDOM}
"""Of the plan's effects, by the words in their names; raw neurons as they are decide nothing."""
OVER_NEURONS = "500 bootstrap draws of the neurons, middle 95 %"

SAMPLE, SAMPLED = 60, [0, 40, 80]
"""Pictures and neurons of the sample, which tests recompute slowly."""

Parts = Mapping[str, Sequence[Scored]]
"""Scores by kind of neuron, one for each training."""

PAPER_TOWERS = {FIRST: "CLIP ViT-L", "second CLIP": "SigLIP SoViT-400m", "self-supervised": "WebSSL MAE-300m"}
PAPER_ENCODERS = {"self-supervised": "DINOv2 ViT-B", "second CLIP": "CLIP ViT-B", FIRST: "CLIP ViT-B"}
"""Whose part each pocket model plays."""


def run(bench: Workbench, found: Findings) -> None:
    """Mean and best MS of SAEs and controls for every tower, hook point and encoder; how the encoders rank them."""
    truth = factor_embeddings(*known_factors(bench, "test"))
    rows, towers = [], explained(bench.profile)
    for tower, tower_bench in towers.items():
        parts: dict[str, dict[str, Parts]] = {encoder: {} for encoder in tower_bench.scoring_names}
        for hook_point in hook_points(tower_bench):
            where = f"{tower}/{hook_point}"
            kinds = codes(tower_bench, hook_point)
            for encoder, of_points in parts.items():
                of_points[hook_point] = {what: scored_runs(tower_bench, runs, encoder) for what, runs in kinds.items()}
                rows += _record_means(found, f"{where}/{encoder}", of_points[hook_point])
            _record_agreement(found, where, kinds, {e: of_points[hook_point] for e, of_points in parts.items()}, truth)
        for encoder, of_points in parts.items():
            record_effects(found, f"{tower} by {encoder}", of_points)
    found.table("means", pd.DataFrame(rows))
    _record_sample(found, list(towers.values())[-1])


def explained(profile: Any) -> dict[str, Workbench]:
    """A workbench for each tower to be explained; its scoring encoders are the profile's other models."""
    models = {**dict(profile.scoring_towers), FIRST: profile.tower}
    benches = {}
    for name in (FIRST, *dict(profile.scoring_towers)):
        others = tuple((other, spec) for other, spec in models.items() if other != name)
        benches[name] = Workbench(replace(profile, tower=models[name], scoring_towers=others))
    return benches


def hook_points(bench: Workbench) -> list[str]:
    """The projection, and the profile's main block where the tower has it and a class token to read there."""
    tower, block = bench.tower(), bench.profile.main_hook_point
    return [PROJECTION] + ([block] if tower.has_cls and block in tower.hook_points and block != PROJECTION else [])


def codes(bench: Workbench, hook_point: str) -> dict[str, list[Any]]:
    """Codes of the test pictures by kind of neuron, one for each seed (raw and rectified neurons have none)."""
    train, test = (bench.activations(split, hook_point) for split in ("train", "test"))
    widths = [(kind, expansion) for kind in bench.profile.kinds for expansion in SEEDS_OF]
    wanted = [(kind, expansion, seed) for kind, expansion in widths for seed in SEEDS_OF[expansion]]
    configs = [bench.config(kind, expansion, seed=seed) for kind, expansion, seed in wanted]
    configs += [bench.config("matryoshka_batch_top_k", 4, frozen="decoder", seed=seed) for seed in SEEDS]
    trained = bench.saes(configs, hook_point)
    saes, frozen = dict(zip(wanted, trained, strict=False)), trained[len(wanted) :]
    raw = test.array().numpy()
    main = saes["matryoshka_batch_top_k", 4, SEEDS[0]]
    l0 = main.encode_sparse(train).nnz / len(train)
    kinds: dict[str, list[Any]] = {"raw": [raw], "rectified, cut": [RectifiedNeurons.fit(train, l0).encode_sparse(raw)]}
    kinds[FROZEN] = [sae.encode_sparse(test) for sae in frozen]
    for kind, expansion in widths:
        runs = [saes[kind, expansion, seed].encode_sparse(test) for seed in SEEDS_OF[expansion]]
        name = f"{SHORT[kind]} ×{expansion:g}"
        kinds[name] = runs
        if expansion == 4:
            pairs = zip(runs, SEEDS, strict=True)
            kinds[f"random for {name}"] = [random_directions(raw, code, seed) for code, seed in pairs]
    return kinds


def record_effects(found: Findings, where: str, by_point: Mapping[str, Parts]) -> None:
    """Mean MS of the main SAE minus each rival's, for each training and hook point of a tower under one encoder."""
    for rival, kind in RIVALS.items():
        for least, ending in POPULATIONS:
            gains = [
                by_training([run.moved(least) for run in parts[MAIN]], minus=[run.moved(least) for run in parts[kind]])
                for parts in by_point.values()
            ]
            found.effect(
                f"gain over {rival}, {where}{ending}", np.stack(gains, axis=1), unit="training", of="MS", split="test",
                cases=tuple(by_point), n=sum(_number(parts[MAIN], least) for parts in by_point.values()),
                seeds=list(SEEDS[: len(gains[0])]),
            )  # fmt: skip


def _number(runs: Sequence[Scored], least: int) -> int:
    return sum(int(run.kept(least).sum()) for run in runs)


def _record_means(found: Findings, where: str, parts: Parts) -> list[dict]:
    """Mean and best MS of each kind under one encoder, and the main SAE minus its controls; the rows for the figure.

    The mean over neurons of enough pictures stands beside the mean over all where the widths are compared (×4).
    """
    rows = []
    for what, runs in parts.items():
        controls = _controls_of(what)
        for least, ending in POPULATIONS:
            if ending and "×1" in what:
                continue
            mean, name = over_seeds(runs, least), f"{where}/mean{ending}"
            found.estimate(
                f"{name}/{what}", mean, interval_kind=interval_kind(runs), unit="MS", split="test",
                n=_number(runs, least), seeds=list(SEEDS[: len(runs)]),
                controls={word: f"{name}/{control}" for word, control in controls.items()},
                **(_paper(where, what, "mean") if not ending else {}),
            )  # fmt: skip
            rows.append({"where": where, "what": what, "population": ending, "mean": mean.value}
                        | mean.interval._asdict())  # fmt: skip
        if what in ("raw", RANDOM) or controls:
            _record_best(found, where, what, runs)
    for control in CONTROLS:
        for least, ending in POPULATIONS:
            found.estimate(
                f"{where}/{MAIN} minus {control}{ending}", over_seeds(parts[MAIN], least, minus=parts[control]),
                interval_kind=interval_kind(parts[MAIN]), n=_number(parts[MAIN], least), unit="MS",
                seeds=list(SEEDS[: len(parts[MAIN])]), split="test",
            )  # fmt: skip
    return rows


def _record_best(found: Findings, where: str, what: str, runs: Sequence[Scored]) -> None:
    """The best neuron's MS; of one code alone without an interval, as a largest value has none by drawing pictures."""
    best = student([run.ms[run.kept()].max() if run.kept().any() else np.nan for run in runs])
    beside = {} if what == "raw" else {"raw": "raw"}
    beside |= {"random directions": RANDOM} if what == MAIN else {}
    found.add(
        f"{where}/best/{what}", best.value, unit="MS", split="test", n=_number(runs, 2),
        interval=best.interval if len(runs) > 1 else None, interval_kind=OVER_TRAININGS if len(runs) > 1 else None,
        seeds=list(SEEDS[: len(runs)]), controls={word: f"{where}/best/{kind}" for word, kind in beside.items()},
        **_paper(where, what, "best"),
    )  # fmt: skip


def _controls_of(what: str) -> dict[str, str]:
    """The controls of a kind of SAE: a word to the kind of neuron it is held against."""
    kind, _, expansion = what.partition(" ×")
    if kind not in SHORT.values():
        return {}
    fixed = {"raw": "raw", "rectified, cut": "rectified, cut"}
    return fixed | ({"random directions": f"random for {what}", "a frozen decoder": FROZEN} if expansion == "4" else {})


def _record_agreement(
    found: Findings, where: str, kinds: Mapping[str, Sequence[Any]], parts: Mapping[str, Parts], truth: np.ndarray
) -> None:
    """Spearman of two encoders' scores, and of each one's with the truth's for the main SAE; learned minus random.

    Among neurons of enough pictures alone: the score of a neuron of two pictures is the cosine of those two.
    """
    correlations: dict[str, dict[str, list]] = {}
    for what, runs in kinds.items():
        if "×1" in what:
            continue
        ms = {encoder: [_of_enough_pictures(run) for run in by[what]] for encoder, by in parts.items()}
        if what in (MAIN, RANDOM):
            ms["the truth"] = [monosemanticity_score(code, truth) for code in runs]
        for one, other in combinations(ms, 2):
            name, sides = f"{where}/rank agreement of {one} and {other}", list(zip(ms[one], ms[other], strict=True))
            values = [spearman_draws(a, b, seed=seed) for seed, (a, b) in enumerate(sides)]
            correlations.setdefault(name, {})[what] = values
            control = f"random for {what}"
            found.estimate(
                f"{name}/{what}", over_trainings(values),
                interval_kind=OVER_TRAININGS if len(runs) > 1 else OVER_NEURONS, unit="Spearman's ρ", split="test",
                n=sum(int((~np.isnan(a) & ~np.isnan(b)).sum()) for a, b in sides), seeds=list(SEEDS[: len(runs)]),
                controls={"random directions": f"{name}/{control}"} if control in kinds else {},
            )  # fmt: skip
    for name, by_kind in correlations.items():
        found.estimate(
            f"{name}/{MAIN} minus random directions", over_trainings(by_kind[MAIN], minus=by_kind[RANDOM]),
            interval_kind=OVER_TRAININGS, unit="Spearman's ρ", split="test", seeds=list(SEEDS[: len(by_kind[MAIN])]),
            n=found.results[f"{name}/{MAIN}"]["n"],
        )  # fmt: skip


def _of_enough_pictures(run: Scored) -> np.ndarray:
    return np.where(run.kept(AT_LEAST), run.ms, np.nan)


def _record_sample(found: Findings, bench: Workbench) -> None:
    """MS of three raw neurons of the last tower on a few pictures: small enough to recompute by hand."""
    raw = bench.activations("test", PROJECTION).array().numpy()[:SAMPLE]
    there = [neuron for neuron in SAMPLED if neuron < raw.shape[1]]  # an island's towers may be narrower
    embeddings = bench.embeddings("test").array()[:SAMPLE]
    found.table("sample", pd.DataFrame({"neuron": there, "MS": monosemanticity_score(raw[:, there], embeddings)}))


def _paper(where: str, what: str, statistic: str) -> dict[str, Any]:
    """The paper's number for the tower and encoder whose part these play, where it has one.

    The self-supervised tower cannot be scored by itself; beside it stands the paper's row of Table 1b (E = DINOv2).
    """
    tower, hook_point, encoder = where.split("/")
    kind, _, expansion = what.partition(" ×")
    sae = {short: kind for kind, short in SHORT.items()}.get(kind, "none" if kind == "raw" else None)
    if sae is None or tower not in PAPER_TOWERS:
        return {}
    asked = PAPER_ENCODERS.get(encoder) if tower != "self-supervised" else PAPER_ENCODERS["self-supervised"]
    choice: dict[str, Any] = {
        "model": PAPER_TOWERS[tower], "layer": "last" if hook_point == PROJECTION else 23, "sae": sae,
    }  # fmt: skip
    choice |= {"scoring_encoder": asked, "statistic": statistic} | ({"expansion": expansion} if expansion else {})
    try:
        return {
            "paper_value": published("monosemanticity", **choice),
            "source": published_source("monosemanticity", **choice),
        }
    except UserError:
        return {}


EXPERIMENT = Experiment(
    name="towers",
    title="Another encoder, another tower",
    question="Do two scoring encoders agree on which neurons are monosemantic, and does the gain show in other towers?",
    paper="Tab. 1b, A3, A4, A6, A7",
    run=run,
)
