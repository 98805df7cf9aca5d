"""Can interventions on SAE latents make captions truer? The paper does not ask; a summary in circulation says so.

Three families of edits, each with a small grid: the picture's own strongest latents amplified; latents that the
degradation raises suppressed; all latents moved back by the degradation's mean shift. For each kind of pictures the
best of the whole grid is chosen on choosing pictures and scored once on test pictures. A control has the same grid, try
for try, with latents drawn at random and pushes of the same length. The reconstruction in place of the activation
touches no latent: it is denoising, a row of its own, and never among what is chosen from.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.experiment import Experiment
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.pocket.degradations import DEGRADATIONS, degrade
from vlm_sae_lib.pocket.language import DESCRIBE
from vlm_sae_lib.records.results import published, published_source
from vlm_sae_lib.statistics.intervals import bootstrap_difference, bootstrap_mean, bootstrap_ratio
from vlm_sae_lib.steering.concepts import PooledLatents, pool_latents
from vlm_sae_lib.steering.free_text import followed
from vlm_sae_lib.steering.latent_edits import Change, LatentEdit, scaled, shifted, some_scaled, strongest_scaled
from vlm_sae_lib.steering.sweep import UNSTEERED, SteeringBench
from vlm_sae_lib.workbench import Workbench

SLOTS = ("order", "colour", "pattern", "habitat", "species")
CONDITIONS = ("clean", *DEGRADATIONS)
BARE, RECONSTRUCTION, AMPLIFY, SUPPRESS, SHIFT = "bare model", "reconstruction", "amplify", "suppress", "shift back"
RANDOM, BEST = "random latents", "best edit"
FAMILIES = (AMPLIFY, SUPPRESS, SHIFT)
BEYOND_RANDOM = "best edit beyond random latents"
ALL_RIGHT = "all slots right"
BEYOND = "captions right, best edit minus best random edit"
REBUILT = "captions right, reconstruction minus best edit"
SCORES = {ALL_RIGHT: lambda right: right.all(1), "slots right": lambda right: right.mean(1)}
OVER_PICTURES = "2000 bootstrap draws of the pictures, middle 95 %"
EXAMPLES = 5
SPLIT = "chosen on choosing, scored on test"


@dataclass(frozen=True)
class Size:
    """How many pictures; fewer in tests."""

    choosing: int = 150
    test: int = 300
    counts: tuple[int, ...] = (5, 20)
    """How many latents are amplified or suppressed."""
    amplify: tuple[float, ...] = (1.2, 1.5, 2.0)
    suppress: tuple[float, ...] = (0.0, 0.5)
    shift: tuple[float, ...] = (0.5, 1.0)
    batch: int = 100


@dataclass(frozen=True)
class Try:
    family: str
    words: str
    what: LatentEdit
    random: bool = False


def run(bench: Workbench, found: Findings, size: Size = Size()) -> None:
    """Caption accuracy by condition: bare, denoised, and under the best edit: of each family, of all, at random."""
    if bench.profile.island is None:
        raise UserError("Captions can be held against the truth in the pocket world only; use the profile pocket.")
    vlm, sae = bench.vlm(), bench.shown("steering")
    parts = {s: bench.pictures(s).subset(range(n)) for s, n in (("choosing", size.choosing), ("test", size.test))}
    images = {(split, c): degraded(part, c) for split, part in parts.items() for c in CONDITIONS}
    pooled = {c: pool_latents(vlm, sae, images["choosing", c]) for c in CONDITIONS}
    found.add("SAE", sae.hash[:12], n=sae.n_latents, unit="first digits of the steering SAE's hash")
    denoising = Try(RECONSTRUCTION, "error dropped", LatentEdit(sae, lambda z: z, 1.0, keep_error=False))
    chosen_rows, examples = [], []
    compared: dict[str, list[np.ndarray]] = {BEYOND: [], REBUILT: []}
    for place, condition in enumerate(CONDITIONS):
        tries = make_tries(sae, pooled, condition, size)
        right: dict[tuple[str, str], np.ndarray] = {}
        settings: dict[str, Try] = {}
        for split in ("choosing", "test"):
            at = SteeringBench(vlm, sae, images[split, condition], keep_error=True, batch_size=size.batch)
            truth = parts[split].factors
            tried = [denoising, *(tries if split == "choosing" else dict.fromkeys(settings.values()))]
            captions = at.captions([UNSTEERED, *(t.what for t in tried)], DESCRIBE, max_new_tokens=16)
            by_try = dict(zip((None, *tried), captions, strict=True))
            if split == "choosing":
                settings = choose(tries, [slots_right(by_try[t], truth) for t in tries], seed=place)
            said = {BARE: by_try[None], RECONSTRUCTION: by_try[denoising]}
            said |= {name: by_try[t] for name, t in settings.items()}
            right |= {(split, name): slots_right(texts, truth) for name, texts in said.items()}
        _record(found, condition, right, settings)
        best, random, rebuilt = (right["test", who].all(1).astype(float) for who in (BEST, RANDOM, RECONSTRUCTION))
        compared[BEYOND].append(best - random)
        compared[REBUILT].append(rebuilt - best)
        examples += [
            {"condition": condition, "picture": int(parts["test"].ids[i]), "by": name, "caption": said[name][i]}
            for i in range(min(EXAMPLES, size.test)) for name in (BARE, RECONSTRUCTION, BEST)
        ]  # fmt: skip
        chosen_rows += [
            {"condition": condition, "family": name, "chosen": t.words,
             **{f"{split} {score}": SCORES[score](right[split, name]).mean() for split in parts for score in SCORES}}
            for name, t in settings.items()
        ]  # fmt: skip
        found.add(f"{condition}/tries", sum(not t.random for t in tries), unit="edits compared on choosing pictures")
        found.add(f"{condition}/random tries", sum(t.random for t in tries), unit="tries of the control")
    for name, columns in compared.items():
        found.effect(
            name, np.stack(columns, axis=1), unit="picture", of="share of captions", n=len(parts["test"]), split=SPLIT,
            cases=CONDITIONS,
        )  # fmt: skip
    found.table("chosen", pd.DataFrame(chosen_rows).round(4))
    found.table("first test pictures", pd.DataFrame(examples))


def degraded(part, condition: str) -> list:
    """The pictures of a source, worse in one way; the same for the same picture."""
    if condition == "clean":
        return part.images
    return [degrade(image, condition, int(i)) for i, image in zip(part.ids, part.images, strict=True)]


def make_tries(sae, pooled: dict[str, PooledLatents], condition: str, size: Size) -> list[Try]:
    """The grid of every family, and for each of its tries one of the control, from choosing pictures alone.

    A control has as many latents, drawn at random among those that fire, and moves each picture as far. On clean
    pictures the nuisance latents are those that rise under any degradation, and there is no shift to undo.
    """
    clean = pooled["clean"].mean
    worse = pooled[condition].mean if condition != "clean" else np.mean([pooled[c].mean for c in DEGRADATIONS], axis=0)
    rise = nuisance(clean, worse)
    unit = torch.from_numpy(np.maximum(clean.max(0), 1e-6)).float()
    rng = np.random.default_rng(0)
    tries: list[Try] = []

    def add(family: str, words: str, own: Change, control: Change, strength: float) -> None:
        edits = LatentEdit(sae, own, strength), LatentEdit(sae, control, strength, as_far_as=own)
        tries.extend(Try(family, words, edit, random) for edit, random in zip(edits, (False, True), strict=True))

    def drawn(n: int, factor: float) -> Change:
        return some_scaled(n, factor, int(rng.integers(2**31)))

    for n in size.counts:
        for factor in size.amplify:
            add(AMPLIFY, f"{n} latents × {factor:g}", strongest_scaled(n, factor, unit), drawn(n, factor), factor)
        for factor in size.suppress:
            nuisances = torch.from_numpy(rise[:n].copy())
            add(SUPPRESS, f"{n} latents × {factor:g}", scaled(nuisances, factor), drawn(n, factor), factor)
    if condition != "clean":
        back = torch.from_numpy(clean.mean(0) - worse.mean(0)).float()
        live = pooled[condition].live()
        for strength in size.shift:
            permuted = torch.zeros_like(back)
            permuted[live] = back[rng.permutation(live)]
            add(SHIFT, f"× {strength:g}", shifted(back, strength), shifted(permuted, strength), strength)
    return tries


def nuisance(clean: np.ndarray, worse: np.ndarray) -> np.ndarray:
    """Latents by how clearly they rise from a picture to the same picture made worse: mean over sd of the change."""
    change = worse - clean
    return np.argsort(-(change.mean(0) / (change.std(0) + 1e-3)), kind="stable")


def slots_right(captions: np.ndarray, truth: pd.DataFrame) -> np.ndarray:
    """(pictures, slots): which slots of a caption are true; none where it has not the form of a description."""
    said = [followed(text, DESCRIBE) or dict.fromkeys(SLOTS, "") for text in captions]
    return np.array([[s[slot] for slot in SLOTS] for s in said]) == truth[list(SLOTS)].to_numpy()


def choose(tries: list[Try], right: list[np.ndarray], *, seed: int) -> dict[str, Try]:
    """The best of each family, of all edits, and of the control: most captions right, then most slots, then by lot."""
    lots = np.random.default_rng(seed).permutation(len(tries))

    def best(among: list[int]) -> Try:
        return tries[max(among, key=lambda i: (right[i].all(1).mean(), right[i].mean(), lots[i]))]

    places = range(len(tries))
    found = {f: [i for i in places if tries[i].family == f and not tries[i].random] for f in FAMILIES}
    found[BEST] = [i for i in places if not tries[i].random]
    found[RANDOM] = [i for i in places if tries[i].random]
    return {name: best(among) for name, among in found.items() if among}


def _record(found: Findings, condition: str, right: dict, settings: dict[str, Try]) -> None:
    for score, of in SCORES.items():
        values = {key: of(own).astype(float) for key, own in right.items()}
        bare = values["test", BARE]
        common: dict[str, Any] = {"interval_kind": OVER_PICTURES, "n": len(bare), "split": SPLIT}
        for name in (BARE, RECONSTRUCTION, *settings):
            others = {other: f"{condition}/{score}/{other}" for other in (BARE, RANDOM) if name not in (BARE, other)}
            found.estimate(
                f"{condition}/{score}/{name}", bootstrap_mean(values["test", name]), unit="share", **common,
                controls=others,
            )  # fmt: skip
        for name in (RECONSTRUCTION, *settings):
            gain = bootstrap_difference(values["test", name], bare, paired=True)
            found.estimate(f"{condition}/gain, {score}/{name}", gain, unit="difference of shares", **common)
        for name in settings:
            gains = [values[split, name] - values[split, BARE] for split in ("choosing", "test")]
            found.estimate(
                f"{condition}/gain where chosen, {score}/{name}", bootstrap_mean(gains[0]),
                unit="difference of shares, before the test",
                interval_kind=OVER_PICTURES, n=len(gains[0]), split="choosing",
            )  # fmt: skip
            found.estimate(
                f"{condition}/optimism, {score}/{name}", bootstrap_difference(*gains),
                unit="gain on choosing minus gain on test pictures",
                interval_kind=OVER_PICTURES, n=len(gains[0]), split="choosing and test",
            )  # fmt: skip
        beyond = values["test", BEST] - values["test", RANDOM]
        found.estimate(
            f"{condition}/beyond random latents, {score}/{BEST}", bootstrap_mean(beyond), unit="difference of shares",
            **common,
        )  # fmt: skip
        _record_relative(found, f"{condition}/relative change, {score}", values, beyond, common)


def _record_relative(found: Findings, prefix: str, values: dict, beyond: np.ndarray, common: dict[str, Any]) -> None:
    """Changes as shares of what is right without any, beside the number that summaries of the paper tell."""
    bare = values["test", BARE]
    told: dict[str, Any] = {
        "paper_value": published("summaries", claim="captioning_gain_percent") / 100,
        "source": published_source("summaries", claim="captioning_gain_percent"),
    }  # fmt: skip
    changes = {name: values["test", name] - bare for name in (BEST, RANDOM, RECONSTRUCTION)}
    for name, change in (changes | {BEYOND_RANDOM: beyond}).items():
        found.estimate(
            f"{prefix}/{name}", bootstrap_ratio(change, bare, paired=True), unit="relative change", **common,
            controls={RANDOM: f"{prefix}/{RANDOM}"} if name == BEST else {}, **(told if name == BEST else {}),
        )  # fmt: skip


EXPERIMENT = Experiment(
    name="captioning",
    title="Can latents make captions truer?",
    question="Does any intervention on latents, chosen on some pictures, raise the accuracy of captions of others?",
    paper="",
    run=run,
    speaks=True,
)
