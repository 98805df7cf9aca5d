"""How close is the steered answer's word to the latent's pictures (paper Tab. 3, §6.3), and how close without latent?

As in the paper one strength α serves all latents, in the latents' own units. It is chosen on choosing pictures; by how
much they flatter it is told. The paper's "not steered" is the bare model. Beside it: the SAE in place, another latent's
pictures, a random direction as far. Every live latent is scored, on the white page and on ordinary pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.experiment import Experiment
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.pocket.language import ONE_WORD, QUESTIONS
from vlm_sae_lib.pocket.world import blank
from vlm_sae_lib.records.results import published, published_source
from vlm_sae_lib.statistics.intervals import bootstrap_mean, bootstrap_ratio, student
from vlm_sae_lib.steering import concepts as find
from vlm_sae_lib.steering.sweep import UNSTEERED, Intervention, SteeringBench
from vlm_sae_lib.steering.word_similarity import TOP_K, Latents, WordAndPicture, mean_pictures, top_pictures
from vlm_sae_lib.workbench import Workbench

STEERED, KEPT = "steered", "steered, error kept"
DIRECTION, DIRECTION_KEPT = "random direction", "random direction, error kept"
OTHER, IN_PLACE, BARE = "another latent's pictures", "SAE in place, unsteered", "bare model"
CONTROLS = {STEERED: (OTHER, DIRECTION, IN_PLACE, BARE), KEPT: (DIRECTION_KEPT, BARE)}
"""What stands beside each way of steering: what treats the autoencoder's error alike, and the bare model."""
ARMS = (STEERED, KEPT, OTHER, DIRECTION, DIRECTION_KEPT, IN_PLACE, BARE)
SETUPS = {"white": "white", "pictures": "imagenet"}
"""The setups, with the paper's name for the nearest of its own."""
DECIDING = {DIRECTION: "a random direction", OTHER: "another latent's pictures"}
"""The controls that decide the plan's claim of steering."""
NINE_TENTHS = 0.9
REST_RIGHT = "other answers right, beyond nine tenths of those without steering"
REST_SHARE, REST_BEYOND = "other answers right", "other answers right, beyond a random direction"
REST = ("order", "colour", "pattern", "habitat")
OVER_LATENTS = "Student's t over the latents"
DRAWN_LATENTS = "2000 bootstrap draws of the latents, middle 95 %"
OVER_PICTURES = "2000 bootstrap draws of the pictures, middle 95 %"
SPLIT = "top pictures from train, strength chosen on choosing, scored on test"


@dataclass(frozen=True)
class Size:
    """How much is looked at; smaller in tests. All live latents are scored on all test pictures."""

    train: int = 2000
    """Pictures among which a latent's top 16 are looked for."""
    alphas: tuple[float, ...] = (8, 16, 32, 48, 64, 96)
    latents: int = 100
    """Random latents for the choice of α."""
    choosing: int = 40
    test: int = 40
    dose_latents: int = 40
    """Random latents of the dose curve on ordinary pictures; on the white page it has all of them."""
    dose: int = 10
    """Test pictures of the dose curve."""
    references: int = 1000


def run(bench: Workbench, found: Findings, size: Size = Size()) -> None:
    """Similarities of both setups, under every control; the dose curve; what else in the answers changes."""
    if bench.profile.island is None:
        raise UserError("The other answers can be judged in the pocket world only; use the profile pocket.")
    vlm, sae, judge = bench.vlm(), bench.shown("steering"), bench.judge()
    if judge is None:
        raise UserError("Words are held against pictures by a CLIP, and no scoring tower is one: name one that is.")
    train = bench.pictures("train").subset(range(size.train))
    pooled = find.pool_latents(vlm, sae, train.images)
    live = pooled.live(TOP_K)
    top = top_pictures(pooled.mean[:, live])
    latents = Latents(live, mean_pictures(judge.pictures(train.images), top), judge)
    every, rng = np.arange(len(live)), np.random.default_rng(bench.profile.seed)
    some, few = (np.sort(rng.permutation(every)[:n]) for n in (size.latents, size.dose_latents))
    choosing, test = (bench.pictures(split).subset(range(n)) for split, n in
                      (("choosing", size.choosing), ("test", max(size.references, size.test))))  # fmt: skip
    found.add("SAE", sae.hash[:12], n=sae.n_latents, unit="first digits of the steering SAE's hash")
    found.add(
        "latents", len(live), unit=f"latents that fire on at least {TOP_K} pictures", n=sae.n_latents, split="train"
    )
    found.add("choosing pictures", len(choosing), unit="pictures", split="choosing")
    found.add("dose latents", len(few), unit="random latents", n=len(live))
    choose_on = SteeringBench(vlm, sae, choosing.images)
    means = choose_strength(choose_on, latents, some, size.alphas)
    alpha = float(means.idxmax())
    found.add(
        "alpha",
        alpha,
        unit="latent units",
        n=len(some),
        split="choosing",
        paper_value=published("steering_similarity", condition="strength"),
        source=published_source("steering_similarity", condition="strength"),
    )
    multiple = alpha / np.median(pooled.maximum[live])
    found.add(
        "alpha over the median maximum", multiple, unit="× the latents' median maximum", n=len(live), split="train"
    )
    found.table("choice of alpha", means.rename("similarity").rename_axis("alpha").reset_index().round(4))
    upper, lower = _references(found, judge, test, size.references)
    images = {"white": [blank()], "pictures": test.images[: size.test]}
    doses = []
    for setup, sample in (("white", every), ("pictures", few)):
        benches = [SteeringBench(vlm, sae, images[setup], keep_error=keep) for keep in (False, True)]
        truth = test.factors.iloc[: size.test] if setup == "pictures" else None
        measured = measure(benches, latents, every, alpha, truth)
        _record(found, setup, measured, upper, lower)
        if setup == "pictures":
            kept = SteeringBench(vlm, sae, choosing.images, keep_error=True)
            chosen_on = measure([choose_on, kept], latents, some, alpha, arms=(STEERED, OTHER, DIRECTION, BARE))
            _record_optimism(found, chosen_on, measured, some)
        seen = range(min(size.dose, len(images[setup])))
        for other in size.alphas:
            at = measure(benches, latents, sample, other, truth, seen, arms=(STEERED, OTHER, DIRECTION, BARE))
            doses += [_dose(setup, other, arm, *values) for arm, values in at.items()]
    found.table("dose", pd.DataFrame(doses).round(4))
    found.table(
        "random latents", _examples(SteeringBench(vlm, sae, [blank()]), latents, few, alpha, train.ids[top[few]])
    )


def _examples(bench: SteeringBench, latents: Latents, who: np.ndarray, alpha: float, top: np.ndarray) -> pd.DataFrame:
    """The random latents: by which pictures to know them, and what is said on the white page."""
    words = bench.answers([Intervention(int(k), alpha) for k in latents.indices[who]], [ONE_WORD])[..., 0]
    near = latents.similarity(words, who)[0][:, 0]
    pictures = [" ".join(map(str, row)) for row in top.tolist()]
    return pd.DataFrame(
        {"latent": latents.indices[who], "top pictures": pictures, "word": words[:, 0], "similarity": near.round(5)}
    )


def choose_strength(bench: SteeringBench, latents: Latents, who: np.ndarray, alphas: Sequence[float]) -> pd.Series:
    """Mean similarity by strength."""
    means = {}
    for alpha in alphas:
        words = bench.answers([Intervention(int(k), alpha) for k in latents.indices[who]], [ONE_WORD])[..., 0]
        means[alpha] = latents.similarity(words, who)[0].mean()
    return pd.Series(means)


def measure(
    benches: Sequence[SteeringBench],
    latents: Latents,
    who: np.ndarray,
    alpha: float,
    truth: pd.DataFrame | None = None,
    pictures: Sequence[int] | None = None,
    arms: Sequence[str] = ARMS,
) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Similarities (latents, pictures) and shares of the other answers that are right, by arm.

    benches: the error dropped, the error kept. truth: None where nothing is there to be asked about.
    """
    asked = [ONE_WORD] + ([QUESTIONS[about] for about in REST] if truth is not None else [])
    pictures = range(benches[0].n_pictures) if pictures is None else pictures
    indices = [int(k) for k in latents.indices[who]]
    steer = [Intervention(k, alpha) for k in indices]
    blind = [Intervention(k, alpha, 1000 + k) for k in indices]
    edits = {
        STEERED: (0, steer), KEPT: (1, steer), DIRECTION: (0, blind), DIRECTION_KEPT: (1, blind),
        IN_PLACE: (0, [UNSTEERED]), BARE: (1, [UNSTEERED]),
    }  # fmt: skip
    measured = {}
    for arm in (a for a in arms if a != OTHER):
        place, interventions = edits[arm]
        said = benches[place].answers(interventions, asked, pictures)
        said = np.broadcast_to(said, (len(who), *said.shape[1:]))
        right = None
        if truth is not None:
            right = (said[..., 1:] == truth[list(REST)].to_numpy()[list(pictures)]).mean(2)
        own, others = latents.similarity(said[..., 0], who)
        measured[arm] = own, right
        if arm == STEERED and OTHER in arms:
            measured[OTHER] = others, right
    return measured


def _references(found: Findings, judge: WordAndPicture, test, n: int) -> tuple[float, float]:
    """The paper's two ends: pictures with their right word, and with that of another picture."""
    pictures = judge.pictures(test.images[:n])
    pictures /= np.linalg.norm(pictures, axis=1, keepdims=True)
    words = judge.words(test.factors["order"].tolist()[:n])
    shuffled = words[np.random.default_rng(0).permutation(len(words))]
    ends = {}
    for name, theirs, side in (
        ("correct pairs", "correct_pairs", words),
        ("shuffled pairs", "shuffled_pairs", shuffled),
    ):
        values = (pictures * side).sum(1)
        where = {"condition": theirs, "images": "imagenet", "statistic": "mean"}
        ends[name] = bootstrap_mean(values)
        found.estimate(
            f"reference/{name}", ends[name], interval_kind=OVER_PICTURES, n=len(values), unit="cosine", split="test",
            paper_value=published("steering_similarity", **where),
            source=published_source("steering_similarity", **where),
        )  # fmt: skip
    return ends["correct pairs"].value, ends["shuffled pairs"].value


def _record(found: Findings, setup: str, measured: dict, upper: float, lower: float) -> None:
    means = {arm: values.mean(1) for arm, (values, _) in measured.items()}  # one number per latent
    common: dict[str, Any] = {"n": len(means[STEERED]), "split": SPLIT}
    _record_effects(found, setup, means, measured)
    for arm, (values, right) in measured.items():
        condition = {STEERED: "steered", BARE: "not_steered"}.get(arm)
        where = {"condition": condition, "images": SETUPS[setup], "statistic": "mean"}
        paper: dict[str, Any] = {} if condition is None else {
            "paper_value": published("steering_similarity", **where),
            "source": published_source("steering_similarity", **where),
        }  # fmt: skip
        controls = {a: f"{setup}/similarity/{a}" for a in CONTROLS.get(arm, ())}
        found.estimate(
            f"{setup}/similarity/{arm}", student(means[arm]), unit="cosine, mean over latents and pictures",
            interval_kind=OVER_LATENTS, controls=controls, **common, **paper,
        )  # fmt: skip
        found.add(f"{setup}/sd/{arm}", values.std(ddof=1), n=values.size, unit="sd over pairs of latent and picture")
        if right is not None and arm != OTHER:
            found.estimate(
                f"{setup}/other answers right/{arm}", student(right.mean(1)), unit="share of four answers",
                interval_kind=OVER_LATENTS,
                controls={BARE: f"{setup}/other answers right/{BARE}"} if arm != BARE else {}, **common,
            )  # fmt: skip
    for arm, control in ((STEERED, IN_PLACE), (STEERED, BARE), (KEPT, BARE)):  # the others are effects
        found.estimate(
            f"{setup}/gain/{arm} over {control}", student(means[arm] - means[control]), unit="difference of cosines",
            interval_kind=OVER_LATENTS, **common,
        )  # fmt: skip
    _record_shares(found, setup, means, upper, lower)


def _record_effects(found: Findings, setup: str, means: dict, measured: dict) -> None:
    """What decides the plan's claims, and what is told beside: the value of every live latent."""
    common: dict[str, Any] = {"unit": "latent", "n": len(means[STEERED]), "split": SPLIT}
    for control, name in DECIDING.items():
        found.effect(f"gain over {name}, {setup}", means[STEERED] - means[control], of="cosine", **common)
    kept = means[KEPT] - means[DIRECTION_KEPT]
    found.effect(f"gain over a random direction, error kept, {setup}", kept, of="cosine", **common)
    right, blind, unsteered = (measured[arm][1] for arm in (STEERED, DIRECTION, BARE))
    if right is not None:
        rest, beyond = right.mean(1), right.mean(1) - NINE_TENTHS * unsteered.mean(1)
        found.effect(REST_RIGHT, beyond, of="share of answers", **common)
        found.effect(REST_SHARE, rest, of="share of answers", **common)
        found.effect(REST_BEYOND, rest - blind.mean(1), of="share of answers", **common)


def _record_shares(found: Findings, setup: str, means: dict, upper: float, lower: float) -> None:
    """Gains as shares of the way from shuffled to correct pairs; and the paper's ratio, where the bare model's word is
    nearer than a wrong one: a ratio to next to nothing says nothing."""
    common: dict[str, Any] = {"n": len(means[STEERED]), "split": SPLIT}
    theirs = {
        c: published("steering_similarity", condition=c, images=i, statistic="mean")
        for c, i in (("correct_pairs", "imagenet"), ("shuffled_pairs", "imagenet"),
                     ("steered", SETUPS[setup]), ("not_steered", SETUPS[setup]))
    }  # fmt: skip
    if means[BARE].mean() > lower:
        found.estimate(
            f"{setup}/ratio/{STEERED} to {BARE}", bootstrap_ratio(means[STEERED], means[BARE], paired=True),
            unit="ratio of mean cosines", interval_kind=DRAWN_LATENTS,
            paper_value=theirs["steered"] / theirs["not_steered"], source="from v3 Table 3", **common,
        )  # fmt: skip
    gain = (theirs["steered"] - theirs["not_steered"]) / (theirs["correct_pairs"] - theirs["shuffled_pairs"])
    for control in (OTHER, DIRECTION, IN_PLACE, BARE):
        share = (means[STEERED] - means[control]) / (upper - lower)
        paper = {"paper_value": gain, "source": "from v3 Table 3"} if control == BARE else {}
        found.estimate(
            f"{setup}/share of range/{STEERED} over {control}", student(share),
            unit="share of correct minus shuffled pairs", interval_kind=OVER_LATENTS,
            controls={"lower end": "reference/shuffled pairs", "upper end": "reference/correct pairs"},
            **common, **paper,
        )  # fmt: skip


def _record_optimism(found: Findings, choosing: dict, test: dict, who: np.ndarray) -> None:
    """Gains where α was chosen, and what they lose on test pictures: of the latents by which it was chosen."""
    for control in (OTHER, DIRECTION, BARE):
        where_chosen = (choosing[STEERED][0] - choosing[control][0]).mean(1)
        tested = (test[STEERED][0] - test[control][0]).mean(1)[who]
        found.estimate(
            f"gain where chosen/{STEERED} over {control}", student(where_chosen), unit="difference of cosines",
            interval_kind=OVER_LATENTS, n=len(who), split="choosing",
        )  # fmt: skip
        found.estimate(
            f"optimism/{STEERED} over {control}", student(where_chosen - tested),
            unit="gain on choosing minus gain on test pictures", interval_kind=OVER_LATENTS, n=len(who),
            split="choosing and test",
        )  # fmt: skip


def _dose(setup: str, alpha: float, arm: str, values: np.ndarray, right: np.ndarray | None) -> dict:
    value, (low, high) = student(values.mean(1))
    kept = np.nan if right is None else float(right.mean())
    return {"setup": setup, "alpha": alpha, "arm": arm, "similarity": value, "low": low, "high": high, "kept": kept}


EXPERIMENT = Experiment(
    name="similarity",
    title="Does the answer move towards the latent's pictures?",
    question="How close is a steered answer's word to its latent's top pictures, and how close without that latent?",
    paper="Tab. 3",
    run=run,
    speaks=True,
)
