"""One picture from a file, from bytes or from memory as upright RGB, or the reason why not in plain words."""

import hashlib
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

Readable = Path | bytes | Image.Image | Callable[[], bytes]  # a function fetches the bytes from afar


def to_rgb(picture: Image.Image) -> Image.Image:
    """Any PIL picture as upright RGB: EXIF rotation applied, grey, palette, CMYK and 16-bit converted."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I;16"):  # convert("RGB") would clip every value above 255 to white
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def read(picture: Readable, transform: Callable | None = None) -> tuple[Any, str | None]:
    """The picture (transformed) and None, or None and the reason in words free of paths and of library versions."""
    if callable(picture):
        picture = picture()  # outside the try: that the network fails is no fault of the picture
    try:
        if isinstance(picture, Image.Image):
            rgb = to_rgb(picture)
        else:
            if (len(picture) if isinstance(picture, bytes) else picture.stat().st_size) == 0:
                return None, "empty file"
            with Image.open(BytesIO(picture) if isinstance(picture, bytes) else picture) as opened:
                opened.load()  # decodes every row: a truncated file fails here and not later
                rgb = to_rgb(opened)
    except UnidentifiedImageError:
        return None, "not a picture"
    except FileNotFoundError:
        return None, "no such file"
    except PermissionError:
        return None, "no permission to read it"
    except Exception:  # PIL's decoders raise anything on damaged files: OSError, SyntaxError, struct.error, ...
        return None, "damaged or truncated"
    try:
        return (rgb if transform is None else transform(rgb)), None
    except Exception as error:  # a picture of one pixel, or a thousand times as long as it is high
        return None, f"{'×'.join(map(str, rgb.size))} pixels, which preprocessing refuses ({type(error).__name__})"


def square(picture: Image.Image, size: int) -> Image.Image:
    """The largest centred square of a picture, at ``size`` × ``size`` pixels."""
    return ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)


def facts(picture: Path | Image.Image, trust_size: bool) -> list:
    """What of a picture counts for a source's fingerprint, as plain JSON: its size, and the hash of its content."""
    if isinstance(picture, Image.Image):
        rgb = to_rgb(picture)
        return [list(rgb.size), hashlib.sha256(rgb.tobytes()).hexdigest()]
    try:
        size = picture.stat().st_size
        if trust_size:
            return [size]
        with open(picture, "rb") as file:
            return [size, hashlib.file_digest(file, "sha256").hexdigest()]
    except OSError:
        return ["cannot be opened"]


def printable(name: str) -> str:
    """A file name as valid Unicode: bytes that are not UTF-8 appear as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
