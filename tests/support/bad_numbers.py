"""The same numbers in other clothes, what may stand around a call, and numbers that are none.

All values that hypothesis draws are eighths between -2 and 2: every type of eight mantissa bits holds them exactly, so
that another form of them must give another form of nothing.
"""

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from hypothesis import strategies as st

from vlm_sae_lib.errors import UserError

# ---- the same numbers in another form


def _read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def _every_second(x):
    wide = np.full(tuple(2 * n for n in x.shape), 7.0, dtype=x.dtype)
    wide[tuple(slice(None, None, 2) for _ in x.shape)] = x
    return wide[tuple(slice(None, None, 2) for _ in x.shape)]


def _backwards(x):
    return np.flip(np.ascontiguousarray(np.flip(x)))


def _unaligned(x):
    raw = np.empty(x.nbytes + 1, dtype=np.uint8)
    there = raw[1:].view(x.dtype).reshape(x.shape)
    there[...] = x
    return there


def _inference_tensor(x):
    with torch.inference_mode():
        return torch.tensor(x)


def _strided_tensor(x):
    return torch.from_numpy(np.ascontiguousarray(x.T)).T


DENSE: dict[str, Callable[[np.ndarray], Any]] = {
    "float64": lambda x: x.astype(np.float64),
    "float16": lambda x: x.astype(np.float16),
    "long double": lambda x: x.astype(np.longdouble),
    "big-endian": lambda x: x.astype(">f4"),
    "Fortran order": np.asfortranarray,
    "backwards": _backwards,
    "every second": _every_second,
    "read-only": _read_only,
    "unaligned": _unaligned,
    "object": lambda x: x.astype(object),
    "list": lambda x: x.tolist(),
    "tensor": torch.tensor,
    "float64 tensor": lambda x: torch.tensor(x, dtype=torch.float64),
    "float16 tensor": lambda x: torch.tensor(x, dtype=torch.float16),
    "bfloat16 tensor": lambda x: torch.tensor(x, dtype=torch.bfloat16),
    "transposed tensor": _strided_tensor,
    "tensor that asks for a gradient": lambda x: torch.tensor(x, requires_grad=True),
    "result that has a gradient": lambda x: torch.tensor(x, requires_grad=True) * 1,
    "inference tensor": _inference_tensor,
    "negated tensor": lambda x: torch.tensor(-x)._neg_view(),
}


def _unsorted(x):
    csr = sp.csr_matrix(x)
    for a, b in zip(csr.indptr[:-1], csr.indptr[1:], strict=True):
        csr.indices[a:b], csr.data[a:b] = csr.indices[a:b][::-1].copy(), csr.data[a:b][::-1].copy()
    csr.has_sorted_indices = False
    return csr


def _in_halves(x):
    coo = sp.coo_matrix(x)
    halves = [np.concatenate([side, side]) for side in (coo.row, coo.col)]
    return sp.coo_matrix((np.concatenate([coo.data / 2] * 2), tuple(halves)), shape=x.shape)


def _with_zeros(x):
    csr = sp.csr_matrix(np.ones_like(x))
    csr.data[:] = x.ravel()
    return csr


def _uncoalesced(x):
    coo = _in_halves(x)
    return torch.sparse_coo_tensor(np.stack([coo.row, coo.col]), coo.data, x.shape, check_invariants=True)


SPARSE: dict[str, Callable[[np.ndarray], Any]] = {
    "csr": sp.csr_matrix,
    "csc": sp.csc_matrix,
    "coo": sp.coo_matrix,
    "lil": sp.lil_matrix,
    "csr array": sp.csr_array,
    "csc of float64": lambda x: sp.csc_matrix(x.astype(np.float64)),
    "unsorted csr": _unsorted,
    "entries in halves": _in_halves,
    "halves in csr": lambda x: sp.csr_matrix(_in_halves(x).tocsr()),
    "explicit zeros": _with_zeros,
    "sparse tensor": lambda x: torch.tensor(x).to_sparse(),
    "uncoalesced tensor": _uncoalesced,
    "csr tensor": lambda x: torch.tensor(x).to_sparse_csr(),
    "csc tensor": lambda x: torch.tensor(x).to_sparse_csc(),
    "bfloat16 sparse tensor": lambda x: torch.tensor(x, dtype=torch.bfloat16).to_sparse(),
}

WHOLE: dict[str, Callable[[np.ndarray], Any]] = {
    "int8": lambda x: x.astype(np.int8),
    "int64": lambda x: x.astype(np.int64),
    "int32 tensor": lambda x: torch.tensor(x, dtype=torch.int32),
    "int64 csr": lambda x: sp.csr_matrix(x.astype(np.int64)),
    "int8 csr": lambda x: sp.csr_matrix(x.astype(np.int8)),
}
"""For whole numbers."""
UNSIGNED: dict[str, Callable[[np.ndarray], Any]] = {
    "uint8": lambda x: x.astype(np.uint8),
    "uint8 tensor": lambda x: torch.tensor(x, dtype=torch.uint8),
}
BOOLEAN: dict[str, Callable[[np.ndarray], Any]] = {
    "bool": lambda x: x.astype(bool),
    "bool tensor": lambda x: torch.tensor(x.astype(bool)),
    "bool csr": lambda x: sp.csr_matrix(x.astype(bool)),
}

NONSENSE: dict[str, Callable[[np.ndarray], Any]] = {
    "complex": lambda x: x + 1j,
    "complex tensor": lambda x: torch.tensor(x + 1j),
    "complex csr": lambda x: sp.csr_matrix(x + 1j),
    "words": lambda x: np.full(x.shape, "one"),
    "objects": lambda x: np.full(x.shape, None, dtype=object),
    "dates": lambda x: x.astype("datetime64[s]"),
    "a tensor without numbers": lambda x: torch.tensor(x).to("meta"),
    "None": lambda x: None,
    "one number": lambda x: 3.0,
    "ragged": lambda x: [[1.0], [1.0, 2.0]],
    "one axis more": lambda x: x[..., None],
    "a masked array": lambda x: np.ma.masked_array(x, np.ones_like(x, dtype=bool)),
}
"""Never the numbers that were meant."""
NOT_FINITE = (np.nan, np.inf, -np.inf)

# ---- what may stand around a call


@contextmanager
def _default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


AROUND: dict[str, Callable[[], Any]] = {
    "bfloat16 autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float16 autocast": lambda: torch.autocast("cpu", torch.float16),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "default dtype float64": lambda: _default_dtype(torch.float64),
    "default dtype bfloat16": lambda: _default_dtype(torch.bfloat16),
    "default device meta": lambda: torch.device("meta"),
    "numpy errors raised": lambda: np.errstate(all="raise"),
    "warnings as errors": _warnings_are_errors,
}

# ---- what came of it


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Every number of a result by where it stands; no matter in which container."""
    if isinstance(value, torch.Tensor):
        value = value.detach()
        yield name, (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    elif sp.issparse(value):
        yield name, value.toarray()
    elif isinstance(value, pd.DataFrame):
        for column in value:
            yield f"{name}.{column}", value[column].to_numpy()
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from leaves(getattr(value, field.name), f"{name}.{field.name}")
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from leaves(part, f"{name}.{key}")
    elif isinstance(value, tuple | list):
        for i, part in enumerate(value):
            yield from leaves(part, f"{name}[{i}]")
    else:
        yield name, np.asarray(value)


def assert_same(found: Any, expected: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Whether two results hold the same numbers; NaN is equal to NaN."""
    found, expected = dict(leaves(found)), dict(leaves(expected))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value.dtype.kind in "fc":
            np.testing.assert_allclose(found[name], value, rtol, atol, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def refused(call: Callable[[], Any], named: tuple[type[Exception], ...] = ()) -> str | None:
    """The one clear sentence that a call costs, None where there was nothing to complain of.

    ``named`` are the errors beside ``UserError`` that a docstring names. Any other error passes on.
    """
    try:
        call()
    except (UserError, *named) as error:
        said = str(error)
        assert said.strip() and "\n" not in said and len(said) < 400, f"no sentence: {said!r}"
        return said
    return None


# ---- numbers to begin with

EIGHTHS = st.integers(-16, 16).map(lambda n: n / 8)


def matrices(n: int, width: int, elements: st.SearchStrategy = EIGHTHS) -> st.SearchStrategy[np.ndarray]:
    """(n, width) float32."""
    row = st.lists(elements, min_size=width, max_size=width)
    return st.lists(row, min_size=n, max_size=n).map(lambda x: np.array(x, dtype=np.float32).reshape(n, width))


SPARSE_EIGHTHS = st.integers(-12, 16).map(lambda n: max(n, 0) / 8)
WHOLE_NUMBERS = st.integers(-3, 3).map(float)
COUNTS = st.integers(0, 3).map(float)
TRUTHS = st.booleans().map(float)


def directed(n: int, width: int, elements: st.SearchStrategy = EIGHTHS) -> st.SearchStrategy[np.ndarray]:
    """Rows of which none is all zeros."""
    return matrices(n, width, elements).map(lambda x: np.where((x == 0).all(axis=1, keepdims=True), np.float32(1), x))
