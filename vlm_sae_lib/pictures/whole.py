"""Whether a picture's file is whole where PIL does not look: the end of a JPEG, the checksums of a PNG.

A download that broke off, or a disk that failed, can leave zeros in the place of what is missing. PIL decodes them too,
into a picture that looks like none. Formats without an end and without checksums (BMP, WebP, …) cannot tell.
"""

import zlib

from vlm_sae_lib.pictures.bare import PNG, START_OF_SCAN

END_OF_JPEG = b"\xff\xd9"


def is_whole(data: bytes, format: str | None) -> bool:
    """Whether a file that PIL has decoded ends as its format says, and holds what was written into it."""
    if format in ("JPEG", "MPO"):
        return _jpeg(data)
    if format in ("PNG", "ICO", "ICNS"):
        start = data.find(PNG)
        while start >= 0:
            if not _png(data, start):
                return False
            start = data.find(PNG, start + 1)
    return True


def _jpeg(data: bytes) -> bool:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == START_OF_SCAN:  # what stands before it may hold a small picture, with an end of its own
            return END_OF_JPEG in data[at:]
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return END_OF_JPEG in data


def _png(data: bytes, start: int) -> bool:
    at, view = start + len(PNG), memoryview(data)
    while at + 12 <= len(data):
        end, kind = at + 12 + int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if kind == b"IEND" or not kind.isalpha():
            break
        if kind[:1].isupper() and zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            return False
        at = end
    return True
