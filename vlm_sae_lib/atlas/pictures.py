"""The pictures of an atlas: each once, in sheets, in the order in which the latents need them."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import write_bytes
from vlm_sae_lib.progress import progress
from vlm_sae_lib.terms import credit_of

PER_ROW = 4
PER_SHEET = PER_ROW**2
SIDE = 80
"""Pixels of a picture in a sheet. A latent's pictures may lie in as many sheets as there are pictures: small sheets."""
QUALITY = 55
GREY, INK = (232, 232, 232), (85, 85, 85)


class Numbered:
    """Ids of pictures, numbered in the order in which they are first asked for."""

    def __init__(self, ids: Iterable[int] = ()) -> None:
        self._numbers: dict[int, int] = {}
        for image_id in ids:
            self.number(image_id)

    def number(self, image_id: int) -> int:
        return self._numbers.setdefault(int(image_id), len(self._numbers))

    @property
    def ids(self) -> list[int]:
        """By number."""
        return list(self._numbers)


def write_sheets(folder: str | Path, source: Any, ids: Sequence[int], *, publish: bool) -> None:
    """Write the sheets ``0000.webp`` … of these pictures into a folder.

    Args:
        source: of the pictures; one that paints paints them at the size of the sheet.
        publish: put a tile in the place of each picture whose terms forbid to show it to others. One that cannot be
            read has a tile, too.
    """
    for start in progress(range(0, len(ids), PER_SHEET), "picture sheets", unit="sheet"):
        own = [int(i) for i in ids[start : start + PER_SHEET]]
        sheet = Image.new("RGB", (PER_ROW * SIDE, PER_ROW * SIDE), GREY)
        for place, image_id in enumerate(own):
            sheet.paste(_cell(source, image_id, publish), (SIDE * (place % PER_ROW), SIDE * (place // PER_ROW)))
        buffer = io.BytesIO()
        sheet.save(buffer, "WEBP", quality=QUALITY, method=4)
        write_bytes(Path(folder) / f"{start // PER_SHEET:04d}.webp", buffer.getvalue())


def _cell(source: Any, image_id: int, publish: bool) -> Image.Image:
    try:
        picture = source.picture(image_id, SIDE)
    except UserError:  # a file that has gone, or cannot be read
        return _tile(image_id)
    if publish and not credit_of(picture).terms.may_be_published:
        return _tile(image_id)
    return picture.resize((SIDE, SIDE)) if picture.size != (SIDE, SIDE) else picture


def _tile(image_id: int) -> Image.Image:
    """What may be shown in a picture's place: which one it is. Its label, beside it, says what it shows."""
    tile = Image.new("RGB", (SIDE, SIDE), GREY)
    ImageDraw.Draw(tile).multiline_text(
        (SIDE / 2, SIDE / 2), f"picture\n{image_id}", fill=INK, anchor="mm", align="center", font_size=13
    )
    return tile
