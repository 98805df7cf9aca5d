"""Short words for what a run found, and results recorded with their intervals."""

from typing import Any

from vlm_sae_lib.claims.judging import word_of_claim
from vlm_sae_lib.records.results import Results
from vlm_sae_lib.show.numbers import with_interval
from vlm_sae_lib.statistics.intervals import Estimate


def yes(condition: Any) -> str:
    """**yes** or **no**, in Markdown."""
    return "**yes**" if bool(condition) else "**no**"


def stated(estimate: Estimate, digits: int = 3) -> str:
    """An estimate in words: ``0.52 [0.49, 0.55]``."""
    return with_interval(estimate.value, *estimate.interval, digits)


def record(results: Results, name: str, estimate: Estimate, **fields: Any) -> None:
    """Add an estimate to a notebook's results: its value and interval, and whatever else `Results.add` takes."""
    results.add(name, estimate.value, interval=estimate.interval, **fields)


def direction(difference: Estimate, above: str, below: str, neither: str) -> str:
    """Which of three words a difference deserves: its interval lies above zero, below it, or holds it."""
    if difference.interval[0] > 0:
        return above
    return below if difference.interval[1] < 0 else neither


def by_plan(beginning: str, profile: str, over: str = "ten trainings of each autoencoder") -> str:
    """The word that the plan gives the claim that begins so, in Markdown, for a notebook that shows one case of it.

    Args:
        profile: of the run; outside `pocket` the sentence says that the word is about the pocket world.
        over: what the claim's effects vary over.

    Raises:
        UserError: none or several claims begin so.
    """
    where = "" if profile == "pocket" else "in the pocket world, "
    word = word_of_claim(beginning).value
    return (
        f"By the [plan](../book/analysis_plan.html), {where}over {over}: **{word}** ([claims](../book/claims.html))."
    )
