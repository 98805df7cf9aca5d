"""The effects that decide the plan's claims about layers, widths and kinds (book/analysis_plan.md), by training.

Each is taken within a training first, and with the rival's of the same seed; so what a control owes to its own seed is
in the interval too. All over both populations: every neuron with a score, which decides unless the plan says otherwise,
and those of enough pictures.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import POPULATIONS, SEEDS, means, slopes
from vlm_sae_lib.hooks import PROJECTION
from vlm_sae_lib.scores.comparison import Scored

MAIN, RIVAL = "Matryoshka ×4", "BatchTopK ×4"
GAINS = {
    "rectified neurons": "rectified, cut",
    "random directions": f"random for {MAIN}",
    "raw neurons": "raw",
    "shuffled activations": f"shuffled {MAIN}",
}
"""Whom the latents are held against: a word to the kind of neuron. The first two decide."""
TENFOLD = (1, 2, 4, 8, 16)
"""Widths that are trained with every seed at the last layer."""

Parts = Mapping[str, Sequence[Scored]]
"""A kind of neuron to its scores: one for each seed, or one alone where there is nothing to train."""


@dataclass(frozen=True)
class Planned:
    """One effect.

    Attributes:
        by_training: from the scores at one hook point under one encoder, and the least number of pictures of a neuron
            that counts, the effect of each training.
        kinds: whose neurons are counted behind it.
        everywhere: at all hook points and under all encoders, or at the last layer under the main encoder alone.
        of: the quantity.
    """

    by_training: Callable[[Parts, int], Float[np.ndarray, " n_seeds"]]
    kinds: tuple[str, ...]
    everywhere: bool = False
    of: str = "MS"


def record_effects(found: Findings, cases: Mapping[str, Parts], main: str) -> None:
    """Every effect on MS, over both populations.

    Args:
        cases: the scores by "hook point/encoder".
        main: the scoring encoder of what is told of the last layer alone.
    """
    last = f"{PROJECTION}/{main}"
    for name, planned in PLANNED.items():
        chosen = cases if planned.everywhere else {last: cases[last]}
        counted = [parts[kind] for case, parts in chosen.items() if case.endswith(f"/{main}") for kind in planned.kinds]
        for at_least, suffix in POPULATIONS:
            columns = [planned.by_training(parts, at_least) for parts in chosen.values()]
            found.effect(
                name + suffix, np.stack(columns, axis=1), unit="training", of=planned.of, cases=tuple(chosen),
                n=sum(int(run.kept(at_least).sum()) for runs in counted for run in runs), split="test",
                seeds=list(SEEDS),
            )  # fmt: skip


def record_given_up(found: Findings, r2: Mapping[str, Mapping[str, Sequence[float]]], pictures: int) -> None:
    """What the main SAE rebuilds less than its rival.

    Args:
        r2: of every kind of SAE, one for each seed, by hook point.
        pictures: over how many.
    """
    columns = [np.subtract(kinds[RIVAL], kinds[MAIN]) for kinds in r2.values()]
    found.effect(
        "R² given up by Matryoshka", np.stack(columns, axis=1), unit="training", of="R²", cases=tuple(r2), n=pictures,
        split="test", seeds=list(SEEDS),
    )  # fmt: skip


def best_percentile(runs: Sequence[Scored], at_least: int) -> Float[np.ndarray, " n_seeds"]:
    """Each training's 99th percentile of MS; of the maximum the plan says why not."""
    scores = [run.ms[run.kept(at_least)] for run in runs]
    return np.array([np.percentile(ms, 99) if len(ms) else np.nan for ms in scores])


def share_above_raw(parts: Parts, what: str, at_least: int, *, best: bool = False) -> Float[np.ndarray, " n_seeds"]:
    """Each training's share of the neurons with more MS than the raw ones have on average, or with ``best`` at most."""
    (raw,) = parts["raw"]
    bar = raw.ms[raw.kept()].max(initial=-np.inf) if best else raw.moved(2)[0]
    scores = [run.ms[run.kept(at_least)] for run in parts[what]]
    return np.array([np.mean(ms > bar) if len(ms) else np.nan for ms in scores])


def _minus(what: str, other: str, parts: Parts, at_least: int) -> Float[np.ndarray, " n_seeds"]:
    return means(parts[what], at_least) - means(parts[other], at_least)


def _kinds_beyond_random(parts: Parts, at_least: int) -> Float[np.ndarray, " n_seeds"]:
    """What is left of the difference of kinds once that of random directions at their firing rates is taken off."""
    return _minus(MAIN, RIVAL, parts, at_least) - _minus(f"random for {MAIN}", f"random for {RIVAL}", parts, at_least)


def _slope_of_the_best(start: str, parts: Parts, at_least: int) -> Float[np.ndarray, " n_seeds"]:
    best = [best_percentile(parts[f"{start}Matryoshka ×{width}"], at_least) for width in TENFOLD]
    return slopes(np.log2(TENFOLD), np.stack(best))


def _share(start: str, parts: Parts, at_least: int) -> Float[np.ndarray, " n_seeds"]:
    return share_above_raw(parts, f"{start}Matryoshka ×1", at_least)


def _room_above_random(parts: Parts, at_least: int) -> Float[np.ndarray, " n_seeds"]:
    """By how much a share could at most exceed that of random directions."""
    return 1 - _share("random for ", parts, at_least)


def _beyond_random(
    effect: Callable[[str, Parts, int], Float[np.ndarray, " n_seeds"]], parts: Parts, at_least: int
) -> Float[np.ndarray, " n_seeds"]:
    """An effect on the latents minus the same on the random directions that fire as often."""
    return effect("", parts, at_least) - effect("random for ", parts, at_least)


AT_EVERY_WIDTH = tuple(f"Matryoshka ×{width}" for width in TENFOLD)
PLANNED = {
    **{f"gain over {word}": Planned(partial(_minus, MAIN, kind), (MAIN,), True) for word, kind in GAINS.items()},
    "share above the raw mean": Planned(partial(_share, ""), ("Matryoshka ×1",), of="share of the defined neurons"),
    "share above the raw mean beyond random directions": Planned(
        partial(_beyond_random, _share), ("Matryoshka ×1",), of="share of the defined neurons"
    ),
    "room above random directions": Planned(_room_above_random, ("Matryoshka ×1",), of="share of the defined neurons"),
    "rise of the best over width": Planned(partial(_slope_of_the_best, ""), AT_EVERY_WIDTH),
    "slope of the best over width": Planned(partial(_beyond_random, _slope_of_the_best), AT_EVERY_WIDTH),
    "mean at 4 minus 1": Planned(partial(_minus, MAIN, "Matryoshka ×1"), (MAIN, "Matryoshka ×1")),
    "mean at 4 minus 16": Planned(partial(_minus, MAIN, "Matryoshka ×16"), (MAIN, "Matryoshka ×16")),
    "Matryoshka minus BatchTopK": Planned(partial(_minus, MAIN, RIVAL), (MAIN, RIVAL), True),
    "Matryoshka minus BatchTopK beyond random directions": Planned(_kinds_beyond_random, (MAIN, RIVAL), True),
}
"""By the names that the plan's claims ask for: those that decide, and those that are told beside them."""
