"""What a figure of a notebook is on a page: numbered, with its title, its data and a way to the cell that drew it.

Plots stand in the page itself, where the page's colours reach them. Plates of pictures are heavy: each is a file, which
a browser fetches when the reader comes near.
"""

import html
import math
import re
from dataclasses import dataclass
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from vlm_sae_lib.publishing import notebooks
from vlm_sae_lib.publishing.light_svg import light
from vlm_sae_lib.show.presenting import FIGURE
from vlm_sae_lib.show.svg import dark_by_itself, has_pictures

SVG = "image/svg+xml"
READABLE = 9.2  # pixels: no letter of a figure is drawn smaller, on however small a screen
VIEW = re.compile(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+)')
LETTERS = re.compile(r'font-size(?:: ?|=")([\d.]+)')
SIZE = re.compile(r'width="(\d+)" height="(\d+)"')


@dataclass(frozen=True)
class PageFigure:
    """A figure as a page shows it.

    Attributes:
        number: ``3.7``.
        title: one sentence or more, for everybody.
        alt: what it looks like, for who cannot see it.
        drawn: the SVG, as the notebook holds it; the page shows it lighter (``light_svg``).
        csv: its data, or None.
        code: the anchor of what drew it, or None.
    """

    number: str
    title: str
    drawn: str
    alt: str
    csv: str | None = None
    code: str | None = None

    @property
    def anchor(self) -> str:
        return f"figure-{self.number.replace('.', '-')}"

    def files(self) -> dict[str, str]:
        """What lies beside the page, by name."""
        plate = {f"{self.anchor}.svg": dark_by_itself(light(self.drawn))} if has_pictures(self.drawn) else {}
        return plate | ({f"{self.anchor}.csv": self.csv} if self.csv else {})

    def html(self, folder: str) -> str:
        """The figure as HTML; folder: where its files lie, as the page addresses it."""
        label, title, alt = f"{self.anchor}-title", html.escape(self.title), html.escape(self.alt, quote=True)
        width, height = SIZE.findall(self.drawn)[0]
        if has_pictures(self.drawn):
            shown = (f'<img src="{folder}/{self.anchor}.svg" width="{width}" height="{height}" loading="lazy" '
                     f'decoding="async" alt="{alt}">')  # fmt: skip
        else:
            shown = light(self.drawn).replace("<svg", f'<svg role="img" aria-label="{alt}"', 1)
        shown = boxed(shown, self.drawn)
        ways = [f'<a href="{folder}/{self.anchor}.csv" download>data (CSV)</a>'] if self.csv else []
        ways += [f'<a href="#{self.code}">the code that draws it</a>'] if self.code else []
        more = f' <span class="plot-ways">{" · ".join(ways)}</span>' if ways else ""
        return (
            f'<figure class="plot" id="{self.anchor}">{shown}<figcaption><span id="{label}"><strong>Figure '
            f"{self.number}.</strong> {title}</span>{more}</figcaption></figure>"
        )


def least_width(drawn: str) -> int:
    """Pixels that an SVG must be wide for its smallest letters to be readable; 0 if it has none."""
    view, letters = VIEW.search(drawn), [float(size) for size in LETTERS.findall(drawn)]
    return math.ceil(READABLE * float(view[1]) / min(letters)) if view and letters else 0


def boxed(shown: str, drawn: str) -> str:
    """What a page shows of an SVG, in a box that scrolls sideways where the page is too narrow for its letters.

    ``tables.js`` lets the keyboard into a box that scrolls.
    """
    return f'<div class="figure-box" style="--least: {least_width(drawn)}px">{shown}</div>'


def figures_of(notebook: NotebookNode, name: str) -> list[tuple[NotebookNode, NotebookNode, PageFigure]]:
    """The figures of a notebook in order, each behind its cell and its output; name: the file's, ``03_…``.

    Caption and alternative text are those of the cell's metadata, where it has them.
    """
    found: list[tuple[NotebookNode, NotebookNode, PageFigure]] = []
    for cell in notebooks.code_cells(notebook):
        for output in cell.get("outputs", []):
            told = output.get("metadata", {}).get(FIGURE)
            if told and SVG in output.get("data", {}):
                number = f"{int(name[:2])}.{len(found) + 1}"
                code = f"code-{number.replace('.', '-')}"
                said = cell.metadata.get("mystnb", {})
                title = said.get("figure", {}).get("caption", told["title"])
                alt = said.get("image", {}).get("alt", title)
                figure = PageFigure(number, title, output["data"][SVG], alt, told.get("csv"), code)
                found.append((cell, output, figure))
    return found


def set_in_page(notebook: NotebookNode, name: str, folder: str) -> NotebookNode:
    """The notebook with each figure as a page shows it; the notebook that is passed is changed, and returned.

    The name of a figure in its cell's metadata leads to that cell, from other pages too.
    """
    anchors: dict[int, list[str]] = {}
    for cell, output, figure in figures_of(notebook, name):
        output["data"] = NotebookNode({"text/html": figure.html(folder)})
        anchors.setdefault(id(cell), []).append(figure.code or "")
    cells: list[Any] = []
    for cell in notebook.cells:
        if marks := anchors.get(id(cell)):
            spans = "".join(f'<span class="plot-code" id="{mark}"></span>' for mark in marks)
            name = cell.metadata.pop("mystnb", {}).get("figure", {}).get("name")  # else a second figure around ours
            cells.append(new_markdown_cell(f"({name})=\n{spans}" if name else spans))
        cells.append(cell)
    notebook.cells = cells
    return notebook
