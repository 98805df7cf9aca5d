"""The log of a training run: a few numbers about every hundredth of it, small enough to live in the artefact."""

import math
from typing import Any

COLUMNS = ("step", "loss", "auxiliary", "sparsity", "r2", "l0", "dead", "threshold", "lr")


class TrainingLog:
    """Parallel lists, one per column of ``COLUMNS``; ``None`` where a number is not defined (yet).

    ``loss`` is the optimised scalar on inputs scaled to E‖x‖² = 1; ``r2`` = 1 − Σ‖x − x̂‖² / Σ‖x − mean‖² and ``l0``
    are of the step's batch under the inference rule; ``dead`` counts latents that have not fired for the dead window.
    """

    def __init__(self, columns: dict[str, list] | None = None) -> None:
        self.columns = columns or {name: [] for name in COLUMNS}

    def append(self, **values: float | None) -> None:
        for name in COLUMNS:
            self.columns[name].append(_compact(values.get(name)))

    def last(self, name: str) -> Any:
        """The newest value of a column, ``None`` before the first."""
        return self.columns[name][-1] if self.columns[name] else None


def is_logged(step: int, steps: int) -> bool:
    """Whether a step belongs to the log: the first, every hundredth of the run, and the last."""
    return step % max(1, steps // 100) == 0 or step == steps - 1


def _compact(value: float | None) -> float | int | None:
    """Six significant digits: what a curve needs."""
    if value is None or isinstance(value, int):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None
