"""What an experiment found: results with their intervals, and the tables that its figures are drawn from."""

from pathlib import Path
from typing import Any, Self

import pandas as pd

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import read_json
from vlm_sae_lib.records.results import Results, json_value
from vlm_sae_lib.statistics.intervals import Estimate


class Findings(Results):
    """The results of one experiment, and its tables; written to ``runs/<profile>/results/<experiment>.json``."""

    def __init__(self, experiment: str, profile: str) -> None:
        super().__init__(experiment, profile)
        self.tables: dict[str, dict[str, list]] = {}

    def estimate(self, name: str, estimate: Estimate, *, interval_kind: str, **fields: Any) -> None:
        """Add a value with its interval; ``fields`` are those of `Results.add`."""
        self.add(name, estimate.value, interval=estimate.interval, interval_kind=interval_kind, **fields)

    def table(self, name: str, frame: pd.DataFrame) -> None:
        """Add a table of numbers and words, for a figure; its index is left out.

        Raises:
            UserError: the name is taken.
        """
        if name in self.tables:
            raise UserError(f"There is already a table {name!r}; give each table its own name.")
        self.tables[name] = {str(column): json_value(frame[column].tolist()) for column in frame}

    def frame(self, name: str) -> pd.DataFrame:
        """One of the tables."""
        if name not in self.tables:
            raise UserError(f"There is no table {name!r}; there are {', '.join(sorted(self.tables)) or 'none'}.")
        return pd.DataFrame(self.tables[name])

    def as_dict(self) -> dict[str, Any]:
        return super().as_dict() | {"tables": self.tables}

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read an experiment's file; ``UserError`` as of `Results.read`."""
        found = super().read(path)
        found.tables = dict(read_json(path).get("tables", {}))
        return found
