"""Pictures in figures and pages, and the tile that stands in the place of one that may not be published.

A figure holds both, the tile unseen. Who runs a notebook sees the pictures; beside each figure its output says what of
it may be published, and an edition of the book (``withholding``) shows that.
"""

import base64
import html
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from IPython import get_ipython
from IPython.core.pylabtools import print_figure
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage, BboxImage, FigureImage
from matplotlib.patches import Rectangle
from PIL import Image

from vlm_sae_lib.pictures.facts import of_imagenet, of_inat2021
from vlm_sae_lib.pictures.rgb import to_rgb
from vlm_sae_lib.terms import IMAGENET, INAT2021, PUBLISHABLE, TERMS, UNKNOWN, Credit, credit_of

TILE = "tile"
GREY, INK = "#e8e8e8", "#555555"
SIZE, LETTER = 6.5, 0.058  # points, and inches: how wide a letter of that size runs
RASTERS = (AxesImage, BboxImage, FigureImage)
KNOWN = {INAT2021: of_inat2021, IMAGENET: of_imagenet}
"""What folders of these sources are called after; the names of others' folders and files are theirs."""


def draw_picture(axis: Axes, picture: Image.Image, inches: float, **options: Any) -> None:
    """Draw a picture into an axis about so many inches wide; ``options`` are those of ``Axes.imshow``."""
    credit = credit_of(picture)
    axis.imshow(np.asarray(to_rgb(picture)), **options).set_gid(credit.terms.name)
    if not credit.terms.may_be_published:
        ground = Rectangle((0, 0), 1, 1, transform=axis.transAxes, facecolor=GREY, edgecolor="none", clip_on=False)
        words = "\n".join(_lines(credit, int(inches / LETTER)))
        middle: dict[str, Any] = {"transform": axis.transAxes, "ha": "center", "va": "center", "clip_on": True}
        for artist in (axis.add_patch(ground), axis.text(0.5, 0.5, words, fontsize=SIZE, color=INK, **middle)):
            artist.set(gid=TILE, visible=False, in_layout=False)


@contextmanager
def covered(figure: Figure) -> Iterator[list[str]]:
    """Within the block a tile stands for each picture that may not be published; yields the names of their terms.

    A raster that did not come through ``draw_picture`` is nobody's that we know of, and has no tile.
    """
    rasters = figure.findobj(lambda artist: isinstance(artist, RASTERS))
    hidden = [raster for raster in rasters if not TERMS.get(raster.get_gid() or "", UNKNOWN).may_be_published]
    tiles = figure.findobj(lambda artist: artist.get_gid() == TILE)
    _swap(hidden, tiles)
    try:
        yield sorted({TERMS.get(raster.get_gid() or "", UNKNOWN).name for raster in hidden})
    finally:
        _swap(tiles, hidden)


def publishable(figure: Figure) -> bool | dict[str, Any]:
    """What of a figure may be published: True for all of it, else its PNG with tiles, and the names of the terms."""
    # printing leaves a figure that has no layout with the one that is usual, and a complaint when it is printed again
    with covered(figure) as terms, rc_context({"figure.constrained_layout.use": False}):
        return {"png": print_figure(figure, base64=True), "terms": terms} if terms else True


def mark_figures() -> None:
    """From now on, where this runs in a notebook, each figure's output says what of it may be published."""
    if (shell := get_ipython()) is not None:
        formatter = shell.display_formatter.mimebundle_formatter
        formatter.for_type(Figure, lambda figure: ({}, {PUBLISHABLE: publishable(figure)}))


def tile_uri(credit: Credit) -> str:
    """A tile as an SVG inside a URL."""
    lines = _lines(credit, 15)
    first = 51 - 6 * (len(lines) - 1)
    words = "".join(
        f'<text x="48" y="{first + 12 * i}" text-anchor="middle">{html.escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    drawn = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 96" width="96" height="96" font-size="10" '
        f'font-family="sans-serif" fill="{INK}"><rect width="96" height="96" fill="{GREY}"/>{words}</svg>'
    )
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.encode()).decode()


def _swap(seen: list[Artist], unseen: list[Artist]) -> None:
    for artist in seen:
        artist.set_visible(False)
    for artist in unseen:
        artist.set_visible(True)


def _lines(credit: Credit, letters: int) -> list[str]:
    """What may be said in a picture's place: what it shows, as its folder tells, and which one it is."""
    name = ""
    if credit.terms in KNOWN and credit.folder:
        told = KNOWN[credit.terms]([credit.folder]).iloc[0]
        name = told.get("species", told.get("class"))
    number = "not shown" if credit.image_id is None else f"picture {credit.image_id}"
    return [*textwrap.wrap(name, max(letters, 6)), number]
