"""A JPEG, PNG or TIFF file without its metadata: of a sound picture that PIL refuses because of them.

PIL gives up on a PNG with a text of megabytes or a broken colour profile, on a JPEG with a broken header of a camera
or a program, on a TIFF whose EXIF points to nowhere. What says how the picture has to be turned is kept.
"""

import zlib
from typing import Literal

JPEG, PNG, TIFF = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*")
START_OF_SCAN = 0xDA
APPLICATION, COMMENT = range(0xE0, 0xF0), 0xFE  # JPEG's segments that hold no picture
TURNED_BY = (b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0")
TIFF_METADATA = {700, 33723, 34377, 34665, 34675, 34853, 40965}  # XMP, IPTC, Photoshop, EXIF, ICC, GPS, its kin
TIFF_UNKNOWN = 65000  # a tag that means nothing
LARGEST = 2**28
"""Bytes of a file that is looked into beside PIL; a larger one would be held in memory several times."""


def without_metadata(data: bytes) -> bytes | None:
    """The same picture; None for another format, or where there is nothing to leave out."""
    cut = data
    if data.startswith(PNG):
        cut = _png(data)
    elif data.startswith(JPEG):
        cut = _jpeg(data)
    elif data.startswith(TIFF):
        cut = _tiff(data)
    return None if cut == data else cut


def _png(data: bytes) -> bytes:
    """Critical chunks, whose names begin with a capital, and a sound eXIf."""
    kept, at = [PNG], len(PNG)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        kind, checked = data[at + 4 : at + 8], data[at + 4 : end - 4]
        if not kind.isalpha():
            break  # no chunk, nor is what follows: zeros would be some without end
        is_sound = zlib.crc32(checked).to_bytes(4) == data[end - 4 : end]
        if kind[:1].isupper() or (kind == b"eXIf" and is_sound):
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])


def _jpeg(data: bytes) -> bytes:
    """All that is needed to decode, and EXIF and XMP."""
    kept, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != START_OF_SCAN:
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4])
        body = data[at + 4 : end]
        colours = body.startswith(b"Adobe") and len(body) >= 12  # what the channels mean
        if (marker not in APPLICATION and marker != COMMENT) or body.startswith(TURNED_BY) or colours:
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])


def _tiff(data: bytes) -> bytes:
    """The same bytes, with metadata's entries of the first directory made to mean nothing."""
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
    first = int.from_bytes(data[4:8], order)
    entries = int.from_bytes(data[first : first + 2], order)
    cut = bytearray(data)
    for at in range(first + 2, min(first + 2 + 12 * entries, len(data) - 1), 12):
        if int.from_bytes(data[at : at + 2], order) in TIFF_METADATA:
            cut[at : at + 2] = TIFF_UNKNOWN.to_bytes(2, order)
    return bytes(cut)
