"""How much of the activations an SAE keeps, with how many latents."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from vlm_sae_lib.arrays import finite_rows, real_array, real_tensor
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.progress import progress

PAPER_BATCH = 4096
ENCODE_BATCH = 512  # rows whose dense latents are held at once


@dataclass(frozen=True)
class Reconstruction:
    """Reconstruction of a set of activations, all at the inference threshold.

    Attributes:
        r2: 1 - sum |x - x_hat|^2 / sum |x - mean|^2 over all rows.
        r2_paper: the paper's form, see the function `r2_paper`.
        l0: mean number of non-zero latents per row.
        never_fired: latents that are zero on every row.
        rows: how many rows were read.
    """

    r2: float
    r2_paper: float
    l0: float
    never_fired: int
    rows: int

    def as_dict(self) -> dict[str, float | int]:
        return asdict(self)


def r2(x: Float[np.ndarray, "n d"], x_hat: Float[np.ndarray, "n d"]) -> float:
    """Share of the variance about the mean that is reconstructed, over all rows; NaN where x is constant."""
    x, x_hat = _two(x, x_hat)
    sums = _Sums()
    sums.add(x, x - x_hat)
    return sums.r2()


def r2_paper(x: Float[np.ndarray, "n d"], x_hat: Float[np.ndarray, "n d"]) -> float:
    """The paper's R^2: 1 - sum_d Var(x - x_hat) / sum_d Var(x) per batch of 4,096 rows in order, then the mean.

    A constant error is not punished, as only its variance counts. The last short batch is dropped unless it is the
    only one, as the paper's loader does.
    """
    x, x_hat = _two(x, x_hat)
    error = x - x_hat
    windows = [slice(start, start + PAPER_BATCH) for start in range(0, len(x), PAPER_BATCH)]
    return _mean_of_whole_batches(
        [(len(x[window]), _explained_variance(x[window], error[window])) for window in windows]
    )


@torch.inference_mode()
def reconstruction(sae: Any, activations: Any) -> Reconstruction:
    """Read activations once, in stored order, through ``sae.encode`` and ``sae.decode``.

    Args:
        sae: a `SparseAutoencoder`, or anything with its ``encode`` and ``decode``.
        activations: a store, an array or a tensor ``(n, d)``; a stored token is a row.

    Raises:
        UserError: no rows, another shape or width than the SAE's, NaN or infinity.
    """
    if not hasattr(activations, "dim") or isinstance(activations, torch.Tensor):
        activations = real_array(activations, "The activations")
        if activations.ndim != 2:
            raise UserError(f"The activations have shape {activations.shape}; give (n, d), one row per picture.")
    n_rows = len(activations)
    if n_rows == 0:
        raise UserError("There are no activations to reconstruct; collect some pictures first.")
    sums, windows, nonzero = _Sums(), [], 0
    fired: np.ndarray | None = None
    for start in progress(range(0, n_rows, PAPER_BATCH), "Reconstruction", unit="batch"):
        batch = activations[start : start + PAPER_BATCH]
        finite_rows(batch)
        x = real_tensor(batch, "The activations").float()
        errors = []
        for rows in x.split(ENCODE_BATCH):
            latents = sae.encode(rows)
            active = latents != 0
            nonzero += int(active.sum())
            now = active.any(dim=0).cpu().numpy()
            fired = now if fired is None else fired | now
            errors.append(_rows(rows) - _rows(sae.decode(latents)))
        error = np.concatenate(errors)
        sums.add(_rows(x), error)
        windows.append((len(x), _explained_variance(_rows(x), error)))
    assert fired is not None  # there is at least one row
    return Reconstruction(
        r2=sums.r2(),
        r2_paper=_mean_of_whole_batches(windows),
        l0=nonzero / n_rows,
        never_fired=int((~fired).sum()),
        rows=n_rows,
    )


class _Sums:
    """Squared errors, and squares about the first row, from which the variance follows without cancellation."""

    def __init__(self) -> None:
        self.rows, self.error, self.square = 0, 0.0, 0.0
        self.pivot: Any = None
        self.total: Any = 0.0

    def add(self, x: np.ndarray, error: np.ndarray) -> None:
        if len(x) == 0:
            return
        if self.pivot is None:
            self.pivot = x[0].copy()
        shifted = x - self.pivot
        self.rows += len(x)
        self.total = self.total + shifted.sum(axis=0)
        self.square += float((shifted**2).sum())
        self.error += float((error**2).sum())

    def r2(self) -> float:
        if self.square == 0:  # every row is exactly the first one: there is no variance to explain
            return float("nan")
        return 1 - self.error / (self.square - float((self.total**2).sum()) / self.rows)


def _explained_variance(x: np.ndarray, error: np.ndarray) -> float:
    if len(x) < 2 or (x == x[0]).all():
        return float("nan")
    return float(1 - np.var(error, axis=0).sum() / np.var(x, axis=0).sum())


def _mean_of_whole_batches(windows: list[tuple[int, float]]) -> float:
    whole = [value for rows, value in windows if rows == PAPER_BATCH] or [value for _, value in windows]
    return float(np.mean(whole)) if whole else float("nan")


def _two(x: Any, x_hat: Any) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n d"]]:
    x, x_hat = _rows(x), _rows(x_hat)
    if x.ndim != 2 or x.shape != x_hat.shape:
        raise UserError(f"Activations of shape {x.shape} cannot be compared with reconstructions of {x_hat.shape}.")
    return x, x_hat


def _rows(values: Any) -> np.ndarray:
    return real_array(values, "The activations").astype(np.float64)
