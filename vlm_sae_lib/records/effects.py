"""What decides a claim: how large an effect is in every unit that varies (book/analysis_plan.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Float

from vlm_sae_lib.errors import UserError

ENOUGH = " of at least 10 pictures"
"""Ends the name of an effect on the plan's second population; the first, every defined neuron, has the name alone."""


@dataclass(frozen=True, eq=False)
class Effect:
    """One effect, positive where the claim is right.

    Attributes:
        values: (n_units, n_cases); NaN where it is undefined.
        unit: what varies, in the singular: "training", "latent", "concept", "picture".
        cases: over which a unit's effect is averaged, such as "block_2/self-supervised"; parts are parted by "/".
        of: the quantity, such as "MS".
        n: how many neurons, pictures or answers stand behind it.
        split: on which pictures.
    """

    values: Float[np.ndarray, "n_units n_cases"]
    unit: str
    cases: tuple[str, ...]
    of: str
    n: int
    split: str

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.cases) or not len(self.cases):
            raise UserError(f"An effect in {len(self.cases)} cases needs a column for each, not shape {values.shape}.")
        object.__setattr__(self, "values", values)

    def by_unit(self) -> Float[np.ndarray, " n_units"]:
        """The mean over the cases of each unit; undefined where one of them is."""
        return self.values.mean(axis=1)

    def without_unit(self, place: int) -> Self:
        """The effect with one unit left out."""
        return self._like(np.delete(self.values, place, axis=0), self.cases)

    def without(self, position: int, part: str) -> Self:
        """The effect without the cases that have ``part`` at a position of their name."""
        kept = [i for i, case in enumerate(self.cases) if case.split("/")[position] != part]
        return self._like(self.values[:, kept], tuple(self.cases[i] for i in kept))

    def parts(self) -> list[tuple[int, str]]:
        """What can be left out: (position, part) of every part of the cases' names that not all have."""
        columns = list(zip(*(case.split("/") for case in self.cases), strict=True))
        several = [(i, dict.fromkeys(column)) for i, column in enumerate(columns) if len(set(column)) > 1]
        return [(i, part) for i, column in several for part in column]

    def as_dict(self) -> dict[str, Any]:
        rounded = [[None if np.isnan(value) else float(f"{value:.7g}") for value in row] for row in self.values]
        return {
            "unit": self.unit, "cases": list(self.cases), "of": self.of, "n": self.n, "split": self.split,
            "values": rounded,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        rows = [[np.nan if value is None else value for value in row] for row in content["values"]]
        values = np.array(rows, dtype=np.float64).reshape(len(rows), len(content["cases"]))
        facts = {key: content[key] for key in ("unit", "of", "n", "split")}
        return cls(values, cases=tuple(content["cases"]), **facts)

    def _like(self, values: np.ndarray, cases: Sequence[str]) -> Self:
        return type(self)(values, self.unit, tuple(cases), self.of, self.n, self.split)
