"""MS, R² and L0 by layer, width and kind of SAE (paper Tab. 1a, A2, A3, A5, A6, A9, A10, Fig. 5a), with controls.

All widths at the projection and at the block that the language model reads, the narrow ones at every hook point of the
profile; three seeds of the narrow ones, one of the wide. Everything is scored on the test pictures.
"""

from collections.abc import Mapping, Sequence
from typing import Any, SupportsFloat

import numpy as np
import pandas as pd

from vlm_sae_lib.controls.codes import random_directions, shuffled_code
from vlm_sae_lib.controls.reconstruction import sae_r2
from vlm_sae_lib.controls.rectify import RectifiedNeurons
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import AT_LEAST, OVER_PICTURES, OVER_TRAININGS, scored, sorted_curve
from vlm_sae_lib.experiments.registry import Experiment
from vlm_sae_lib.hooks import PROJECTION
from vlm_sae_lib.progress import progress
from vlm_sae_lib.records.results import paper_layer, published, published_source
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.scores.comparison import Scored, over_seeds, over_trainings
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.scores.reconstruction import reconstruction
from vlm_sae_lib.workbench import Workbench

SEEDS, NARROW, WIDE = (0, 1, 2), (1, 2, 4, 8), (16, 64)
KINDS = {"BatchTopK": "batch_top_k", "Matryoshka": "matryoshka_batch_top_k"}
MAIN, RIVAL, CONTROLLED = "Matryoshka ×4", "BatchTopK ×4", 4
ENOUGH = f" of at least {AT_LEAST} pictures"
PAPER_ENCODERS = ("DINOv2 ViT-B", "CLIP ViT-B")
"""Whose part the profile's two scoring encoders play."""
ACTIVITY = (2, 3, 5, 10, 20, 30, 50, 75, 100)
"""Least numbers of pictures for the minimum-activity curve."""
BINS = (2, 5, 10, 20, 40, 80, 160, 320, 10**9)
"""Edges of the bins of firing: on how many test pictures a neuron lies above its minimum."""
SAMPLE = 120
"""Test pictures of the sample that tests recompute slowly."""

Trained = Mapping[tuple[str, float], Sequence[SparseAutoencoder]]
Codes = Mapping[str, Sequence[Any]]
Parts = Mapping[str, Sequence[Scored]]


def run(bench: Workbench, found: Findings) -> None:
    """Scores of every SAE and control at every hook point under both encoders; rarity and MS at the projection."""
    blocks = sum(point.startswith("block") for point in bench.tower().hook_points)
    rebuilt, spread = [], []
    for hook_point in progress(bench.profile.hook_points, "Hook points", unit="layer"):
        layer = paper_layer(hook_point, blocks)
        saes = train(bench, hook_point)
        rebuilt += _record_reconstruction(found, bench, hook_point, layer, saes)
        kinds = codes(bench, hook_point, saes)
        for encoder, papers in zip(bench.scoring_names, PAPER_ENCODERS, strict=True):
            parts = {what: [scored(bench, code, encoder) for code in runs] for what, runs in kinds.items()}
            where = f"{hook_point}/{encoder}"
            spread += _record_scores(found, where, parts, {"layer": layer, "scoring_encoder": papers})
            _record_differences(found, where, parts)
            if encoder == bench.scoring_names[0]:
                _record_shares(found, where, parts)
                if hook_point == PROJECTION:
                    _record_activity(found, parts)
    found.table("reconstruction", pd.DataFrame(rebuilt))
    found.table("spread", pd.DataFrame(spread))
    _record_sample(found, bench)


def train(bench: Workbench, hook_point: str) -> Trained:
    """The SAEs of a hook point by kind and width, one for each seed; the narrow ones learn in one pass."""
    wide = WIDE if hook_point in (PROJECTION, bench.profile.steering_hook_point) else ()
    passes = [[(kind, width, seed) for kind in KINDS for width in NARROW for seed in SEEDS]]
    passes += [[(kind, width, SEEDS[0]) for kind in KINDS] for width in wide]
    saes: dict[tuple[str, float], list[SparseAutoencoder]] = {}
    for wanted in passes:
        configs = [bench.config(KINDS[kind], width, seed=seed) for kind, width, seed in wanted]
        for (kind, width, _), sae in zip(wanted, bench.saes(configs, hook_point), strict=True):
            saes.setdefault((kind, width), []).append(sae)
    return saes


def codes(bench: Workbench, hook_point: str, saes: Trained) -> Codes:
    """Codes of the test pictures: raw neurons, rectified ones, SAEs, and what means nothing, by kind of neuron.

    The rectified ones are cut to the L0 that the Matryoshka SAE of ×4 has on the training pictures. Random directions
    and shuffled codes take over each latent's firing rate on the test pictures; of the main width for every seed.
    """
    train, test = (bench.activations(split, hook_point) for split in ("train", "test"))
    raw = test.array().numpy()
    l0 = reconstruction(saes["Matryoshka", CONTROLLED][0], train).l0
    kinds: dict[str, list[Any]] = {"raw": [raw], "rectified": [RectifiedNeurons.fit(train).encode(raw)]}
    kinds["rectified, cut"] = [RectifiedNeurons.fit(train, l0).encode_sparse(raw)]
    for (kind, width), runs in saes.items():
        what = f"{kind} ×{width:g}"
        kinds[what] = [sae.encode_sparse(test) for sae in runs]
        if kind == "Matryoshka" or width == CONTROLLED:
            copied = kinds[what] if width == CONTROLLED else kinds[what][:1]
            kinds[f"random for {what}"] = [random_directions(raw, code, seed) for seed, code in enumerate(copied)]
    kinds[f"shuffled {MAIN}"] = [shuffled_code(kinds[MAIN][0])]
    return kinds


def _controls(what: str, parts: Parts) -> dict[str, str]:
    """What a kind of SAE is held against: a word to the kind of neuron."""
    if "×" not in what or what.startswith(("random", "shuffled")):
        return {}
    words = {"raw": "raw", "rectified, cut": "rectified, cut", "random directions": f"random for {what}"}
    words["shuffled"] = f"shuffled {what}"
    return {word: kind for word, kind in words.items() if kind in parts}


def _basis(runs: Sequence[Any]) -> dict[str, Any]:
    several = len(runs) > 1
    kind = OVER_TRAININGS if several else OVER_PICTURES
    return {"interval_kind": kind, "seeds": list(SEEDS[: len(runs)]), "split": "test"}


def _record_scores(found: Findings, where: str, parts: Parts, paper: dict[str, Any]) -> list[dict]:
    """Both means and the best of every kind as results; everything that the paper's tables give as rows."""
    rows = []
    for what, runs in parts.items():
        basis, controls = _basis(runs), _controls(what, parts)
        hook_point, _, encoder = where.partition("/")
        row: dict[str, Any] = {"hook point": hook_point, "encoder": encoder, "neurons of": what, "seeds": len(runs)}
        row |= _spread(runs)
        for least, suffix in ((2, ""), (AT_LEAST, ENOUGH)):
            mean = over_seeds(runs, least)
            found.estimate(
                f"{where}/mean{suffix}/{what}", mean, unit="MS", n=sum(int(run.kept(least).sum()) for run in runs),
                controls={word: f"{where}/mean{suffix}/{control}" for word, control in controls.items()}, **basis,
                **(_paper("monosemanticity", what, statistic="mean", **paper) if not suffix else {}),
            )  # fmt: skip
            row |= {f"mean{suffix}": _round(mean.value)}
        if known := _paper("monosemanticity", what, statistic="best", **paper):
            best = [run.ms[run.kept()].max(initial=-1) for run in runs]
            found.add(
                f"{where}/best/{what}", np.mean(best), interval=(min(best), max(best)) if len(best) > 1 else None,
                interval_kind="smallest and largest of the seeds", n=sum(int(run.kept().sum()) for run in runs),
                unit="MS", seeds=basis["seeds"], split="test", **known,
            )  # fmt: skip
        for statistic in ("mean", "std", "best", "worst"):
            known = _paper("monosemanticity", what, statistic=statistic, **paper)
            row[f"paper's {statistic}"] = known.get("paper_value")
        rows.append(row)
    return rows


def _spread(runs: Sequence[Scored]) -> dict[str, float]:
    """Best, worst, spread and number of neurons, means over the seeds: a neuron of two pictures may be the best."""
    facts = []
    for run in runs:
        defined, enough = run.ms[run.kept()], run.ms[run.kept(AT_LEAST)]
        facts.append({
            "neurons": len(run.ms), "defined": len(defined), f"active on {AT_LEAST}": len(enough),
            "std": defined.std(ddof=1) if len(defined) > 1 else np.nan,
            "best": defined.max(initial=-1), f"best{ENOUGH}": enough.max(initial=-1),
            "worst": defined.min(initial=1), f"worst{ENOUGH}": enough.min(initial=1),
        })  # fmt: skip
    return {name: _round(value) for name, value in pd.DataFrame(facts).mean().items()}


def _record_differences(found: Findings, where: str, parts: Parts) -> None:
    """Mean MS minus a control's over the same seeds and draws, of neurons of enough pictures."""
    pairs = [(f"Matryoshka ×{width}", f"BatchTopK ×{width}") for width in NARROW]
    pairs += [(f"Matryoshka ×{NARROW[0]}", "raw")]
    pairs += [(MAIN, control) for control in ("raw", "rectified, cut", f"random for {MAIN}", f"shuffled {MAIN}")]
    pairs += [(RIVAL, control) for control in ("raw", "rectified, cut", f"random for {RIVAL}")]
    for what, other in pairs:
        found.estimate(
            f"{where}/{what} minus {other}{ENOUGH}", over_seeds(parts[what], AT_LEAST, minus=parts[other]),
            n=sum(int(run.kept(AT_LEAST).sum()) for run in parts[what]), unit="MS", **_basis(parts[what]),
        )  # fmt: skip


def _record_shares(found: Findings, where: str, parts: Parts) -> None:
    """Share of the ×1 neurons above the raw mean, and above the best raw neuron (the paper: about 90 %)."""
    (raw,) = parts["raw"]
    for what in (f"Matryoshka ×{NARROW[0]}", f"random for Matryoshka ×{NARROW[0]}", "rectified, cut"):
        for bar, best in (("the raw mean", False), ("the best raw neuron", True)):
            runs = parts[what]
            sae = what.startswith("Matryoshka")
            others = ("rectified, cut", f"random for {what}")
            found.estimate(
                f"{where}/share above {bar}/{what}", over_trainings([run.above(raw, best=best) for run in runs]),
                n=sum(int(run.kept().sum()) for run in runs), unit="share of the defined neurons", **_basis(runs),
                controls={word: f"{where}/share above {bar}/{word}" for word in others} if sae else {},
                paper_value=0.9 if sae else None, source="v3 Section 4.2 (“around 90 %”)" if sae else None,
            )  # fmt: skip


def _record_activity(found: Findings, parts: Parts) -> None:
    """Sorted curves; mean MS by least number of pictures and by bin of it, with the control in the same bins."""
    curves = {what: parts[what] for what in parts if what == "raw" or what.startswith(("Matryoshka", "rectified, cut"))}
    curves[f"random for {MAIN}"] = parts[f"random for {MAIN}"]
    found.table("curves", pd.DataFrame([
        {"what": what, "rank": round(rank, 1), "ms": round(ms, 3)} for what, runs in curves.items()
        for rank, ms in _ranked(sorted_curve(runs[0].ms, 40), int(runs[0].kept().sum()))
    ]))  # fmt: skip
    compared = (MAIN, f"random for {MAIN}", "rectified, cut")
    least, binned = [], []
    for what in compared:
        runs = parts[what]
        for pictures in ACTIVITY:
            mean, n = over_seeds(runs, pictures), np.mean([run.kept(pictures).sum() for run in runs])
            least.append({"what": what, "pictures": pictures, "neurons": _round(n), **_rounded(mean)})
        for low, high in zip(BINS, BINS[1:], strict=False):
            inside = [_inside(run, low, high) for run in runs]
            mean, n = over_seeds(inside), np.mean([len(run.ms) for run in inside])
            binned.append({"what": what, "from": low, "below": high, "neurons": _round(n), **_rounded(mean)})
    found.table("least activity", pd.DataFrame(least))
    found.table("by firing", pd.DataFrame(binned))
    for pictures in ACTIVITY:
        for other in compared[1:]:
            found.estimate(
                f"{PROJECTION}/{MAIN} minus {other}, active on {pictures}",
                over_seeds(parts[MAIN], pictures, minus=parts[other]), unit="MS", **_basis(parts[MAIN]),
                n=sum(int(run.kept(pictures).sum()) for run in parts[MAIN]),
            )  # fmt: skip


def _inside(run: Scored, low: int, high: int) -> Scored:
    """The neurons that lie above their minimum on ``low`` to below ``high`` pictures."""
    kept = run.kept(low) & (run.pictures < high)
    return Scored(run.ms[kept], run.draws[:, kept], run.pictures[kept])


def _record_reconstruction(found: Findings, bench: Workbench, hook_point: str, layer: str, saes: Trained) -> list[dict]:
    """R² over all test pictures and L0 as results; the paper's R², and latents that never fire, in the rows."""
    test = bench.activations("test", hook_point)
    rows = []
    for (kind, width), runs in saes.items():
        what = f"{kind} ×{width:g}"
        reports, drawn = [reconstruction(sae, test) for sae in runs], [sae_r2(sae, test) for sae in runs]
        basis: dict[str, Any] = {"n": len(test), "split": "test", "seeds": list(SEEDS[: len(runs)])}
        r2, l0 = over_trainings([(each.value, each.replicates) for each in drawn]), [each.l0 for each in reports]
        papers = {name: _paper("reconstruction", what, layer=layer, statistic=name) for name in ("r2_percent", "l0")}
        if papers["r2_percent"]:
            papers["r2_percent"]["paper_value"] /= 100
        kind_of_interval = _basis(runs)["interval_kind"].replace("200", "500")
        found.estimate(f"{hook_point}/R²/{what}", r2, interval_kind=kind_of_interval, **basis, **papers["r2_percent"])
        found.add(
            f"{hook_point}/L0/{what}", np.mean(l0), interval=(min(l0), max(l0)) if len(l0) > 1 else None,
            interval_kind="smallest and largest of the seeds", unit="latents per picture", **basis, **papers["l0"],
        )  # fmt: skip
        rows.append({
            "hook point": hook_point, "what": what, "seeds": len(runs), "latents": runs[0].n_latents,
            "R²": _round(r2.value), "R², paper's form": _round(np.mean([each.r2_paper for each in reports])),
            "L0": _round(np.mean(l0)), "never fired": _round(np.mean([each.never_fired for each in reports])),
            "paper's R²": papers["r2_percent"].get("paper_value"), "paper's L0": papers["l0"].get("paper_value"),
        })  # fmt: skip
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


def _ranked(curve: Sequence[float], neurons: int) -> list[tuple[float, float]]:
    """A sorted curve with the rank of each point among all defined neurons, from 1."""
    return list(zip(np.linspace(1, max(neurons, 1), len(curve)), curve, strict=True))


def _rounded(estimate: Any) -> dict[str, float]:
    return dict(zip(("mean", "low", "high"), map(_round, (estimate.value, *estimate.interval)), strict=True))


def _round(value: SupportsFloat) -> float:
    return round(float(value), 4)


EXPERIMENT = Experiment(
    name="layers",
    title="Layers, widths and kinds of SAE",
    question="How monosemantic are the neurons of every SAE at every layer, and how much of that would chance give?",
    paper="Tab. 1a, A2, A3, A5, A6, A9, A10, Fig. 5a",
    run=run,
)
