"""Whether a picture's file is whole where PIL does not look: the end of a JPEG; checksums, palette and rows of a PNG.

A download that broke off, or a disk that failed, can leave zeros in the place of what is missing. PIL decodes them too,
into a picture that looks like none, and leaves black the rows that a PNG lacks. Formats without an end and without
checksums (BMP, WebP, …) cannot tell.
"""

import struct
import zlib

from vlm_sae_lib.pictures.bare import PNG, START_OF_SCAN

END_OF_JPEG = b"\xff\xd9"
CHANNELS, PALETTE = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}, 3  # by PNG's kind of colours
WHOLE = ((0, 0, 1, 1),)
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""The passes of an interlaced PNG: first column and row, and the steps to the next."""
PIECE = 2**20


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
    missing, has_palette, pixels = 0, False, zlib.decompressobj()
    while at + 12 <= len(data):
        end, kind = at + 12 + int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if kind == b"IEND" or not kind.isalpha():
            break
        if kind[:1].isupper() and zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            return False
        if kind == b"IHDR":
            missing, colour = _bytes_of_rows(data[at + 8 : end - 4])
            has_palette = colour != PALETTE
        elif kind == b"PLTE":
            has_palette = True
        elif kind == b"IDAT":
            body: bytes = view[at + 8 : end - 4]  # type: ignore[assignment]  # as good as bytes
            while missing > 0 and (rows := pixels.decompress(body, PIECE)):
                missing, body = missing - len(rows), pixels.unconsumed_tail
        at = end
    return has_palette and missing <= 0


def _bytes_of_rows(head: bytes) -> tuple[int, int]:
    """How many bytes all rows take, each behind the number of its filter, and the kind of colours."""
    width, height, bits, colour, _, _, is_interlaced = struct.unpack(">IIBBBBB", head)
    total = 0
    for left, top, right, down in ADAM7 if is_interlaced else WHOLE:
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 - (-columns * bits * CHANNELS[colour] // 8))
    return total, colour
