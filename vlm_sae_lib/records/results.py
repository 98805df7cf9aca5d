"""A notebook's numbers as a file, and the paper's numbers beside them."""

import difflib
import math
import reprlib
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import pandas as pd

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import read_json, write_json

SCHEMA = 1
FIELDS = (
    "value",
    "ci_low",
    "ci_high",
    "interval",
    "n",
    "unit",
    "seeds",
    "split",
    "controls",
    "paper_value",
    "source",
    "verdict",
)


def json_value(value: Any) -> Any:
    """Plain JSON: numpy and torch scalars and arrays become numbers and lists, NaN and infinities null."""
    if isinstance(value, dict):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if hasattr(value, "tolist"):
        return json_value(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    raise UserError(f"A result cannot hold a {type(value).__name__}; give numbers, words, or lists of them.")


class Results:
    """The results of one notebook, written to ``runs/<profile>/results/<notebook>.json``.

    ``results`` maps a name to its fields, ``inputs`` a name to a hash.
    """

    def __init__(self, notebook: str, profile: str) -> None:
        self.notebook, self.profile = notebook, profile
        self.inputs: dict[str, str] = {}
        self.results: dict[str, dict[str, Any]] = {}

    def input(self, name: str, hash: str) -> None:
        """Note what the results were made from."""
        if self.inputs.get(name, hash) != hash:
            raise UserError(f"The input {name!r} was given two different hashes; give each input its own name.")
        self.inputs[name] = str(hash)

    def add(
        self,
        name: str,
        value: Any,
        *,
        interval: tuple[float, float] | None = None,
        interval_kind: str | None = None,
        n: int | None = None,
        unit: str | None = None,
        seeds: Any = None,
        split: str | None = None,
        controls: dict[str, str] | None = None,
        paper_value: Any = None,
        source: str | None = None,
        verdict: str | None = None,
    ) -> None:
        """Add a result.

        Args:
            interval: (low, high) of 95 %.
            interval_kind: what was resampled and how, in words; an interval needs one.
            n: how many things (pictures, neurons, answers) the value stands on.
            seeds: the training seeds behind it.
            split: which pictures.
            controls: what to hold it against: a word to the name of another result, which must exist when written.
            paper_value, source: the paper's number and where it stands.
            verdict: what the comparison says.

        Raises:
            UserError: the name is taken, or an interval is not (low, high) with a kind.
        """
        if name in self.results:
            raise UserError(f"There is already a result {name!r}; give each result its own name.")
        low, high = (None, None) if interval is None else map(json_value, interval)
        if interval is not None and not interval_kind:
            raise UserError(f"The interval of {name!r} needs an interval_kind: say what was resampled, and how.")
        if low is not None and high is not None and low > high:
            raise UserError(f"The interval of {name!r} runs from {low} down to {high}; give (low, high).")
        row = (value, low, high, interval_kind, n, unit, seeds, split, controls or {}, paper_value, source, verdict)
        self.results[name] = dict(zip(FIELDS, map(json_value, row), strict=True))

    def value(self, name: str) -> Any:
        """The value of a result."""
        if name not in self.results:
            near = difflib.get_close_matches(name, self.results, n=3, cutoff=0.0)
            others = f"the nearest are {', '.join(near)}" if near else "there are none"
            raise UserError(f"There is no result {name!r} in {self.notebook}; {others}.")
        return self.results[name]["value"]

    @property
    def path(self) -> Path:
        return paths.results(self.profile) / f"{self.notebook}.json"

    def as_dict(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "profile": self.profile, "inputs": self.inputs, "results": self.results}

    def write(self) -> Path:
        """Write the file, whole or not at all.

        Raises:
            UserError: a control names no result.
        """
        for name, row in self.results.items():
            for word, control in row["controls"].items():
                if control not in self.results:
                    raise UserError(f"The control {word!r} of {name!r} names {control!r}, which is no result.")
        write_json(self.path, self.as_dict())
        return self.path

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a results file.

        Raises:
            UserError: no such file, or not one of schema 1.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"There are no results at {path}; run the notebook {path.stem} first.")
        try:
            content = read_json(path)
            results = cls(path.stem, content["profile"])
            schema = content["schema"]
            results.inputs, results.results = dict(content["inputs"]), dict(content["results"])
            if not all(isinstance(row, dict) and "value" in row for row in results.results.values()):
                raise ValueError("a result without a value")
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is no results file; run the notebook {path.stem} again.") from error
        if schema != SCHEMA:
            raise UserError(f"{path} has schema {reprlib.repr(schema)}, not {SCHEMA}; run {path.stem} again.")
        return results


def published_table(table: str) -> pd.DataFrame:
    """One of the paper's tables, tidy: a number in ``value``, where it stands in ``source``, what it is in the rest."""
    return _read_table(table).copy()


@lru_cache(maxsize=32)
def _read_table(table: str) -> pd.DataFrame:
    path = paths.published() / f"{table}.csv"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in paths.published().glob("*.csv")))
        raise UserError(f"There is no published table {table!r}; there are {known or 'none'}.")
    return pd.read_csv(path, keep_default_na=False, na_values={"value": [""]})


def published(table: str, **where: Any) -> float:
    """One of the paper's numbers.

    Args:
        table: name of a file in ``data/published``, without ``.csv``.
        where: a value for as many columns as it takes to leave one row.

    Raises:
        UserError: an unknown table or column, no such row, or several.
    """
    return float(_published_row(table, where)["value"])


def published_source(table: str, **where: Any) -> str:
    """Where in the paper the number of `published` stands."""
    return str(_published_row(table, where)["source"])


def paper_layer(hook_point: str, n_blocks: int) -> str:
    """The layer of the paper's CLIP ViT-L that a hook point corresponds to, by its place.

    The last two blocks and the projection correspond to the last two (22, 23) and "last"; earlier blocks to whichever
    of the paper's 11 and 17 is nearer in relative depth.
    """
    if hook_point == "projection":
        return "last"
    index = int(hook_point.removeprefix("block_"))
    if index >= n_blocks - 2:
        return str(24 - (n_blocks - index))
    depth = (index + 1) / n_blocks
    return min(("11", "17"), key=lambda layer: abs((int(layer) + 1) / 24 - depth))


def _published_row(table: str, where: dict[str, Any]) -> pd.Series:
    rows = _read_table(table)
    for column, wanted in where.items():
        if column not in rows:
            raise UserError(f"The table {table!r} has no column {column!r}; it has {', '.join(rows.columns)}.")
        left = rows[rows[column].map(lambda value, wanted=wanted: _same(value, wanted))]
        if left.empty:
            values = ", ".join(dict.fromkeys(map(str, rows[column])))
            raise UserError(f"No row of the table {table!r} has {column}={wanted!r} here; there {column} is {values}.")
        rows = left
    if len(rows) > 1:
        differing = [c for c in rows if c not in ("value", "source") and rows[c].nunique() > 1]
        choices = "; ".join(f"{c} ({', '.join(dict.fromkeys(map(str, rows[c])))})" for c in differing)
        raise UserError(f"{len(rows)} rows of the table {table!r} fit; choose also {choices}.")
    return rows.iloc[0]


def _same(value: Any, wanted: Any) -> bool:
    """Equal as numbers where both are numbers, or else as words."""
    try:
        return float(value) == float(wanted)
    except (TypeError, ValueError):
        return str(value) == str(wanted)
