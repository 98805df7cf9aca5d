"""The scorecard: its values, their ranks, and the JSON that they are kept in (``schema.json``)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import read_json
from vlm_sae_lib.scorecard.measures import MEASURES, Measure
from vlm_sae_lib.statistics.intervals import Estimate

SCHEMA = 1
SCHEMA_FILE = Path(__file__).with_name("schema.json")
DIGITS = 6


@dataclass(frozen=True)
class Value:
    """A measured value with its 95 % interval; ``why`` says what is missing: the interval, or all of it.

    Attributes:
        n: how many pictures, latents, values or concepts stand behind it.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    why: str = ""

    @classmethod
    def of(cls, estimate: Estimate, n: int, why: str = "") -> Self:
        """An estimate in ``DIGITS`` significant digits; NaN becomes None."""
        value, low, high = (_rounded(part) for part in (estimate.value, *estimate.interval))
        return cls(value, low, high, n, why or ("" if value is not None else "It is not defined for this dictionary."))


@dataclass(frozen=True)
class Scores:
    """One dictionary with its values, by the measures' names."""

    name: str
    what: str
    n_latents: int
    values: Mapping[str, Value]


@dataclass(frozen=True)
class Rank:
    """Place 1 is the best; those of equal values share it. ``of`` counts those that have a value."""

    place: int
    of: int


@dataclass(frozen=True)
class Scorecard:
    """All that a scorecard says.

    Attributes:
        facts: of the SAE: hash, kind, width, k, who trained it.
        place: tower, its weights' hash, hook point and tokens.
        pictures: each split's source, and how many final pictures there are.
        subject: the SAE.
        rivals: what was measured beside it, alike.
        against: entries of the leaderboard that were asked for.
        board: entries of the leaderboard among which it is ranked, itself left out.
        notes: sentences on what differs from the common case.
        code: hash of the code that measured it.
    """

    facts: Mapping[str, Any]
    place: Mapping[str, str]
    pictures: Mapping[str, Any]
    subject: Scores
    rivals: Sequence[Scores] = ()
    against: Sequence[Scores] = ()
    board: Sequence[Scores] = ()
    notes: Sequence[str] = ()
    code: str = ""
    measures: Sequence[Measure] = field(default=MEASURES)

    def ranks(self) -> dict[str, dict[str, Rank]]:
        """By measure, the subject's rank among its rivals and among the leaderboard's entries."""
        groups = {"rivals": self.rivals, "leaderboard": self.board}
        found = {}
        for measure in self.measures:
            placed = {who: rank(measure, self.subject, others) for who, others in groups.items() if others}
            if any(placed.values()):
                found[measure.name] = {who: one for who, one in placed.items() if one}
        return found

    def as_dict(self) -> dict[str, Any]:
        """JSON values, as ``schema.json`` has them."""
        return {
            "schema": SCHEMA,
            "sae": dict(self.facts),
            "place": dict(self.place),
            "pictures": dict(self.pictures),
            "measures": [asdict(measure) for measure in self.measures],
            "subject": _scores(self.subject),
            "rivals": [_scores(one) for one in self.rivals],
            "against": [_scores(one) for one in self.against],
            "ranks": {name: {who: asdict(one) for who, one in ranks.items()} for name, ranks in self.ranks().items()},
            "leaderboard": [one.name for one in self.board],
            "notes": list(self.notes),
            "code": self.code,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The card of a JSON; the board that it was ranked on is not in it.

        Raises:
            UserError: a JSON of another schema.
        """
        if content.get("schema") != SCHEMA:
            theirs = content.get("schema")
            raise UserError(f"This scorecard has schema {theirs!r}, and {SCHEMA} is read here: make it anew.")
        return cls(
            facts=content["sae"], place=content["place"], pictures=content["pictures"],
            subject=_read(content["subject"]), rivals=tuple(map(_read, content["rivals"])),
            against=tuple(map(_read, content["against"])), notes=tuple(content["notes"]), code=content["code"],
            measures=tuple(Measure(**one) for one in content["measures"]),
        )  # fmt: skip


def rank(measure: Measure, subject: Scores, others: Sequence[Scores]) -> Rank | None:
    """The subject's place among others, itself counted; None where nothing is better or it has no value."""
    own = _value(subject, measure)
    if measure.better == "neither" or own is None:
        return None
    theirs = [value for value in (_value(other, measure) for other in others) if value is not None]
    better = sum(value > own if measure.better == "higher" else value < own for value in theirs)
    return Rank(1 + better, 1 + len(theirs))


def schema() -> dict[str, Any]:
    """The JSON Schema of card.json."""
    return read_json(SCHEMA_FILE)


def _value(scores: Scores, measure: Measure) -> float | None:
    return scores.values[measure.name].value if measure.name in scores.values else None


def _scores(scores: Scores) -> dict[str, Any]:
    return asdict(scores) | {"values": {name: asdict(value) for name, value in scores.values.items()}}


def _read(content: Mapping[str, Any]) -> Scores:
    return Scores(**{**content, "values": {name: Value(**value) for name, value in content["values"].items()}})


def _rounded(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
