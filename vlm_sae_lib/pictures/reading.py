"""One picture from a file, from bytes or from memory as upright RGB, or the reason why not in plain words."""

import hashlib
import os
import re
import stat
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageFile, ImageOps

from vlm_sae_lib.pictures.bare import JPEG, LARGEST, PNG, TIFF, without_metadata
from vlm_sae_lib.pictures.refusal import CLOSED, DAMAGED, HEAD, Unreadable, brand, why
from vlm_sae_lib.pictures.refusal import TIFF as TIFFS
from vlm_sae_lib.pictures.rgb import to_rgb
from vlm_sae_lib.pictures.whole import is_whole

NO_FILES = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip
LONGEST = 1000
"""Times as long as it is wide: CLIP makes 224 pixels of the short side before it cuts the long one, so gigabytes."""
MOST_BYTES = 2 * 4 * 2
"""For each of ``MAX_IMAGE_PIXELS``, of which PIL takes twice as many: four channels of 16 bits."""
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
Readable = Path | bytes | Image.Image | Callable[[], bytes]  # a function fetches the bytes from afar


def read(picture: Readable, transform: Callable | None = None) -> tuple[Any, str | None]:
    """The picture (transformed) and None, or None and the reason in words free of paths and of library versions."""
    if callable(picture):
        picture = picture()  # outside the try: that the network fails is no fault of the picture
    rgb, reason = _in_memory(picture) if isinstance(picture, Image.Image) else _from_file(picture)
    if rgb is None:
        return None, reason
    if transform is not None and max(rgb.size) > LONGEST * min(rgb.size):
        return None, f"{_by(rgb)} pixels, more than {LONGEST:,} times as long as it is wide: crop it"
    try:
        return (rgb if transform is None else transform(rgb)), None
    except Exception as error:  # a picture of one pixel, or a thousand times as long as it is high
        return None, f"{_by(rgb)} pixels, which preprocessing refuses ({type(error).__name__})"


def _in_memory(picture: Image.Image) -> tuple[Image.Image | None, str | None]:
    try:
        return to_rgb(picture), None
    except Unreadable as error:
        is_closed = isinstance(picture, ImageFile.ImageFile) and bool(picture.tile) and picture.fp is None
        return None, CLOSED if is_closed else error.reason


def _from_file(file: Path | bytes) -> tuple[Image.Image | None, str | None]:
    try:
        if (reason := _nothing(file)) is not None:
            return None, reason
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


def _nothing(file: Path | bytes) -> str | None:
    """What is there in place of a file with something in it; a pipe that was opened would never end."""
    if isinstance(file, bytes):
        return None if file else "empty file"
    status = file.stat()
    if (kind := _no_file(status.st_mode)) is None:
        return _too_large(file, status.st_size) if status.st_size else "empty file"
    if kind == "a folder":
        os.scandir(file).close()  # raises why it could not be looked into
    return f"{kind}, not a picture"


def _too_large(file: Path, size: int) -> str | None:
    """Why a file is not even tried: PIL would search it byte by byte, or hold it. A TIFF may have many pages."""
    most = MOST_BYTES * (Image.MAX_IMAGE_PIXELS or size)
    if size <= most or _begin(file).startswith(TIFFS):
        return None
    return f"a file of {size:,} bytes, more than the {most:,} that any picture needs that Pillow takes"


def _no_file(mode: int) -> str | None:
    return next((words for applies, words in NO_FILES if applies(mode)), None)


def _opened(file: Path | bytes) -> Image.Image:
    with Image.open(BytesIO(file) if isinstance(file, bytes) else file) as opened:
        rgb = to_rgb(opened)
    if (data := _small_enough(file)) is not None and not is_whole(data, opened.format):
        raise Unreadable(DAMAGED)
    return rgb


def _small_enough(file: Path | bytes) -> bytes | None:
    """The bytes of a file, None if there are too many to hold them in memory."""
    if isinstance(file, bytes):
        return file if len(file) <= LARGEST else None
    return file.read_bytes() if file.stat().st_size <= LARGEST else None


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
        data = _small_enough(file)
        return None if data is None else without_metadata(data)
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
        status = picture.stat()
        size = status.st_size
        if trust_size:
            return [size]
        if (kind := _no_file(status.st_mode)) is not None:
            return [kind]
        with open(picture, "rb") as file:
            return [size, hashlib.file_digest(file, "sha256").hexdigest()]
    except OSError:
        return ["cannot be opened"]


def printable(name: str) -> str:
    """A file name as valid Unicode of one line: bytes that are not UTF-8, and what moves the cursor, as escapes."""
    valid = os.fsencode(name).decode("utf-8", "backslashreplace")
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), valid)


def _by(picture: Image.Image) -> str:
    return "×".join(map(str, picture.size))
