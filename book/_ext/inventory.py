"""Directives that list what the library knows, read from the library itself, so that no list in the book goes stale.

``{profiles}`` shows the settings of every profile side by side: first those that each must name, folded away those that
have a default. ``{known} NAME`` lists what can be loaded: ``towers``, ``pictures``, ``vlms``, ``saes``.
"""

import html
import pkgutil
import re
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from vlm_sae_lib import pictures, towers
from vlm_sae_lib.profiles import PROFILES, Profile
from vlm_sae_lib.sae import foreign
from vlm_sae_lib.vlms.families import FAMILIES

COMMIT = re.compile(r"(@[0-9a-f]{7})[0-9a-f]{33}$")
"""A pinned commit, of which a table shows the beginning."""


class Markdown(SphinxDirective):
    def markdown(self, lines: list[str]) -> list[nodes.Node]:
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=False)


class Profiles(Markdown):
    def run(self) -> list[nodes.Node]:
        required, optional = [], []
        for field in fields(Profile):
            if field.name != "name":
                named = field.default is MISSING and field.default_factory is MISSING
                (required if named else optional).extend(settings(Profile, field))
        parts = [
            *table(required),
            f"::::{{dropdown}} {len(optional)} more settings, most of them at their defaults", *table(optional), "::::",
            "::::{dropdown} What each setting means", *meant(required + optional), "::::",
        ]  # fmt: skip
        return self.markdown([":::::{div} profiles", *parts, ":::::"])


@dataclass(frozen=True)
class Setting:
    name: str
    meaning: str
    values: tuple[Any, ...]
    """One per profile."""


def settings(of: type, field: Field, holders: Sequence[Any] = tuple(PROFILES.values()), prefix: str = "") \
        -> Iterator[Setting]:  # fmt: skip
    """A field of a dataclass as a setting; a field that holds a dataclass is opened."""
    values = tuple(getattr(holder, field.name) for holder in holders)
    if is_dataclass(values[0]):
        for inner in fields(values[0]):
            yield from settings(type(values[0]), inner, values, f"{prefix}{field.name}.")
    else:
        yield Setting(f"{prefix}{field.name}", " ".join(meanings(of).get(field.name, ())), values)


def meanings(of: type) -> dict[str, list[str]]:
    """What is written below each field of a dataclass."""
    written = ModuleAnalyzer.for_module(of.__module__).find_attr_docs()
    return {name: lines for (owner, name), lines in written.items() if owner == of.__name__}


def meant(of: Sequence[Setting]) -> list[str]:
    return [f"- `{setting.name}`: {setting.meaning}" for setting in of if setting.meaning]


def table(of: Sequence[Setting]) -> list[str]:
    head = ["setting", *PROFILES]
    rows = [head, ["---"] * len(head), *([f"`{one.name}`", *map(shown, one.values)] for one in of)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]


def shown(value: Any) -> str:
    """A setting's value: a dash for none, several words one below the other."""
    if value is None or value == ():
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        numbers = all(isinstance(one, int | float) for one in value)
        parts = [": ".join(map(shown, one)) if isinstance(one, tuple) else shown(one) for one in value]
        return (", " if numbers else "<br>").join(parts)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    return html.escape(COMMIT.sub(r"\1", str(value))).replace("_", "\\_")


class Known(Markdown):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        if self.arguments[0] not in KNOWN:
            raise self.error(f"{self.arguments[0]!r} is none of {', '.join(KNOWN)}.")
        return self.markdown(KNOWN[self.arguments[0]]())


def known_towers() -> list[str]:
    families = [first_line(name) for name in modules(towers) if name.endswith("_towers")]
    return [*spellings(towers.KNOWN_SPECS), *(f"- {line}" for line in families)]


def known_pictures() -> list[str]:
    return spellings(pictures.KNOWN_SOURCES)


def known_vlms() -> list[str]:
    """A line per family, with the model types of ``config.json`` that belong to it."""
    lines = []
    for family in dict.fromkeys(FAMILIES.values()):
        types = ", ".join(f"`{name}`" for name, one in FAMILIES.items() if one is family)
        lines.append(f"- {types}: {family.__doc__.splitlines()[0]}")
    return lines


def known_saes() -> list[str]:
    return [f"- {first_line(name)}" for name in modules(foreign) if hasattr(import_module(name), "read")]


KNOWN = {"towers": known_towers, "pictures": known_pictures, "vlms": known_vlms, "saes": known_saes}


def modules(package: Any) -> list[str]:
    return sorted(f"{package.__name__}.{found.name}" for found in pkgutil.iter_modules(package.__path__))


def first_line(module: str) -> str:
    return import_module(module).__doc__.strip().splitlines()[0]


def spellings(known: str) -> list[str]:
    """The spellings that an error message lists in quotation marks, as code."""
    return [re.sub('"([^"]*)"', r"`\1`", known) + ".", ""]


def setup(app: Sphinx) -> dict:
    app.add_directive("profiles", Profiles)
    app.add_directive("known", Known)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
