"""Settings given by hand: how a value is written, and whether it is what its annotation says.

One parser for ``--set`` and the options of the command line, one check for every frozen dataclass of settings. A range
stands in the annotation too (``Count``, ``Share``, …), so that all settings of a kind are held to the same one.
"""

import argparse
import ast
import json
import reprlib
import sys
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from vlm_sae_lib.errors import UserError


@dataclass(frozen=True)
class Such:
    """What of a type will do: in words that follow "must be", and as a test."""

    words: str
    holds: Callable[[Any], bool]


BEYOND = 2**63
"""The first whole number that torch has no room for."""

Count = Annotated[int, Such("a whole number of at least 1 (and below 2^63)", lambda n: 1 <= n < BEYOND)]
Index = Annotated[int, Such("a whole number of at least 0 (and below 2^63)", lambda n: 0 <= n < BEYOND)]
Seed = Index
Positive = Annotated[float, Such("a positive, finite number", lambda x: x > 0)]
AtLeastZero = Annotated[float, Such("a finite number of at least 0", lambda x: x >= 0)]
Share = Annotated[float, Such("a number from 0 to 1", lambda x: 0 <= x <= 1)]
Shares = Annotated[
    tuple[Share, ...],
    Such("a list of fractions that sum to 1, such as [0.25, 0.75]", lambda shares: abs(sum(shares) - 1) <= 1e-6),
]
Kind = Literal["matryoshka_batch_top_k", "batch_top_k", "top_k", "relu", "jump_relu"]


class Misfit(ValueError):
    """A value that is not what an annotation says."""


def parse_override(text: str) -> tuple[str, Any]:
    """``NAME=VALUE``, the value as ``parse_value`` reads it. Raises ``UserError`` for another form."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UserError(f"--set {text} is not of the form NAME=VALUE: write for example --set lr_decay=0.3.")
    return name, parse_value(value)


def parse_value(text: str) -> Any:
    """The value that a word stands for, as JSON or Python write it (true, True, null, None, numbers, lists, tuples,
    mappings, quoted strings); any other word is itself."""
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            return read(text)
    return text


def option(annotation: Any) -> Callable[[str], Any]:
    """What ``argparse`` takes as an option's ``type``: the word's value, held to an annotation."""

    def read(text: str) -> Any:
        try:
            return fit(parse_value(text), annotation)
        except Misfit:
            raise argparse.ArgumentTypeError(f"{text!r} must be {in_words(annotation)}") from None

    return read


def refuse_unknown(who: str, settings: type, names: Iterable[str]) -> None:
    """Raise ``UserError`` for a name that is no field of a dataclass; the message lists those that are."""
    known = [field.name for field in fields(settings)]
    for name in names:
        if name not in known:
            raise UserError(f"{who} has no setting {name!r}: the settings are {', '.join(known)}.")


def hold(settings: Any, who: str) -> None:
    """For the ``__post_init__`` of a frozen dataclass: each field is what its annotation says, see ``held``."""
    cls: Any = type(settings)
    for name, annotation in _annotations(cls).items():
        object.__setattr__(settings, name, held(f"{who} {name}", getattr(settings, name), annotation))


def held(name: str, value: Any, annotation: Any) -> Any:
    """``fit`` for a value that the user has named. Raises ``UserError``: the name, the value, and what it must be."""
    try:
        return fit(value, annotation)
    except Misfit:
        raise UserError(f"{name}={reprlib.repr(value)} must be {in_words(annotation)}.") from None


def fit(value: Any, annotation: Any) -> Any:
    """The value as its annotation has it: what is listed as a tuple, another library's numbers as Python's.

    Known are ``bool``, ``int``, ``float`` (finite; a whole number will do, a bool will not), ``str``, ``None``,
    ``dict[str, Any]``, dataclasses, ``Literal``, unions, tuples (of any length: not empty) and ``Annotated`` by
    ``Such``. Raises ``Misfit``.
    """
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        value = fit(value, parts[0])
        return _if(all(such.holds(value) for such in parts[1:]), value)
    if origin in (Union, UnionType):
        for part in parts:
            with suppress(Misfit):
                return fit(value, part)
        raise Misfit
    if origin is Literal:
        return _if(any(type(value) is type(part) and value == part for part in parts), value)
    if origin is tuple:
        return _fit_tuple(value, parts)
    if origin is dict:
        return _if(isinstance(value, Mapping) and all(isinstance(key, str) for key in value), value)
    if annotation in (int, float):
        return _fit_number(value, annotation)
    if annotation in (bool, str, NoneType) or is_dataclass(annotation):
        return _if(isinstance(value, annotation), value)
    raise NotImplementedError(f"no check is written for {annotation}")


def in_words(annotation: Any) -> str:
    """What an annotation asks for, in words that follow "must be"."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return parts[1].words
    if origin in (Union, UnionType, Literal):
        *firsts, last = map(repr if origin is Literal else in_words, parts)
        return " or ".join([", ".join(firsts), last] if firsts else [last])
    if origin is tuple:
        if parts[1:] == (...,):
            return f"a list of one or more, each of them {in_words(parts[0])}"
        return f"a list of {len(parts)}: {', '.join(map(in_words, parts))}"
    if origin is dict or is_dataclass(annotation):
        return "a mapping of settings"
    words = {bool: "True or False", int: "a whole number", float: "a finite number", str: "a string", NoneType: "None"}
    return words[annotation]


@lru_cache
def _annotations(settings: type) -> dict[str, Any]:
    return get_type_hints(settings, include_extras=True)


def _fit_number(value: Any, kind: type) -> int | float:
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
        raise Misfit
    # a whole number stays one: 4 and 4.0 are the same setting, but not the same text to be hashed
    number = int(value) if isinstance(value, Integral) else float(value)
    return _if(kind is int or abs(number) <= sys.float_info.max, number)  # which neither NaN nor infinity is


def _fit_tuple(value: Any, parts: tuple[Any, ...]) -> tuple:
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping | Set):
        raise Misfit
    items = tuple(value)
    each = parts[:1] * len(items) if parts[1:] == (...,) else parts
    if not items or len(items) != len(each):
        raise Misfit
    return tuple(map(fit, items, each))


def _if(holds: bool, value: Any) -> Any:
    if not holds:
        raise Misfit
    return value
