"""Grids of pictures with captions under them."""

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures.rgb import to_rgb
from vlm_sae_lib.show.tiles import draw_picture
from vlm_sae_lib.terms import Credit, credit_of, credited

WIDTH = 6.4  # inches: the book's column
LETTER = 0.08  # inches: how wide a letter of ten points runs


def picture_grid(
    pictures: Sequence[Image.Image],
    captions: Sequence[str] | None = None,
    *,
    columns: int = 5,
    title: str | None = None,
) -> Figure:
    """Pictures in rows of ``columns``, each with its caption below, wrapped to the picture's width.

    Args:
        pictures: PIL pictures of any size and mode; small ones are enlarged pixel by pixel.
        captions: one per picture, or none.
        title: of the whole grid.

    Raises:
        UserError: no picture, or not as many captions as pictures.
    """
    if not len(pictures) or columns < 1:
        raise UserError("A grid needs at least one picture and one column.")
    if captions is not None and len(captions) != len(pictures):
        raise UserError(f"{len(pictures)} pictures need as many captions, not {len(captions)}.")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    cell = WIDTH / columns
    wrapped = [_wrapped(text, max(8, int(cell / LETTER))) for text in captions or ()]
    lines = max((text.count("\n") + 1 for text in wrapped), default=0)
    size = (WIDTH, rows * (cell + (0.19 * lines + 0.12 if lines else 0)) + (0.3 if title else 0))
    engine = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout=engine)
    for axis in axes.flat[len(pictures) :]:
        axis.set_axis_off()
    for place, (axis, picture) in enumerate(zip(axes.flat, pictures, strict=False)):
        draw_picture(axis, picture, cell, interpolation="none")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        axis.set_xlabel(wrapped[place] if wrapped else "", fontsize=10, labelpad=3)
    if title:
        figure.suptitle(title, fontsize=12, fontweight="bold")
    return figure


def _wrapped(text: str, letters: int) -> str:
    """Lines of at most so many letters; the text's own line ends stay."""
    return "\n".join(textwrap.fill(line, letters) for line in text.splitlines())


def labelled_rows(rows: Sequence[tuple[str, Sequence[Image.Image]]], *, columns: int) -> Figure:
    """Rows of pictures, each behind its label; rows may be of different length, up to ``columns``.

    The pictures stand close together in one image: a plate, not a grid of panels.

    Raises:
        UserError: no row, an empty row, or one with more than ``columns`` pictures.
    """
    lengths = [len(pictures) for _, pictures in rows]
    if not rows or min(lengths) < 1 or max(lengths) > columns:
        raise UserError(f"Each row needs from 1 to {columns} pictures; there are rows of {lengths}.")
    side = rows[0][1][0].size[0]
    gap = max(1, side // 16)
    step = side + gap
    plate = Image.new("RGB", (columns * step - gap, len(rows) * step - gap), "white")
    terms = {credit_of(picture).terms for _, pictures in rows for picture in pictures}
    if len(terms) == 1:  # else it is under no terms that can be told
        credited(plate, Credit(terms.pop()))
    for y, (_, pictures) in enumerate(rows):
        for x, picture in enumerate(pictures):
            plate.paste(to_rgb(picture), (x * step, y * step))
    letters = max(len(label) for label, _ in rows)
    left = 0.2 + LETTER * letters
    high = (WIDTH - left) * plate.size[1] / plate.size[0]
    figure = plt.figure(figsize=(WIDTH, high), layout="none")
    axis = figure.add_axes((left / WIDTH, 0, 1 - left / WIDTH, 1))
    draw_picture(axis, plate, WIDTH - left, interpolation="none", aspect="auto")
    axis.set_xticks([])
    axis.set_yticks([y * step + side / 2 for y in range(len(rows))], [label for label, _ in rows], fontsize=11)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.grid(False)
    return figure
