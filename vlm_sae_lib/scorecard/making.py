"""From an SAE to its scorecard: the place, the measures, the rivals beside it, the leaderboard around it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.rivals import RANDOM
from vlm_sae_lib.files import content_hash
from vlm_sae_lib.records.provenance import code_hash
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.scorecard import board
from vlm_sae_lib.scorecard.card import Scorecard, Scores, Value
from vlm_sae_lib.scorecard.measures import NAMES
from vlm_sae_lib.scorecard.measuring import Measuring
from vlm_sae_lib.scorecard.place import SPLITS, Material, Place, material
from vlm_sae_lib.scorecard.rivals import WHAT, rivals
from vlm_sae_lib.scorecard.steered import not_measured, steered
from vlm_sae_lib.workbench import Workbench

Tell = Callable[[str], None]
ELSEWHERE = "Not measured: LLaVA reads {read}, and this SAE stands at {here}."
NOT_FOR = "Not measured: pushes are compared with random directions only."
WORDS = {
    "matryoshka_batch_top_k": "Matryoshka BatchTopK", "batch_top_k": "BatchTopK", "top_k": "TopK",
    "jump_relu": "JumpReLU", "relu": "ReLU",
}  # fmt: skip
"""Kinds as people call them."""


def make_card(
    bench: Workbench,
    place: Place,
    sae: SparseAutoencoder,
    *,
    name: str = "this SAE",
    second: SparseAutoencoder | None = None,
    against: Sequence[str] = (),
    trained_with: str | None = None,
    tell: Tell = lambda _: None,
) -> Scorecard:
    """The card of an SAE.

    Args:
        bench: of the final pictures (`place.final_bench`).
        second: another training of the same settings, for stability.
        against: entries of the leaderboard that stand beside it.
        trained_with: the library and recipe, in words; by default what the file tells.
        tell: is given a line before each step.

    Raises:
        UserError: an entry that is not there, a second SAE of another width.
    """
    if second is not None and second.dim != sae.dim:
        raise UserError(f"The second SAE reads activations of width {second.dim}, and the first of width {sae.dim}.")
    card = empty(bench, place, facts_of(sae, trained_with), Scores(name, described(sae), sae.n_latents, {}))
    entries = board.entries()
    card = replace(card, against=board.named(against, card, entries), board=board.comparable(card, entries))
    twins = [f"It is, weight for weight, the leaderboard's entry {other}." for other, entry in entries.items()
             if entry.facts["hash"] == card.facts["hash"]]  # fmt: skip
    tell(f"collecting activations at {place}, and the embeddings of the scoring encoders")
    on = material(bench, place)
    measuring = Measuring.start(on)
    tell("measuring the SAE")
    values = measuring.all(sae, second)
    ours, theirs = steering(bench, place, sae, tell)
    subject = replace(card.subject, values=in_order(values | ours))
    l0 = active(sae, on)
    silent = [] if l0 else [f"It fires on no training picture, so its rivals have an L0 of {bench.profile.k}."]
    tell("training and drawing its rivals")
    found, missing = rivals(bench, on, sae.n_latents, l0 or float(bench.profile.k))
    again = {} if second is None else rivals(bench, on, sae.n_latents, l0 or float(bench.profile.k), seed=1)[0]
    pushed = {who: theirs if who == RANDOM or theirs is ours else not_measured(NOT_FOR) for who in found}
    beside = measured(measuring, found, again, pushed, tell)
    return replace(card, subject=subject, rivals=beside, notes=[*twins, *silent, *missing])


def measured(
    measuring: Measuring, found: Mapping[str, Any], again: Mapping[str, Any],
    pushed: Mapping[str, Mapping[str, Value]], tell: Tell,
) -> list[Scores]:
    """The values of each rival, with those of its second training and what pushing it did."""
    several = []
    for who, coder in found.items():
        tell(f"measuring {who}")
        values = measuring.all(coder, again.get(who))
        several.append(Scores(who, WHAT[who], coder.n_latents, in_order(values | dict(pushed[who]))))
    return several


def entry_of(
    bench: Workbench, measuring: Measuring, coder: Any, scores: Scores, facts: dict[str, Any], second: Any = None
) -> Scorecard:
    """The card of any dictionary without rivals beside it, as the leaderboard keeps it; nothing is steered."""
    values, place = measuring.all(coder, second), measuring.on.place
    why = not_measured(ELSEWHERE.format(read=bench.profile.steering_hook_point, here=place))
    return empty(bench, place, facts, replace(scores, values=in_order(values | why)))


def empty(bench: Workbench, place: Place, facts: dict[str, Any], subject: Scores) -> Scorecard:
    """A card on which nothing is measured yet."""
    tower = bench.tower()
    return Scorecard(
        facts=facts,
        place={"tower": tower.name, "weights_hash": tower.weights_hash, "hook_point": place.hook_point,
               "tokens": place.tokens},
        pictures={**{split: bench.pictures(split).name for split in SPLITS}, "n": len(bench.pictures("test"))},
        subject=subject,
        code=code_hash("vlm_sae_lib.scorecard.measuring"),
    )  # fmt: skip


def steering(bench: Workbench, place: Place, sae: SparseAutoencoder, tell: Tell) -> tuple[Any, Any]:
    """Steering by its latents and by random directions, where the SAE stands at the block that LLaVA reads; else one
    reason for both."""
    read = bench.profile.steering_hook_point
    if place.hook_point != read:
        why = not_measured(ELSEWHERE.format(read=read, here=place))
        return why, why
    tell("pushing latents while LLaVA answers")
    return steered(bench, sae)


def in_order(values: dict[str, Value]) -> dict[str, Value]:
    return {name: values[name] for name in NAMES}


def active(coder: Any, on: Material) -> float:
    """L0 on the training activations."""
    rows = on.splits.train
    return sum(coder.encode_sparse(part.astype(np.float32)).nnz for part in np.array_split(rows, 16)) / len(rows)


def facts_of(sae: SparseAutoencoder, trained_with: str | None) -> dict[str, Any]:
    """What is known of an SAE: its hash, its kind, and by which library it was trained."""
    imported = sae.metadata.get("imported") or {}
    default = imported.get("format") or ("vlm_sae_lib" if sae.metadata.get("config") else "unknown")
    return {"hash": sae.hash, "kind": sae.kind, "dim": sae.dim, "k": sae.k, "trained_with": trained_with or default}


def facts_of_directions(coder: Any, kind: str) -> dict[str, Any]:
    """The same of a dictionary that is no SAE."""
    parts = {name: np.asarray(getattr(coder, name)).tolist() for name in ("mean", "directions", "threshold")
             if hasattr(coder, name)}  # fmt: skip
    return {"hash": content_hash(parts), "kind": kind, "dim": len(coder.mean), "k": None, "trained_with": "no training"}


def described(sae: SparseAutoencoder) -> str:
    """``BatchTopK, 128 → 512, k = 10``."""
    return f"{WORDS.get(sae.kind, sae.kind)}, {sae.dim} → {sae.n_latents}" + (f", k = {sae.k}" if sae.k else "")
