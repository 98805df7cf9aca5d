"""What an experiment found: results with their intervals, and the tables that its figures are drawn from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import read_json
from vlm_sae_lib.records.effects import Effect
from vlm_sae_lib.records.results import Results, json_value
from vlm_sae_lib.statistics.intervals import Estimate, student


class Findings(Results):
    """The results of one experiment, and its tables; written to ``runs/<profile>/results/<experiment>.json``."""

    def __init__(self, experiment: str, profile: str) -> None:
        super().__init__(experiment, profile)
        self.tables: dict[str, dict[str, list]] = {}
        self.effects: dict[str, Effect] = {}

    def estimate(self, name: str, estimate: Estimate, *, interval_kind: str, **fields: Any) -> None:
        """Add a value with its interval; ``fields`` are those of `Results.add`."""
        self.add(name, estimate.value, interval=estimate.interval, interval_kind=interval_kind, **fields)

    def effect(
        self,
        name: str,
        values: Any,
        *,
        unit: str,
        of: str,
        n: int,
        split: str,
        cases: Sequence[str] = ("",),
        **fields: Any,
    ) -> None:
        """Add what decides a claim, and ``effect/<name>``: its mean, with Student's t over the units.

        Args:
            values: ``(n_units,)``, or ``(n_units, n_cases)``; see `Effect`, also for the other arguments.
            fields: others of `Results.add`, such as ``seeds`` or ``controls``.
        """
        columns = np.asarray(values, dtype=np.float64)
        effect = Effect(columns.reshape(len(columns), -1), unit, tuple(cases), of, n, split)
        kind = f"Student's t over {len(columns)} {unit}s"
        self.estimate(
            f"effect/{name}", student(effect.by_unit()), interval_kind=kind, n=n, unit=of, split=split, **fields
        )
        self.effects[name] = effect

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
        return super().as_dict() | {
            "tables": self.tables, "effects": {name: effect.as_dict() for name, effect in self.effects.items()},
        }  # fmt: skip

    def decisive(self) -> dict[str, Any]:
        """What decides claims, and nothing else: the form in which an island's findings are published."""
        kept = {name: row | {"controls": {}} for name, row in self.results.items() if name.startswith("effect/")}
        return self.as_dict() | {"results": kept, "tables": {}}

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read an experiment's file; ``UserError`` as of `Results.read`."""
        path = Path(path)
        found = super().read(path)
        content = read_json(path)
        try:
            found.tables = dict(content.get("tables", {}))
            for table in found.tables.values():
                lists = all(isinstance(column, list) for column in table.values())
                if not lists or len(set(map(len, table.values()))) > 1:
                    raise ValueError("a table whose columns are no lists of one length")
            found.effects = {name: Effect.from_dict(effect) for name, effect in content.get("effects", {}).items()}
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise UserError(f"{path} has a damaged table or effect; run the experiment {path.stem} again.") from error
        return found
