"""Pictures signed by a colour that nothing else has, and every raster in a folder, wherever it is embedded.

So that a test can say whether a page holds a picture, made smaller or larger, in a plot, in a URL or in JSON.
"""

import base64
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

SIGNATURE = (255, 0, 255)
IN_BASE64 = re.compile(rb"(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR|Qk[0-9A-Za-z]|SUkqA|TU0AK)[A-Za-z0-9+/]{40,}=*")
"""How PNG, JPEG, GIF, WebP, BMP and TIFF begin."""


def sign(picture: Image.Image) -> Image.Image:
    """A copy with a patch of the signature in its middle, a quarter as wide and high as it is."""
    copy = picture.convert("RGB")
    box = [side * part // 8 for part in (3, 5) for side in copy.size]
    copy.paste(SIGNATURE, tuple(box))
    return copy


def is_signed(picture: Image.Image) -> bool:
    """Whether some pixels have the signature's colour, give or take what JPEG and resizing do to it."""
    pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    return int((np.abs(pixels - SIGNATURE).max(axis=1) < 60).sum()) >= 4


def in_bytes(data: bytes) -> Iterator[Image.Image]:
    """The picture that a file is, or those that it holds in base64."""
    try:
        yield Image.open(BytesIO(data)).convert("RGB")
    except UnidentifiedImageError:
        for match in IN_BASE64.finditer(data):
            text = match[0].rstrip(b"=")
            try:
                yield Image.open(BytesIO(base64.b64decode(text + b"=" * (-len(text) % 4)))).convert("RGB")
            except (UnidentifiedImageError, ValueError, OSError):
                continue  # text that begins as a picture would


def in_folder(folder: Path) -> list[tuple[str, Image.Image]]:
    """Every raster below a folder, behind the name of its file."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [(path.relative_to(folder).as_posix(), found) for path in files for found in in_bytes(path.read_bytes())]


def signed(folder: Path) -> list[str]:
    """The files below a folder that show a signed picture."""
    return sorted({name for name, picture in in_folder(folder) if is_signed(picture)})
