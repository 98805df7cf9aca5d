"""What the experiment on steering that keeps the rest writes down; part of `keeping_the_rest`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.statistics.intervals import bootstrap_mean, student, wilson
from vlm_sae_lib.steering import arms
from vlm_sae_lib.steering.acting import Acting, foretold, steers
from vlm_sae_lib.steering.attribution import Attribution
from vlm_sae_lib.steering.experiment import Setting
from vlm_sae_lib.steering.learned import LatentChange, Learned

OUTCOMES = ("success", "rest", "both")
SPLIT = "attributions and lessons from train, chosen on choosing, scored on test"
OVER_CONCEPTS = "2000 bootstrap draws of the concepts, middle 95 %"
STUDENT = "Student's t over the concepts"
HALF = 0.5
"""A latent steers where it puts one and the same new word into an answer on at least this share of the pictures."""
NEGLIGIBLE = 0.05
"""What a learned change adds of a latent counts as nothing below this share of the most that it adds of one."""
BEFORE = {"both": "choosing_rate", "success": "choosing_success"}


def wide(rates: pd.DataFrame, outcome: str) -> pd.DataFrame:
    """A row for each concept, a column for each arm."""
    return rates.pivot(index=["about", "concept"], columns="method", values=outcome)


def record_arms(found: Findings, scored: pd.DataFrame, bounds: Sequence[str]) -> None:
    """Concept named, rest right, both; by arm, and for the bounds that choose nothing; and each arm's optimism."""
    for outcome in OUTCOMES:
        table = wide(scored, outcome)
        for arm in (*arms.ARMS, *bounds):
            others = (arms.DIFF_MEAN, arms.RANDOM, *bounds) if arm in arms.OF_LATENTS else ()
            found.estimate(
                f"{outcome}/{arm}", bootstrap_mean(table[arm]), interval_kind=OVER_CONCEPTS,
                n=int(table[arm].notna().sum()), unit="share of pictures, mean over concepts", split=SPLIT,
                controls={other: f"{outcome}/{other}" for other in others},
            )  # fmt: skip
    table, before = wide(scored, "both"), wide(scored, "choosing_rate")
    for arm in arms.ARMS:
        gaps = before[arm] - table[arm]
        found.estimate(
            f"optimism/{arm}", student(gaps), interval_kind=STUDENT, n=len(gaps),
            unit="difference of shares, both at once", split="choosing minus test",
        )  # fmt: skip
    pictures = int(scored.loc[scored["method"] == arms.LEARNED, "n"].sum())
    found.add("pictures", pictures, unit="pictures scored, summed over concepts", split="test")
    columns = ["method", "about", "concept", "n", *OUTCOMES, *BEFORE.values()]
    found.table("by concept", scored[columns].round(4))


def record_best(found: Findings, scored: pd.DataFrame) -> str:
    """The arm of latents that is best on the choosing pictures, and on test its difference from every other arm."""
    seen = wide(scored, "choosing_rate")[list(arms.ARMS)].mean()
    best = str(seen[list(arms.OF_LATENTS)].idxmax())
    rival = str(seen[[a for a in arms.WITHOUT if a not in (arms.DEALT, arms.RANDOM)]].idxmax())
    found.add("best edit of latents", best, unit="arm", split="choosing")
    found.add("best rival", rival, unit="arm", split="choosing")
    both = wide(scored, "both")
    pictures = int(scored.loc[scored["method"] == best, "n"].sum())
    pairs = {f"best edit of latents minus {arm}": (best, arm) for arm in arms.ARMS if arm != best}
    pairs |= {f"{arm} minus {arms.DIFF_MEAN}": (arm, arms.DIFF_MEAN) for arm in (*arms.OF_LATENTS, *arms.TAUGHT[1:])}
    for name, (a, b) in pairs.items():
        found.effect(name, both[a] - both[b], unit="concept", of="share of pictures", n=pictures, split=SPLIT)
    return best


def record_chosen(found: Findings, settings: Sequence[Setting], sae: Any) -> None:
    """Which setting each arm chose for each concept; and how many latents the learned changes move."""
    rows = [
        {"arm": s.method, "about": s.about, "concept": s.concept, "multiple": round(s.multiple, 3),
         "latent": -1 if s.intervention.latent is None else s.intervention.latent}
        for s in settings
    ]  # fmt: skip
    found.table("chosen", pd.DataFrame(rows))
    moved = [
        latents_moved(s.intervention.change)
        for s in settings if s.method == arms.LEARNED and isinstance(s.intervention, Learned)
    ]  # fmt: skip
    for name, column in zip(("raised", "lowered"), np.array(moved, dtype=float).T, strict=True):
        found.estimate(
            f"latents {name} by a learned change", student(column), interval_kind=STUDENT, n=len(column),
            unit=f"latents of {sae.n_latents}",
        )  # fmt: skip


def latents_moved(change: Any) -> tuple[int, int]:
    """How many latents a learned change raises, and how many it lowers by more than half of what they have."""
    assert isinstance(change, LatentChange)
    lengths = (change.add * change.vectors.norm(dim=1)).detach()
    return int((lengths > NEGLIGIBLE * lengths.max()).sum()), int((change.keep < HALF).sum())


def record_acting(
    found: Findings,
    act: Acting,
    live: np.ndarray,
    effects: Mapping[tuple[str, str], Attribution],
    f1: Mapping[tuple[str, str], np.ndarray],
) -> None:
    """The share of live latents that steer, and how attribution and F1 foretell which ones."""
    for name, answers in (("live latents", act.latents), ("random directions as long", act.directions)):
        yes = steers(answers, act.unsteered, HALF)
        found.add(
            f"share that steers/{name}", float(yes.mean()), interval=wilson(int(yes.sum()), len(yes)), n=len(yes),
            unit="share of latents", split="choosing", interval_kind="Wilson's",
        )  # fmt: skip
    rows = []
    for concept, found_effect in effects.items():
        scores = {"attribution": found_effect.on_lead[live].numpy(), "F1": f1[concept]}
        rows.append({"about": concept[0], "concept": concept[1], **foretold(scores, act.named(*concept))})
    table = pd.DataFrame(rows)
    found.table("foretold", table.round(4))
    for name, values in {
        "attribution": table["attribution"], "F1": table["F1"],
        "attribution minus F1": table["attribution"] - table["F1"],
    }.items():  # fmt: skip
        found.estimate(
            f"rank correlation with how often the concept is named/{name}", student(values.dropna()),
            interval_kind=STUDENT, n=int(values.notna().sum()), unit="Spearman's, mean over concepts",
            split="attribution from train, F1 and answers from choosing",
        )  # fmt: skip
    nobody = int(table["F1"].isna().sum())
    found.add("concepts that no live latent has named", nobody, n=len(table), unit="concepts", split="choosing")
