"""MS, R² and L0 by layer, width and kind of SAE (paper Tab. 1a, A2, A3, A5, A6, A9, A10, Fig. 5a), with controls.

All widths at the projection and at the block that the language model reads, the narrow ones at every hook point of the
profile; ten seeds of all that an effect of the plan rests on. Everything is scored on the test pictures.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, SupportsFloat

import numpy as np
import pandas as pd

from vlm_sae_lib.controls.codes import random_directions, shuffled_code
from vlm_sae_lib.controls.reconstruction import RESAMPLES as R2_RESAMPLES
from vlm_sae_lib.controls.reconstruction import sae_r2
from vlm_sae_lib.controls.rectify import RectifiedNeurons
from vlm_sae_lib.experiments.experiment import Experiment
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.layer_activity import record_activity
from vlm_sae_lib.experiments.layer_effects import (
    GAINS,
    MAIN,
    RIVAL,
    TENFOLD,
    Parts,
    best_percentile,
    record_effects,
    record_given_up,
    share_above_raw,
)
from vlm_sae_lib.experiments.measure import AT_LEAST, POPULATIONS, SEEDS, interval_kind, scored_runs
from vlm_sae_lib.experiments.rivals import FROZEN
from vlm_sae_lib.hooks import PROJECTION
from vlm_sae_lib.progress import progress
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.records.results import paper_layer, published, published_source
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.scores.comparison import Scored, over_seeds
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.scores.reconstruction import Reconstruction, reconstruction
from vlm_sae_lib.statistics.intervals import student
from vlm_sae_lib.workbench import Workbench

NARROW, WIDE, FEWER = (1, 2, 4, 8), (16, 64), SEEDS[:3]
KINDS = {"BatchTopK": "batch_top_k", "Matryoshka": "matryoshka_batch_top_k"}
SETTINGS: dict[str, dict[str, Any]] = {kind: {"kind": key} for kind, key in KINDS.items()}
SETTINGS |= {who: SETTINGS["Matryoshka"] | {"frozen": part} for who, part in FROZEN.items()}
CONTROLLED = 4
"""The width of the claims that do not name one, and of the autoencoders of which a part never learns."""
STUCK = tuple(f"{who} ×{CONTROLLED}" for who in FROZEN)
PAPER_ENCODERS = ("DINOv2 ViT-B", "CLIP ViT-B")
"""Whose part the profile's two scoring encoders play."""
OVER_PICTURES_R2 = f"{R2_RESAMPLES} bootstrap draws of the pictures, middle 95 %"
SAMPLE = 120
"""Test pictures of the sample that tests recompute slowly."""

Trained = Mapping[tuple[str, float], Sequence[SparseAutoencoder]]
Codes = Mapping[str, Sequence[Any]]


def run(bench: Workbench, found: Findings) -> None:
    """Scores of every SAE and control at every hook point under both encoders; rarity and MS at the projection."""
    blocks = sum(point.startswith("block") for point in bench.tower().hook_points)
    main = bench.scoring_names[0]
    cases: dict[str, Parts] = {}
    r2: dict[str, dict[str, list[float]]] = {}
    rebuilt, spread = [], []
    for hook_point in progress(bench.profile.hook_points, "Hook points", unit="layer"):
        layer, test = paper_layer(hook_point, blocks), bench.activations("test", hook_point)
        saes = train(bench, hook_point)
        reports = {f"{kind} ×{width:g}": [reconstruction(sae, test) for sae in runs]
                   for (kind, width), runs in saes.items()}  # fmt: skip
        r2[hook_point] = {what: [each.r2 for each in runs] for what, runs in reports.items()}
        rebuilt += _record_reconstruction(found, bench, hook_point, layer, saes, reports)
        kinds = codes(bench, hook_point, saes)
        for encoder, papers in zip(bench.scoring_names, PAPER_ENCODERS, strict=True):
            where = f"{hook_point}/{encoder}"
            cases[where] = {what: scored_runs(bench, runs, encoder) for what, runs in kinds.items()}
            spread += _record_scores(found, where, cases[where], {"layer": layer, "scoring_encoder": papers})
            _record_differences(found, where, cases[where])
            if encoder == main:
                _record_shares(found, where, cases[where])
    _record_best(found, f"{PROJECTION}/{main}", cases[f"{PROJECTION}/{main}"])
    record_activity(found, cases[f"{PROJECTION}/{main}"])
    found.table("reconstruction", pd.DataFrame(rebuilt))
    found.table("spread", pd.DataFrame(spread))
    record_effects(found, cases, main)
    record_given_up(found, r2, len(bench.activations("test", PROJECTION)))
    _record_sample(found, bench)


def seeds_of(hook_point: str, width: float) -> tuple[int, ...]:
    """Ten wherever an effect of the plan needs them, three of other narrow SAEs, one of other wide ones."""
    if width in (NARROW[0], CONTROLLED) or (hook_point == PROJECTION and width in TENFOLD):
        return SEEDS
    return FEWER if width in NARROW else SEEDS[:1]


def train(bench: Workbench, hook_point: str) -> Trained:
    """The SAEs of a hook point by kind and width, one for each seed; the narrow ones learn in one pass."""
    wide = WIDE if hook_point in (PROJECTION, bench.profile.steering_hook_point) else ()
    saes: dict[tuple[str, float], list[SparseAutoencoder]] = {}
    for widths in (NARROW, *((width,) for width in wide)):
        wanted = [(kind, width, seed) for kind in KINDS for width in widths for seed in seeds_of(hook_point, width)]
        if CONTROLLED in widths:
            wanted += [(who, CONTROLLED, seed) for who in FROZEN for seed in seeds_of(hook_point, CONTROLLED)]
        configs = [bench.config(**SETTINGS[kind], expansion=width, seed=seed) for kind, width, seed in wanted]
        for (kind, width, _), sae in zip(wanted, bench.saes(configs, hook_point), strict=True):
            saes.setdefault((kind, width), []).append(sae)
    return saes


def codes(bench: Workbench, hook_point: str, saes: Trained) -> Codes:
    """Codes of the test pictures: raw neurons, rectified ones, SAEs, and what means nothing, by kind of neuron.

    For every seed there is a control of its own. The rectified neurons are cut to the L0 that the seed's Matryoshka
    SAE of ×4 has on the training pictures; random directions and shuffled codes take over each latent's firing rate on
    the test pictures.
    """
    train, test = (bench.activations(split, hook_point) for split in ("train", "test"))
    raw = test.array().numpy()
    l0s = [reconstruction(sae, train).l0 for sae in saes["Matryoshka", CONTROLLED]]
    kinds: dict[str, list[Any]] = {"raw": [raw], "rectified": [RectifiedNeurons.fit(train).encode(raw)]}
    kinds["rectified, cut"] = [RectifiedNeurons.fit(train, l0).encode_sparse(raw) for l0 in l0s]
    for (kind, width), runs in saes.items():
        what = f"{kind} ×{width:g}"
        kinds[what] = [sae.encode_sparse(test) for sae in runs]
        if kind == "Matryoshka" or (kind in KINDS and width == CONTROLLED):
            kinds[f"random for {what}"] = [random_directions(raw, code, seed) for seed, code in enumerate(kinds[what])]
    kinds[f"shuffled {MAIN}"] = [shuffled_code(code, seed) for seed, code in enumerate(kinds[MAIN])]
    return kinds


def _controls(what: str, parts: Parts) -> dict[str, str]:
    """What a kind of SAE is held against: a word to the kind of neuron."""
    kind, _, width = what.partition(" ×")
    if kind not in KINDS:
        return {}
    words = {"raw": "raw", "rectified, cut": "rectified, cut", "random directions": f"random for {what}"}
    words |= dict(zip(FROZEN, STUCK, strict=True)) if width == str(CONTROLLED) else {}
    words["shuffled"] = f"shuffled {what}"
    return {word: kind for word, kind in words.items() if kind in parts}


def _basis(runs: Sequence[Any]) -> dict[str, Any]:
    return {"interval_kind": interval_kind(runs), "seeds": list(SEEDS[: len(runs)]), "split": "test"}


def _record_scores(found: Findings, where: str, parts: Parts, paper: dict[str, Any]) -> list[dict]:
    """Both means and the best of every kind as results; everything that the paper's tables give as rows."""
    rows = []
    for what, runs in parts.items():
        basis, controls = _basis(runs), _controls(what, parts)
        hook_point, _, encoder = where.partition("/")
        row: dict[str, Any] = {"hook point": hook_point, "encoder": encoder, "neurons of": what, "seeds": len(runs)}
        row |= _spread(runs)
        for least, suffix in POPULATIONS:
            mean = over_seeds(runs, least)
            found.estimate(
                f"{where}/mean{suffix}/{what}", mean, unit="MS", n=_number(runs, least),
                controls={word: f"{where}/mean{suffix}/{control}" for word, control in controls.items()}, **basis,
                **(_paper("monosemanticity", what, statistic="mean", **paper) if not suffix else {}),
            )  # fmt: skip
            row |= {f"mean{suffix}": _round(mean.value)}
        if known := _paper("monosemanticity", what, statistic="best", **paper):
            best = student([_of(run.ms[run.kept()], np.max) for run in runs])
            found.estimate(f"{where}/best/{what}", best, n=_number(runs), unit="MS", **basis, **known)
        for statistic in ("mean", "std", "best", "worst"):
            known = _paper("monosemanticity", what, statistic=statistic, **paper)
            row[f"paper's {statistic}"] = known.get("paper_value")
        rows.append(row)
    return rows


def _number(runs: Sequence[Scored], at_least: int = 2) -> int:
    return sum(int(run.kept(at_least).sum()) for run in runs)


def _of(values: np.ndarray, statistic: Callable[[np.ndarray], Any], least: int = 1) -> float:
    return float(statistic(values)) if len(values) >= least else np.nan


def _spread(runs: Sequence[Scored]) -> dict[str, float]:
    """Best, worst, spread and number of neurons, means over the seeds: a neuron of two pictures may be the best."""
    facts = []
    for run in runs:
        defined, enough = run.ms[run.kept()], run.ms[run.kept(AT_LEAST)]
        facts.append({
            "neurons": len(run.ms), "defined": len(defined), f"active on {AT_LEAST}": len(enough),
            "std": _of(defined, lambda ms: ms.std(ddof=1), least=2),
            "best": _of(defined, np.max), f"best{ENOUGH}": _of(enough, np.max),
            "worst": _of(defined, np.min), f"worst{ENOUGH}": _of(enough, np.min),
        })  # fmt: skip
    return {name: _round(value) for name, value in pd.DataFrame(facts).mean().items()}


def _record_differences(found: Findings, where: str, parts: Parts) -> None:
    """Mean MS minus that of another kind, paired by seed."""
    pairs = [(f"Matryoshka ×{width}", f"BatchTopK ×{width}") for width in NARROW]
    pairs += [(f"Matryoshka ×{NARROW[0]}", "raw"), *((MAIN, control) for control in (*GAINS.values(), *STUCK))]
    pairs += [(RIVAL, control) for control in ("raw", "rectified, cut", f"random for {RIVAL}")]
    for what, other in pairs:
        for least, suffix in POPULATIONS:
            found.estimate(
                f"{where}/{what} minus {other}{suffix}", over_seeds(parts[what], least, minus=parts[other]),
                n=_number(parts[what], least), unit="MS", **_basis(parts[what]),
            )  # fmt: skip


def _record_shares(found: Findings, where: str, parts: Parts) -> None:
    """Share of the ×1 neurons above the raw mean, and above the best raw neuron (the paper: about 90 %)."""
    for what in (f"Matryoshka ×{NARROW[0]}", f"random for Matryoshka ×{NARROW[0]}", "rectified, cut"):
        for bar, best in (("the raw mean", False), ("the best raw neuron", True)):
            runs, sae = parts[what], what.startswith("Matryoshka")
            others = ("rectified, cut", f"random for {what}")
            found.estimate(
                f"{where}/share above {bar}/{what}", student(share_above_raw(parts, what, 2, best=best)),
                n=_number(runs), unit="share of the defined neurons", **_basis(runs),
                controls={word: f"{where}/share above {bar}/{word}" for word in others} if sae else {},
                paper_value=0.9 if sae else None, source="v3 Section 4.2 (“around 90 %”)" if sae else None,
            )  # fmt: skip


def _record_best(found: Findings, where: str, parts: Parts) -> None:
    """The 99th percentile at every width, beside that of random directions that fire as often."""
    for what in (what for what in parts if what.startswith(("Matryoshka", "random for Matryoshka"))):
        control = f"random for {what}"
        for least, suffix in POPULATIONS:
            start = f"{where}/99th percentile{suffix}"
            found.estimate(
                f"{start}/{what}", student(best_percentile(parts[what], least)), n=_number(parts[what], least),
                unit="MS", controls={"random directions": f"{start}/{control}"} if control in parts else {},
                **_basis(parts[what]),
            )  # fmt: skip


def _record_reconstruction(
    found: Findings, bench: Workbench, hook_point: str, layer: str, saes: Trained,
    reports: Mapping[str, Sequence[Reconstruction]],
) -> list[dict]:  # fmt: skip
    """R² over all test pictures and L0 as results; the paper's R², and latents that never fire, in the rows."""
    test = bench.activations("test", hook_point)
    rows = []
    for (kind, width), trained in saes.items():
        what = f"{kind} ×{width:g}"
        runs, basis = reports[what], {"n": len(test), **_basis(trained)}
        papers = {name: _paper("reconstruction", what, layer=layer, statistic=name) for name in ("r2_percent", "l0")}
        if papers["r2_percent"]:
            papers["r2_percent"]["paper_value"] /= 100
        r2, l0 = (student([getattr(each, name) for each in runs]) for name in ("r2", "l0"))
        if len(runs) == 1:
            r2, basis["interval_kind"] = sae_r2(trained[0], test).estimate, OVER_PICTURES_R2
        found.estimate(f"{hook_point}/R²/{what}", r2, **basis, **papers["r2_percent"])
        found.estimate(f"{hook_point}/L0/{what}", l0, unit="latents per picture", **basis, **papers["l0"])
        rows.append({
            "hook point": hook_point, "what": what, "seeds": len(runs), "latents": trained[0].n_latents,
            "R²": _round(r2.value), "R², paper's form": _round(np.mean([each.r2_paper for each in runs])),
            "L0": _round(l0.value), "never fired": _round(np.mean([each.never_fired for each in runs])),
            "paper's R²": papers["r2_percent"].get("paper_value"), "paper's L0": papers["l0"].get("paper_value"),
        })  # fmt: skip
    for width in NARROW:
        plain, nested = (reports[f"{kind} ×{width}"] for kind in KINDS)
        gap = student([a.r2 - b.r2 for a, b in zip(plain, nested, strict=True)])
        found.estimate(f"{hook_point}/R² given up/×{width}", gap, n=len(test), **_basis(plain))
    return rows


def _record_sample(found: Findings, bench: Workbench) -> None:
    """Five raw neurons and five latents of the shipped SAE on a few pictures, small enough to recompute by hand."""
    sae, hook_point = bench.shown("main_matryoshka"), bench.profile.main_hook_point
    found.input("sae/main_matryoshka", sae.hash)
    unit = bench.embeddings("test").array()[:SAMPLE].numpy()
    raw = bench.activations("test", hook_point)[:SAMPLE].numpy()
    code = sae.encode_sparse(raw).toarray()
    busiest = np.argsort(-(code > 0).sum(axis=0), kind="stable")[:5]
    columns = {"raw neuron": (raw, np.arange(5)), "shipped latent": (code, busiest)}
    found.table("sample", pd.DataFrame([
        {"what": what, "index": int(index), "ms": float(ms)} for what, (values, chosen) in columns.items()
        for index, ms in zip(chosen, monosemanticity_score(values[:, chosen], unit), strict=True)
    ]))  # fmt: skip


def _paper(table: str, what: str, **where: Any) -> dict[str, Any]:
    """The paper's number for a raw neuron or an SAE of its K; nothing for the controls, which it lacks."""
    kind, _, width = what.partition(" ×")
    if what != "raw" and kind not in KINDS:
        return {}
    where |= {"model": "CLIP ViT-L", "sae": KINDS.get(kind, "none")} | ({"expansion": width} if width else {})
    return {"paper_value": published(table, **where), "source": published_source(table, **where)}


def _round(value: SupportsFloat) -> float:
    return round(float(value), 4)


EXPERIMENT = Experiment(
    name="layers",
    title="Layers, widths and kinds of SAE",
    question="How monosemantic are the neurons of every SAE at every layer, and how much of that would chance give?",
    paper="Tab. 1a, A2, A3, A5, A6, A9, A10, Fig. 5a",
    run=run,
)
