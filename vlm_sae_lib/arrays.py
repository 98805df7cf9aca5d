"""One door for numbers that a caller hands over: whatever holds them, what comes in is real numbers, or one sentence.

An array of another byte order, of long doubles or of objects, a tensor in half precision or with a gradient, a list, a
store: all of these hold numbers. Complex numbers, words, dates and masked places do not, and conversion would make some
of them up in silence.
"""

import warnings
from contextlib import suppress
from numbers import Integral, Real
from types import NoneType
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float
from torch import Tensor

from vlm_sae_lib.errors import UserError

NUMPY_HAS = (torch.float16, torch.float32, torch.float64)


def real_array(values: Any, what: str, *, gaps: bool = False) -> np.ndarray:
    """Real numbers of any shape as numpy has them, of at most eight bytes and in the machine's own order.

    The array may be the caller's own: it is only to be read.

    Args:
        values: array, tensor, list, or a store, whose rows are read.
        what: what they are, as a sentence begins, in the plural.
        gaps: take None in a list as NaN.

    Raises:
        UserError: sparse, masked, ragged, not there at all (the device "meta"), or no real numbers.
    """
    if callable(getattr(values, "array", None)):
        values = values.array()
    if isinstance(values, Tensor):
        return _of_tensor(values, what)
    if sp.issparse(values):
        raise UserError(f"{what} are sparse, where dense ones are needed; give them as toarray() makes them.")
    if np.ma.is_masked(values):
        raise UserError(f"{what} are masked in some places; fill them in, or leave those rows out.")
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{what} are no table of numbers; give an array, a tensor, or rows of one length.") from error
    if array.dtype == object:
        array = _of_objects(array, gaps)
    if array.dtype.kind not in "fiub":
        raise UserError(f"{what} hold {array.dtype} values; give real numbers.")
    if array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _of_objects(array: np.ndarray, gaps: bool) -> np.ndarray:
    """As an array of the narrowest kind that holds them all; as it is where they are no numbers."""
    for kinds, dtype in (((bool, np.bool_), np.bool_), ((Integral,), np.int64), ((Real,), np.float64)):
        known = (*kinds, NoneType) if gaps and array.ndim and dtype == np.float64 else kinds
        if all(isinstance(one, known) for one in array.flat):
            with suppress(OverflowError):  # of a whole number beyond int64, which a float may hold
                return array.astype(dtype)
    return array


def _of_tensor(values: Tensor, what: str) -> np.ndarray:
    values = checked_tensor(values, what).detach().cpu().resolve_neg()
    if values.dtype.is_floating_point and values.dtype not in NUMPY_HAS:
        values = values.float()
    return values.numpy()


def checked_tensor(values: Tensor, what: str) -> Tensor:
    """A tensor as it is, its graph included. Raises ``UserError`` as `real_array`."""
    if values.is_meta:
        raise UserError(f'{what} lie on the device "meta", which holds no numbers; load them onto a real one.')
    if values.layout != torch.strided:
        raise UserError(f"{what} are sparse, where dense ones are needed; give them as to_dense() makes them.")
    if values.is_complex():
        raise UserError(f"{what} hold {str(values.dtype).removeprefix('torch.')} values; give real numbers.")
    return values


def real_tensor(values: Any, what: str) -> Tensor:
    """A tensor as it is, its graph included; anything else as a float32 tensor on the CPU, maybe over the caller's own
    memory, which is only to be read. Raises as `real_array`.
    """
    if isinstance(values, Tensor):
        return checked_tensor(values, what)
    with np.errstate(over="ignore", under="ignore"):  # what is too large becomes infinite, and is found as that
        array = np.require(real_array(values, what), np.float32, ["C", "A"])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def finite_rows(values: Any, what: str = "The activations", *, at_least: int = 0) -> Float[np.ndarray, "n d"]:
    """Finite rows ``(n, d)`` in float64, maybe the caller's own: they are only to be read.

    Raises:
        UserError: as `real_array`; another shape, fewer than ``at_least`` rows, NaN or infinity.
    """
    rows = real_array(values, what).astype(np.float64, copy=False)
    if rows.ndim != 2:
        raise UserError(f"{what} have shape {rows.shape}; give (n, d), one row per picture.")
    if len(rows) < at_least or (at_least and not rows.shape[1]):
        raise UserError(f"{what} have shape {rows.shape}; at least {at_least} row(s) with a column are needed.")
    if not np.isfinite(rows).all():
        row = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise UserError(f"{what} hold NaN or infinity in row {row}; leave that picture out.")
    return rows
