"""What a stored result was made from, as hashes: the code that can reach it, the models, the settings."""

import ast
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from vlm_sae_lib import paths
from vlm_sae_lib.files import content_hash, folder_hash
from vlm_sae_lib.profiles import Profile

NAME = paths.PACKAGE.name


def code_hash(module: str, without: tuple[str, ...] = ()) -> str:
    """Hash of a module of this library and of every module of it that it imports, directly or not.

    Comments, docstrings and blank lines do not count: they cannot change a result. Nor do the modules in ``without``
    and what is reached through them alone.
    """
    return content_hash({name: _statements(_found(name)) for name in reachable(module, without)})


@lru_cache(maxsize=64)
def reachable(module: str, without: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The modules of this library that a module's code can reach, itself among them; never through ``without``.

    Raises ``ModuleNotFoundError`` for a name without a file.
    """
    _found(module)
    found, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name not in found and name not in without:
            found.add(name)
            waiting += _imports(_found(name))
    return tuple(sorted(found))


def models_hash(profile: Profile) -> str:
    """Hash of the pocket models' weights and settings, on another island of its own ones too; cards do not count."""
    patterns = ("*.safetensors", "*.json")
    home, name = folder_hash(paths.pocket(), patterns), (profile.island or "").partition("@")[2]
    return content_hash([home, folder_hash(paths.islands() / name, patterns)]) if name else home


def settings_hash(profile: Profile) -> str:
    """Hash of every number of a profile."""
    return content_hash(asdict(profile))


def _imports(file: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names += [name if _file(name) else node.module for name in inner]
    return [name for name in names if name.startswith(f"{NAME}.") and _file(name)]


def _file(module: str) -> Path | None:
    stem = paths.PACKAGE.parent.joinpath(*module.split("."))
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


def _found(module: str) -> Path:
    if (file := _file(module)) is None:
        raise ModuleNotFoundError(f"there is no module {module}")
    return file


def _statements(file: Path) -> list[str]:
    """The lines that can change what the code does."""
    text = file.read_text(encoding="utf-8")
    silent: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        # a string that stands alone: a docstring, or a field's description
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            silent |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(text.splitlines(), start=1)
    return [line.rstrip() for i, line in lines if i not in silent and line.strip() and not line.strip().startswith("#")]
