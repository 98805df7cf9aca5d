"""The lists of requirements: they say one thing, it is all that is imported, and the lowest of it is what is tested."""

import ast
import sys
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from vlm_sae_lib import paths

ONLY_ON_COLAB = {"bitsandbytes"}  # 4 bits need a GPU, which Colab lends
WHERE_INSTALLED = {"pillow_heif"}  # a phone's HEIC is read if it is there, and named with it if not
ONLY_ON_CLUSTERS = {"ray", "grpc"}  # whoever asks for them without having them is told how to get them
ONLY_FOR_PARITY = {"sae-lens", "dictionary-learning", "overcomplete", "saev"}


def read(name: str) -> dict[str, Requirement]:
    """The lines of a list, by normalised name."""
    lines = (line.partition("#")[0].strip() for line in (paths.root() / name).read_text().splitlines())
    found = [Requirement(line) for line in lines if line]
    assert len({canonicalize_name(requirement.name) for requirement in found}) == len(found), f"{name} says it twice"
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def of_the_library() -> set[str]:
    """What requirements.txt has under "the library and the notebooks"."""
    text = (paths.root() / "requirements.txt").read_text()
    lines = text.partition("# the library and the notebooks\n")[2].partition("\n\n")[0].splitlines()
    return {canonicalize_name(Requirement(line.partition("#")[0].strip()).name) for line in lines}


def imported(trees) -> set[str]:
    """The first part of each name that is imported anywhere, without the standard library's."""
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - {"vlm_sae_lib"}


def modules(*folders: Path):
    return [ast.parse(path.read_text()) for folder in folders for path in folder.rglob("*.py")]


def cells():
    """Of the notebooks, without the lines that only IPython reads."""
    for path in paths.notebooks().glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                yield ast.parse("\n".join(line for line in cell.source.splitlines() if line[:1] not in "%!"))


installed = cache(packages_distributions)


def homes(module: str) -> set[str]:
    return {canonicalize_name(name) for name in installed().get(module, ())}


def with_what_they_bring(named: set[str]) -> set[str]:
    """The packages, and those that each of them asks for by itself."""
    brought = [Requirement(line) for name in named for line in requires(name) or ()]
    return named | {canonicalize_name(r.name) for r in brought if r.marker is None or r.marker.evaluate({"extra": ""})}


@pytest.mark.parametrize("name", ["requirements-colab.txt", "requirements-parity.txt"])
def test_another_list_has_the_bounds_of_the_first(name):
    ours, theirs = read("requirements.txt"), read(name)
    shared = theirs.keys() - ONLY_ON_COLAB - ONLY_FOR_PARITY
    assert shared and {k: theirs[k].specifier for k in shared} == {k: ours[k].specifier for k in shared}


def test_on_colab_all_is_looked_for_that_the_library_needs_and_nothing_pinned():
    asked = read("requirements-colab.txt")
    notebooks = {"nbformat", "pyyaml"}  # to which the library's own reading of notebooks and _config.yml comes
    assert asked.keys() == of_the_library() | notebooks | ONLY_ON_COLAB
    assert all([s.operator for s in requirement.specifier] == [">="] for requirement in asked.values())


def test_what_the_library_and_the_notebooks_import_is_looked_for_on_colab():
    there = with_what_they_bring(read("requirements-colab.txt").keys() - ONLY_ON_COLAB) | ONLY_ON_COLAB
    elsewhere = {"papermill", "onnx"}  # `python -m vlm_sae_lib run` and `book`, which no notebook calls
    lost = {module for module in imported([*modules(paths.PACKAGE), *cells()]) if not homes(module) & there}
    assert lost - ONLY_ON_COLAB - ONLY_ON_CLUSTERS - WHERE_INSTALLED - elsewhere == set()


def test_what_is_imported_anywhere_is_among_the_requirements():
    ours = read("requirements.txt").keys()
    tests, benchmarks = paths.root() / "tests", paths.root() / "benchmarks"
    own = {path.stem for folder in (tests, benchmarks) for path in folder.rglob("*.py")} | {"benchmarks"}
    parity = {name.replace("-", "_") for name in ONLY_FOR_PARITY}
    apart = own | ONLY_ON_COLAB | ONLY_ON_CLUSTERS | WHERE_INSTALLED | parity
    found = imported([*modules(paths.PACKAGE, tests, benchmarks), *cells()]) - apart
    assert {module for module in found if not homes(module) & with_what_they_bring(set(ours))} == set()


def test_the_lowest_versions_are_those_that_the_requirements_allow():
    pinned = read("constraints-lowest.txt")
    for name, requirement in read("requirements.txt").items():
        (lowest,) = [s.version for s in requirement.specifier if s.operator == ">="]
        (pin,) = pinned[name].specifier
        assert pin.operator == "==" and Version(pin.version) == Version(lowest), f"{requirement} and {pinned[name]}"


def test_the_tests_other_versions_are_among_those_that_the_requirements_allow():
    pinned = read("constraints.txt")
    for name, requirement in {**read("requirements.txt"), **read("requirements-cluster.txt")}.items():
        (pin,) = pinned[name].specifier
        assert requirement.specifier.contains(pin.version)
