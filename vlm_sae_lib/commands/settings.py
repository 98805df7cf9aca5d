"""Settings that a command takes by options of their own and by ``--set``: each is given once."""

from collections.abc import Iterable, Mapping
from typing import Any

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.overrides import parse_override


def by_name(sets: Iterable[str], named: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The settings given as ``NAME=VALUE`` and those of options. Raises ``UserError`` for one that is given twice."""
    found = dict(named or {})
    for name, value in map(parse_override, sets):
        if name in found:
            option = f"--{name.replace('_', '-')} and by " if name in (named or {}) else ""
            raise UserError(f"{name} is given twice, by {option}--set {name}=…: give it once.")
        found[name] = value
    return found
