"""The rooms of the library as ``architecture.md`` lists them, and the house that is drawn from that list.

``{rooms}`` is the figure. The table is the one place that says what each room may import; ``tests`` read it from here.
"""

import re
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from xml.sax.saxutils import escape

import networkx
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from vlm_sae_lib.publishing.figures import boxed

PAGE = Path(__file__).parents[1] / "architecture.md"
HEAD = "| room | what it holds | imports |"
LAZY = "when called,"
"""What stands behind it in the third column is imported inside functions only."""
NAME = re.compile(r"`([\w./]+)`")
WIDTH, FLOOR, BOX, MARGIN = 860, 74, 30, 20
LETTER = 7.4  # width of a letter of the boxes' text, in the figure's units


@dataclass(frozen=True)
class Room:
    """One row: its modules or folders, and the rooms that it imports, by their first names."""

    names: tuple[str, ...]
    imports: frozenset[str]
    when_called: frozenset[str]

    @property
    def name(self) -> str:
        return self.names[0]

    def holds(self, module: str) -> int:
        """How closely a module (``sae/kernels/loops.py``) belongs here: the length of the name that it fits, or 0."""
        return max((len(name) for name in self.names if module == name or module.startswith(_folder(name))), default=0)


def _folder(name: str) -> str:
    return name if name.endswith("/") else f"{name}\0"


def rooms(page: str | None = None) -> dict[str, Room]:
    """All rooms by name, the ground first. Raises: ValueError where the page has no such table."""
    text = PAGE.read_text(encoding="utf-8") if page is None else page
    if HEAD not in text:
        raise ValueError(f"there is no table headed {HEAD!r}")
    found = {}
    for line in text.split(HEAD, 1)[1].splitlines()[2:]:
        if not line.startswith("|"):
            break
        _, names, _, imports, _ = line.split("|")
        always, _, lazy = imports.partition(LAZY)
        room = Room(tuple(NAME.findall(names)), frozenset(NAME.findall(always)), frozenset(NAME.findall(lazy)))
        found[room.name] = room
    return found


def floors(table: dict[str, Room]) -> tuple[list[list[str]], networkx.DiGraph]:
    """The rooms floor by floor, each above all that it imports, and what each stands on directly; no ground."""
    ground, *others = table
    graph = networkx.DiGraph([(name, other) for name in others for other in table[name].imports])
    graph.add_nodes_from(others)
    above = networkx.transitive_reduction(graph)
    heights: dict[str, int] = {}
    for name in reversed(list(networkx.topological_sort(graph))):
        heights[name] = 1 + max((heights[other] for other in graph[name]), default=-1)
    found = [[name for name in others if heights[name] == floor] for floor in range(max(heights.values()) + 1)]
    return _untangled(found, list(above.edges)), above


def _untangled(found: list[list[str]], lines: list[tuple[str, str]]) -> list[list[str]]:
    """Neighbours on a floor change places as long as that makes the lines shorter."""

    def length() -> float:
        places = {name: (i + 1) / (len(row) + 1) for row in found for i, name in enumerate(row)}
        return sum((places[one] - places[other]) ** 2 for one, other in lines)

    best, shorter = length(), True
    while shorter:
        shorter = False
        for row in found:
            for i, j in combinations(range(len(row)), 2):
                row[i], row[j] = row[j], row[i]
                if (now := length()) < best - 1e-9:
                    best, shorter = now, True
                else:
                    row[i], row[j] = row[j], row[i]
    return found


def draw(table: dict[str, Room]) -> str:
    """The house as SVG."""
    rows, above = floors(table)
    height = len(rows) * FLOOR + FLOOR - 20
    boxes: dict[str, tuple[float, float, float]] = {}
    for i, row in enumerate(rows):
        widths = [len(_title(name)) * LETTER + 22 for name in row]
        free = (WIDTH - 2 * MARGIN - sum(widths)) / (len(row) + 1)
        x = MARGIN + free
        for name, width in zip(row, widths, strict=True):
            boxes[name] = x, height - FLOOR - 14 - i * FLOOR, width
            x += width + free
    lines = [_line(boxes[name], boxes[other]) for name, other in above.edges]
    return "".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="presentation" '
        'font-family="system-ui, -apple-system, Segoe UI, Roboto, DejaVu Sans, sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" rx="12" fill="#f4f7fa"/>',
        *lines,
        *(_box(*boxes[name], _title(name)) for name in boxes),
        f'<rect x="{MARGIN}" y="{height - 40}" width="{WIDTH - 2 * MARGIN}" height="{BOX}" rx="7" fill="#dde6ee"/>',
        f'<text x="{WIDTH / 2}" y="{height - 20}" text-anchor="middle" font-size="13" fill="#17324d">',
        escape("the ground: " + ", ".join(map(_title, next(iter(table.values())).names))), "</text></svg>",
    ])  # fmt: skip


def _title(name: str) -> str:
    return name.removesuffix("/").removesuffix(".py")


def _box(x: float, y: float, width: float, title: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BOX}" rx="7" fill="#ffffff" stroke="#4a6b8a" '
        f'stroke-width="1.6"/><text x="{x + width / 2:.1f}" y="{y + 20}" text-anchor="middle" font-size="13" '
        f'fill="#17324d">{escape(title)}</text>'
    )


def _line(upper: tuple[float, float, float], lower: tuple[float, float, float]) -> str:
    (x, y, width), (x2, y2, width2) = upper, lower
    start, end, bend = (x + width / 2, y + BOX), (x2 + width2 / 2, y2), (y2 - y - BOX) / 2
    return (
        f'<path d="M{start[0]:.1f} {start[1]}C{start[0]:.1f} {start[1] + bend:.0f} {end[0]:.1f} {end[1] - bend:.0f} '
        f'{end[0]:.1f} {end[1]}" fill="none" stroke="#8aa4bb" stroke-width="1.3"/>'
    )


class RoomsFigure(SphinxDirective):
    has_content = True
    option_spec = {"alt": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        alt = escape(self.options["alt"], {'"': "&quot;"})
        drawn = draw(rooms())
        shown = boxed(f'<div role="img" aria-label="{alt}">{drawn}</div>', drawn)
        figure = nodes.figure("", nodes.raw("", shown, format="html"), ids=["fig-rooms"])
        caption = nodes.caption()
        caption += self.parse_inline(" ".join(self.content))[0]
        figure += caption
        return [figure]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("rooms", RoomsFigure)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
