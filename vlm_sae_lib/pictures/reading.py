"""One picture from a file, from bytes or from memory as upright RGB, or the reason why not in plain words."""

import hashlib
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from vlm_sae_lib.pictures.bare import JPEG, PNG, TIFF, without_metadata
from vlm_sae_lib.pictures.refusal import HEAD, Unreadable, brand, why
from vlm_sae_lib.pictures.rgb import to_rgb

Readable = Path | bytes | Image.Image | Callable[[], bytes]  # a function fetches the bytes from afar


def read(picture: Readable, transform: Callable | None = None) -> tuple[Any, str | None]:
    """The picture (transformed) and None, or None and the reason in words free of paths and of library versions."""
    if callable(picture):
        picture = picture()  # outside the try: that the network fails is no fault of the picture
    rgb, reason = _in_memory(picture) if isinstance(picture, Image.Image) else _from_file(picture)
    if rgb is None:
        return None, reason
    try:
        return (rgb if transform is None else transform(rgb)), None
    except Exception as error:  # a picture of one pixel, or a thousand times as long as it is high
        return None, f"{'×'.join(map(str, rgb.size))} pixels, which preprocessing refuses ({type(error).__name__})"


def _in_memory(picture: Image.Image) -> tuple[Image.Image | None, str | None]:
    try:
        return to_rgb(picture), None
    except Unreadable as error:
        return None, error.reason


def _from_file(file: Path | bytes) -> tuple[Image.Image | None, str | None]:
    try:
        if (len(file) if isinstance(file, bytes) else file.stat().st_size) == 0:
            return None, "empty file"
        return _opened(file), None
    except Exception as error:  # whatever PIL raises
        head = b""
        try:
            head = _begin(file)
            if (otherwise := _otherwise(file, head)) is not None:
                return _opened(otherwise), None
        except Exception:
            pass  # the first failure says more
        return None, why((error.__cause__ or error) if isinstance(error, Unreadable) else error, head)


def _opened(file: Path | bytes) -> Image.Image:
    with Image.open(BytesIO(file) if isinstance(file, bytes) else file) as opened:
        return to_rgb(opened)


def _begin(file: Path | bytes) -> bytes:
    if isinstance(file, bytes):
        return file[:HEAD]
    with file.open("rb") as opened:
        return opened.read(HEAD)


def _otherwise(file: Path | bytes, head: bytes) -> Path | bytes | None:
    """What to read where a file could not be: itself once its decoder is there, or what is left without metadata."""
    if brand(head) == "HEIC":
        from pillow_heif import register_heif_opener  # PIL does not find it by itself

        register_heif_opener()
        return file
    if head.startswith((JPEG, PNG, *TIFF)):
        return without_metadata(file if isinstance(file, bytes) else file.read_bytes())
    return None


def square(picture: Image.Image, size: int) -> Image.Image:
    """The largest centred square of a picture, at ``size`` × ``size`` pixels."""
    return ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)


def facts(picture: Path | Image.Image, trust_size: bool) -> list:
    """What of a picture counts for a source's fingerprint, as plain JSON: its size, and the hash of its content."""
    if isinstance(picture, Image.Image):
        rgb, reason = _in_memory(picture)
        return [reason] if rgb is None else [list(rgb.size), hashlib.sha256(rgb.tobytes()).hexdigest()]
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
