"""Picture files written byte by byte, so that no library that reads them had a hand in them."""

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

EXIF = b"Exif\0\0"
XMP = b"http://ns.adobe.com/xap/1.0/\0"
SHORT, LONG, RATIONAL = 3, 4, 5
Entry = tuple[int, int, int, bytes]  # tag, type, count, value


def shorts(tag: int, *values: int, order: str = "<") -> Entry:
    return tag, SHORT, len(values), struct.pack(f"{order}{len(values)}H", *values)


def longs(tag: int, *values: int, order: str = "<") -> Entry:
    return tag, LONG, len(values), struct.pack(f"{order}{len(values)}I", *values)


def rational(tag: int, numerator: int, denominator: int) -> Entry:
    return tag, RATIONAL, 1, struct.pack("<II", numerator, denominator)


def directory(entries: list[Entry], order: str = "<") -> bytes:
    """A TIFF header with one directory, as it is also in EXIF."""
    place, fixed, outside = 8 + 2 + 12 * len(entries) + 4, b"", b""
    for tag, kind, count, value in sorted(entries):
        fixed += struct.pack(f"{order}HHI", tag, kind, count)
        if len(value) <= 4:
            fixed += value.ljust(4, b"\0")
        else:
            fixed += struct.pack(f"{order}I", place + len(outside))
            outside += value
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(entries))
    return head + fixed + bytes(4) + outside


def tiff(
    channels: np.ndarray, bits: int, *, order: str = "<", kind: int = 1, photometric: int = 1, planes: bool = False,
    data: bytes | None = None, more: tuple[Entry, ...] = (),
) -> bytes:  # fmt: skip
    """An uncompressed TIFF of (height, width[, channels]); kind: 1 unsigned, 2 signed, 3 floating-point."""
    height, width, n = (*channels.shape, 1)[:3]
    if data is None:
        laid_out = np.moveaxis(channels, 2, 0) if planes else channels
        data = laid_out.astype(laid_out.dtype.newbyteorder(order)).tobytes()
    strips = n if planes else 1
    size = len(data) // strips

    def entries(start: int) -> list[Entry]:
        numbers = {256: [width], 257: [height], 258: [bits] * n, 259: [1], 262: [photometric], 277: [n],
                   278: [height], 284: [2 if planes else 1], 339: [kind] * n}  # fmt: skip
        return [*(shorts(tag, *values, order=order) for tag, values in numbers.items()), *more,
                longs(273, *(start + i * size for i in range(strips)), order=order),
                longs(279, *[size] * strips, order=order)]  # fmt: skip

    return directory(entries(len(directory(entries(0), order))), order) + data


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment, the first."""
    return jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunk(png: bytes, added: bytes) -> bytes:
    """A PNG with one more chunk, behind its header."""
    return png[:33] + added + png[33:]
