"""The leaderboard: the cards that are kept in ``data/leaderboard``, one small JSON for each, and their order."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import read_json, write_json
from vlm_sae_lib.quoting import quoted
from vlm_sae_lib.scorecard.card import Rank, Scorecard, Scores, rank, schema
from vlm_sae_lib.scorecard.measures import MEASURES, Measure

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
LONGEST = 80


def folder() -> Path:
    return paths.data() / "leaderboard"


def entries() -> dict[str, Scorecard]:
    """Every entry by name.

    Raises:
        UserError: a file that is no scorecard of this schema.
    """
    return read_all(folder())


def read_all(where: Path) -> dict[str, Scorecard]:
    """Every entry in a folder by name; see ``entries``."""
    from jsonschema import Draft202012Validator, ValidationError

    form, found = Draft202012Validator(schema()), {}
    for path in sorted(where.glob("*.json")):
        try:
            form.validate(content := read_json(path))
            found[path.stem] = card = Scorecard.from_dict(content)
        except ValidationError as error:
            why = quoted(f"{error.json_path}: {error.message}", 300)
            raise UserError(f"{path} is no scorecard: take it away or make it anew ({why}).") from error
        except ValueError as error:
            raise UserError(f"{path} is no scorecard: take it away or make it anew ({quoted(error, 300)}).") from error
        if card.subject.name != path.stem:
            raise UserError(f"{path} calls itself {quoted(card.subject.name, 80)}: name the file and the entry alike.")
        names = {measure.name for measure in card.measures}
        if lacking := sorted(names - card.subject.values.keys()):
            raise UserError(f"{path} has no value of {lacking[0]}, one of its measures: take it away or make it anew.")
    return found


def enter(name: str, card: Scorecard) -> Path:
    """Keep a card as an entry: the SAE's own values. Its rivals have entries of their own, and notes are about them.

    Raises:
        UserError: a name that is no file's.
    """
    check_name(name)
    path = folder() / f"{name}.json"
    alone = replace(card, subject=replace(card.subject, name=name), rivals=(), against=(), board=(), notes=())
    write_json(path, alone.as_dict())
    return path


def check_name(name: str) -> None:
    """Raises ``UserError`` for a name that an entry cannot have."""
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        raise UserError(
            f"An entry cannot be called {name!r}: use at most {LONGEST} small letters, digits, and _ . - between them."
        )


def comparable(card: Scorecard, found: Mapping[str, Scorecard]) -> list[Scores]:
    """The entries that were measured at the same place on the same pictures, the card's own SAE left out."""
    return [
        other.subject for other in found.values()
        if (other.place, other.pictures) == (card.place, card.pictures) and other.facts["hash"] != card.facts["hash"]
    ]  # fmt: skip


def named(names: Sequence[str], card: Scorecard, found: Mapping[str, Scorecard]) -> list[Scores]:
    """The entries of these names, to stand on a card.

    Raises:
        UserError: there is none of that name, or it was measured elsewhere.
    """
    for name in names:
        if name not in found:
            raise UserError(f"The leaderboard has no entry {name!r}; it has {', '.join(found) or 'none yet'}.")
        if (found[name].place, found[name].pictures) != (card.place, card.pictures):
            theirs = f"{found[name].place['hook_point']}, tokens {found[name].place['tokens']}"
            ours = f"{card.place['hook_point']}, tokens {card.place['tokens']}"
            raise UserError(f"The entry {name} reads {theirs}, and this card is of {ours}: they cannot be compared.")
    return [found[name].subject for name in names]


def ranks(several: Sequence[Scores]) -> dict[str, dict[str, Rank]]:
    """By entry and measure its place among all of them; a value that is missing has none."""
    found: dict[str, dict[str, Rank]] = {}
    for own in several:
        others = [other for other in several if other is not own]
        placed = {measure.name: rank(measure, own, others) for measure in MEASURES}
        found[own.name] = {name: one for name, one in placed.items() if one}
    return found


def compared(several: Sequence[Scores]) -> list[Measure]:
    """The measures that the mean rank is over: those that are ranked, and of which every entry has a value.

    Else an entry would be moved by what it cannot have: ranked last for it, or spared a measure that is hard.
    """
    placed = ranks(several).values()
    return [measure for measure in MEASURES if placed and all(measure.name in of_one for of_one in placed)]


def in_order(several: Sequence[Scores]) -> list[tuple[Scores, float]]:
    """Entries by their mean rank, the best first, over the measures that are `compared`.

    Entries of equal mean rank stand in the order of their names; NaN where there is no such measure.
    """
    placed, common = ranks(several), [measure.name for measure in compared(several)]
    means = [float(np.mean([placed[one.name][name].place for name in common])) if common else float("nan")
             for one in several]  # fmt: skip
    return sorted(zip(several, means, strict=True), key=lambda pair: (pair[1], pair[0].name))
