"""The rooms of ``book/architecture.md`` against the imports of the code, those inside functions included."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import grimp
import networkx
import pytest
from book_extensions import extension

from vlm_sae_lib import paths

rooms = extension("rooms")
TABLE = rooms.rooms()
GROUND = next(iter(TABLE))
PAGE = rooms.PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(paths.PACKAGE.name, exclude_type_checking_imports=True, cache_dir=None)


def file_of(module: str) -> str:
    """``sae/artefact.py`` of ``vlm_sae_lib.sae.artefact``."""
    stem = paths.PACKAGE.joinpath(*module.split(".")[1:])
    path = stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")
    return path.relative_to(paths.PACKAGE).as_posix()


def room_of(module: str) -> str:
    fits = {name: room.holds(file_of(module)) for name, room in TABLE.items()}
    return max(fits, key=fits.get) if any(fits.values()) else ""


def imported(graph: grimp.ImportGraph) -> set[tuple[str, str]]:
    """(room, room that it imports) as the code has it; the package's own list of names is no room."""
    pairs = set()
    for module in graph.modules - {graph_root(graph)}:
        for other in graph.find_modules_directly_imported_by(module) - {graph_root(graph)}:
            pairs.add((room_of(module), room_of(other)))
    return {(room, other) for room, other in pairs if room != other}


def graph_root(graph: grimp.ImportGraph) -> str:
    return min(graph.modules, key=len)


def test_every_module_has_a_room_and_every_name_of_the_table_is_there(graph):
    homeless = [module for module in graph.modules - {graph_root(graph)} if not room_of(module)]
    assert not homeless
    named = [name for room in TABLE.values() for name in room.names]
    assert [name for name in named if not (paths.PACKAGE / name).exists()] == []
    assert len(named) == len(set(named))
    assert {other for room in TABLE.values() for other in room.imports | room.when_called} <= set(TABLE)


def test_rooms_import_what_the_table_says_and_nothing_else(graph):
    said = {(name, other) for name, room in TABLE.items() for other in room.imports | room.when_called}
    found = {(room, other) for room, other in imported(graph) if other != GROUND}
    assert sorted(found - said) == [], "imported, and not in the table"
    assert sorted(said - found) == [], "in the table, and not imported"


def test_no_room_imports_what_imports_it():
    edges = [(name, other) for name, room in TABLE.items() for other in room.imports]
    assert list(networkx.simple_cycles(networkx.DiGraph(edges))) == []


def test_what_is_imported_when_called_is_imported_inside_functions(graph):
    for name, room in TABLE.items():
        for module in (m for m in graph.modules if room_of(m) == name):
            for other in graph.find_modules_directly_imported_by(module):
                if room_of(other) in room.when_called:
                    details = graph.get_import_details(importer=module, imported=other)
                    lines = [detail["line_contents"] for detail in details]
                    code = Path(paths.PACKAGE / file_of(module)).read_text(encoding="utf-8").splitlines()
                    assert not set(lines) & set(code), f"{module} imports {other} at its top"


def test_a_room_of_the_statistics_the_scores_and_the_controls_can_be_read_whole():
    for name in ("statistics", "scores", "controls"):
        files = len(list((paths.PACKAGE / name).glob("*.py")))
        assert files <= 14, f"{name}/ holds {files} files: write beside the nearest kin, or find some of them a room"


def test_an_autoencoder_that_is_loaded_knows_neither_training_nor_kernels():
    program = """
import sys
from vlm_sae_lib import SparseAutoencoder, paths
sae = SparseAutoencoder.load(paths.pocket() / "sae" / "steering")
sae.decode(sae.encode(sae.b_dec[None]))
print([name for name in sys.modules if name.startswith(("vlm_sae_lib.sae.training", "vlm_sae_lib.sae.kernels"))])
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=paths.root())
    assert run.stdout.strip() == "[]", run.stderr


@pytest.mark.parametrize("file", sorted(paths.PACKAGE.rglob("__init__.py"))[1:], ids=lambda file: file.parent.name)
def test_a_rooms_door_says_what_it_holds_and_hands_on_names_and_nothing_else(file):
    """The package's own door, which opens when it is asked for a name, is not a room's."""
    docstring, *rest = ast.parse(file.read_text(encoding="utf-8")).body
    assert isinstance(docstring, ast.Expr) and str(docstring.value.value).split("\n")[0].count(". ") == 0
    *imports, last = rest or [None]
    assert all(isinstance(node, ast.ImportFrom) for node in imports)
    assert last is None or ast.unparse(last).startswith("__all__ = ")


WALKS = re.split(r"^\*\*(.*?)\*\*", PAGE.split("## Three walks", 1)[1].split("\n## ", 1)[0], flags=re.M)[1:]


@pytest.mark.parametrize("walk", WALKS[1::2], ids=WALKS[::2])
def test_a_walk_enters_no_room_twice(walk):
    files = re.findall(r"^\d+\. `([\w/]+\.py)`", walk, flags=re.M)
    assert len(files) >= 5 and all((paths.PACKAGE / file).is_file() for file in files)
    entered = [room_of(f"vlm_sae_lib.{file.removesuffix('.py').replace('/', '.')}") for file in files]
    entered = [room for i, room in enumerate(entered) if i == 0 or room != entered[i - 1]]
    assert len(entered) == len(set(entered))


def test_there_are_three_walks():
    assert len(WALKS) == 6


def test_the_house_is_drawn_from_the_table():
    rows, above = rooms.floors(TABLE)
    heights = {name: i for i, row in enumerate(rows) for name in row}
    assert set(heights) == set(TABLE) - {GROUND}
    assert all(heights[name] > heights[other] for name in heights for other in TABLE[name].imports)
    svg = rooms.draw(TABLE)
    assert svg.count("<path") == len(above.edges) and all(f">{rooms._title(name)}<" in svg for name in heights)


def test_a_page_without_the_table_is_told():
    with pytest.raises(ValueError, match="no table headed"):
        rooms.rooms("# nothing")
