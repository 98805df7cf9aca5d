"""Can interventions on SAE latents make captions truer? The paper does not ask; a summary in circulation says so.

Families of interventions, each with a small grid: the reconstruction in place of the activation; the picture's own
strongest latents amplified; latents that the degradation raises suppressed; all latents moved back by the degradation's
mean shift. For each kind of pictures the best of the whole grid is chosen on choosing pictures and scored once on test
pictures. A control has the same grid with latents drawn at random.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.registry import Experiment
from vlm_sae_lib.pocket.degradations import DEGRADATIONS, degrade
from vlm_sae_lib.pocket.language import DESCRIBE
from vlm_sae_lib.records.results import published, published_source
from vlm_sae_lib.statistics.intervals import Estimate, Interval, bootstrap_difference, bootstrap_mean, bootstrap_ratio
from vlm_sae_lib.steering.concepts import PooledLatents, pool_latents
from vlm_sae_lib.steering.free_text import followed
from vlm_sae_lib.steering.latent_edits import LatentEdit, scaled, shifted, some_scaled, strongest_scaled
from vlm_sae_lib.steering.sweep import UNSTEERED, SteeringBench
from vlm_sae_lib.workbench import Workbench

SLOTS = ("order", "colour", "pattern", "habitat", "species")
CONDITIONS = ("clean", *DEGRADATIONS)
BARE, RECONSTRUCTION, AMPLIFY, SUPPRESS, SHIFT = "bare model", "reconstruction", "amplify", "suppress", "shift back"
RANDOM, BEST = "random latents", "best of all"
FAMILIES = (RECONSTRUCTION, AMPLIFY, SUPPRESS, SHIFT)
SCORES = {"all slots right": lambda right: right.all(1), "slots right": lambda right: right.mean(1)}
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
    """Caption accuracy by condition: bare, under the best of each family, of all, and of the random control."""
    if bench.profile.vlm != "pocket":
        raise UserError("Captions can be held against the truth in the pocket world only; use the profile pocket.")
    vlm, sae = bench.vlm(), bench.shown("steering")
    parts = {s: bench.pictures(s).subset(range(n)) for s, n in (("choosing", size.choosing), ("test", size.test))}
    images = {(split, c): degraded(part, c) for split, part in parts.items() for c in CONDITIONS}
    pooled = {c: pool_latents(vlm, sae, images["choosing", c]) for c in CONDITIONS}
    found.add("SAE", sae.hash[:12], n=sae.n_latents, unit="first digits of the steering SAE's hash")
    chosen_rows, examples = [], []
    for condition in CONDITIONS:
        tries = make_tries(sae, pooled, condition, size)
        right: dict[tuple[str, str], np.ndarray] = {}
        settings: dict[str, Try] = {}
        for split in ("choosing", "test"):
            at = SteeringBench(vlm, sae, images[split, condition], keep_error=True, batch_size=size.batch)
            truth = parts[split].factors
            tried = tries if split == "choosing" else list(dict.fromkeys(settings.values()))
            captions = at.captions([UNSTEERED, *(t.what for t in tried)], DESCRIBE, max_new_tokens=16)
            by_try = dict(zip((None, *tried), captions, strict=True))
            if split == "choosing":
                settings = choose(tries, [slots_right(by_try[t], truth) for t in tries])
            said = {BARE: by_try[None]} | {name: by_try[t] for name, t in settings.items()}
            right |= {(split, name): slots_right(texts, truth) for name, texts in said.items()}
        _record(found, condition, right, settings)
        examples += [
            {"condition": condition, "picture": int(parts["test"].ids[i]), "by": name, "caption": said[name][i]}
            for i in range(min(EXAMPLES, size.test)) for name in (BARE, RECONSTRUCTION, BEST)
        ]  # fmt: skip
        chosen_rows += [
            {"condition": condition, "family": name, "chosen": t.words,
             **{f"{split} {score}": SCORES[score](right[split, name]).mean() for split in parts for score in SCORES}}
            for name, t in settings.items()
        ]  # fmt: skip
        found.add(f"{condition}/tries", sum(not t.random for t in tries), unit="tries compared on choosing pictures")
        found.add(f"{condition}/random tries", sum(t.random for t in tries), unit="tries of the control")
    found.table("chosen", pd.DataFrame(chosen_rows).round(4))
    found.table("first test pictures", pd.DataFrame(examples))


def degraded(part, condition: str) -> list:
    """The pictures of a source, worse in one way; the same for the same picture."""
    if condition == "clean":
        return part.images
    return [degrade(image, condition, int(i)) for i, image in zip(part.ids, part.images, strict=True)]


def make_tries(sae, pooled: dict[str, PooledLatents], condition: str, size: Size) -> list[Try]:
    """The grid of every family, and as large a grid of the control, from choosing pictures alone.

    On clean pictures the nuisance latents are those that rise under any degradation, and there is no shift to undo.
    """
    clean = pooled["clean"].mean
    worse = pooled[condition].mean if condition != "clean" else np.mean([pooled[c].mean for c in DEGRADATIONS], axis=0)
    rise = nuisance(clean, worse)
    live = pooled["clean"].live()
    unit = torch.from_numpy(np.maximum(pooled["clean"].mean.max(0), 1e-6)).float()
    rng = np.random.default_rng(0)
    tries: list[Try] = []
    for n in size.counts:
        for factor in size.amplify:
            own, some = strongest_scaled(n, factor, unit), some_scaled(n, factor, int(rng.integers(2**31)))
            words = f"{n} latents × {factor:g}"
            tries += [Try(AMPLIFY, words, LatentEdit(sae, own, factor))]
            tries += [Try(AMPLIFY, words, LatentEdit(sae, some, factor), random=True)]
        for factor in size.suppress:
            drawn = torch.from_numpy(rng.choice(live, min(n, len(live)), replace=False))
            for latents, random in ((torch.from_numpy(rise[:n].copy()), False), (drawn, True)):
                edit = LatentEdit(sae, scaled(latents, factor), factor)
                tries.append(Try(SUPPRESS, f"{n} latents × {factor:g}", edit, random))
    if condition != "clean":
        back = torch.from_numpy(clean.mean(0) - worse.mean(0)).float()
        for strength in size.shift:
            permuted = torch.zeros_like(back)
            permuted[live] = back[rng.permutation(live)]
            for by, random in ((back, False), (permuted, True)):
                edit = LatentEdit(sae, shifted(by, strength), strength)
                tries.append(Try(SHIFT, f"× {strength:g}", edit, random))
    tries.append(Try(RECONSTRUCTION, "error dropped", LatentEdit(sae, lambda z: z, 1.0, keep_error=False)))
    again = some_scaled(size.counts[0], size.amplify[0], int(rng.integers(2**31)))
    tries.append(Try(AMPLIFY, "as many tries", LatentEdit(sae, again, size.amplify[0]), random=True))
    return tries


def nuisance(clean: np.ndarray, worse: np.ndarray) -> np.ndarray:
    """Latents by how clearly they rise from a picture to the same picture made worse: mean over sd of the change."""
    change = worse - clean
    return np.argsort(-(change.mean(0) / (change.std(0) + 1e-3)), kind="stable")


def slots_right(captions: np.ndarray, truth: pd.DataFrame) -> np.ndarray:
    """(pictures, slots): which slots of a caption are true; none where it has not the form of a description."""
    said = [followed(text, DESCRIBE) or dict.fromkeys(SLOTS, "") for text in captions]
    return np.array([[s[slot] for slot in SLOTS] for s in said]) == truth[list(SLOTS)].to_numpy()


def choose(tries: list[Try], right: list[np.ndarray]) -> dict[str, Try]:
    """The best try of each family, of all of them, and of the control: most captions right, then most slots."""

    def best(among: list[int]) -> Try:
        return tries[max(among, key=lambda i: (right[i].all(1).mean(), right[i].mean(), -i))]

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
        for name in (BARE, *settings):
            others = {other: f"{condition}/{score}/{other}" for other in (BARE, RANDOM) if name not in (BARE, other)}
            found.estimate(
                f"{condition}/{score}/{name}", bootstrap_mean(values["test", name]), unit="share", **common,
                controls=others,
            )  # fmt: skip
        for name in settings:
            gain = bootstrap_difference(values["test", name], bare, paired=True)
            found.estimate(f"{condition}/gain, {score}/{name}", gain, unit="difference of shares", **common)
            earlier = bootstrap_difference(values["choosing", name], values["choosing", BARE], paired=True)
            found.estimate(
                f"{condition}/gain where chosen, {score}/{name}", earlier, unit="difference of shares, before the test",
                interval_kind=OVER_PICTURES, n=len(values["choosing", BARE]), split="choosing",
            )  # fmt: skip
        for name in (BEST, RANDOM):
            ratio = bootstrap_ratio(values["test", name], bare, paired=True)
            change = Estimate(ratio.value - 1, Interval(*(end - 1 for end in ratio.interval)))
            paper: dict[str, Any] = {
                "paper_value": published("summaries", claim="captioning_gain_percent") / 100,
                "source": published_source("summaries", claim="captioning_gain_percent"),
            }  # fmt: skip
            found.estimate(
                f"{condition}/relative change, {score}/{name}", change, unit="relative change", **common,
                controls={} if name == RANDOM else {RANDOM: f"{condition}/relative change, {score}/{RANDOM}"},
                **(paper if name == BEST else {}),
            )  # fmt: skip


EXPERIMENT = Experiment(
    name="captioning",
    title="Can latents make captions truer?",
    question="Does any intervention on latents, chosen on some pictures, raise the accuracy of captions of others?",
    paper="",
    run=run,
)
