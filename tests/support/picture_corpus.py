"""One picture in every container, depth, colour and turn that a folder may hold, and what must come out of each.

The truth is the array that a file was made of. Where libvips reads the format too, it is asked as a second witness
(``by_vips``), in the terms of the library: alpha left out, no colour profile applied, the upper eight bits kept.
"""

import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import pyvips
from PIL import Image
from raw_pictures import EXIF, XMP, chunk, directory, encoded, segment, shorts, tiff, with_chunk

EXACT, LOSSY = 0, 6
"""How many levels may lie between a picture and its truth: at most, or on average where it is not kept exactly."""
y, x = np.mgrid[0:48, 0:64]
COLOURS = np.stack([x * 4, y * 5, (x + y) * 2], 2).astype(np.uint8)
COLOURS[10:20, 10:30] = 250, 10, 10
COLOURS[25:35, 40:60] = 10, 240, 30
PICTURE, GREY = Image.fromarray(COLOURS), COLOURS[..., 0].copy()
WIDE, WIDE_GREY = COLOURS.astype(np.uint16) * 257, GREY.astype(np.uint16) * 257
WITH_ALPHA = np.dstack([COLOURS, GREY[:, ::-1]])
INKS = np.dstack([255 - COLOURS, np.zeros_like(GREY)])
EVEN = np.full_like(COLOURS, (200, 100, 50))
BLOCKS = np.kron(COLOURS[::8, ::8], np.ones((8, 8, 1), np.uint8))
"""Of one colour in each block of a JPEG, so that what it loses is little."""


@dataclass(frozen=True)
class Right:
    """A file that must be used: what it shows, how near it must come, and whether libvips has to say the same."""

    name: str
    data: bytes
    truth: np.ndarray
    lossy: bool = False
    seen_by_vips: bool = True


def by_vips(data: bytes) -> np.ndarray:
    """The upright RGB picture of eight bits as libvips decodes it."""
    image = pyvips.Image.new_from_buffer(data, "").autorot()
    levels = image.numpy().reshape(image.height, image.width, image.bands)
    if image.format in ("float", "double"):
        levels = np.rint(levels * 255)
    levels = (levels >> 8 if image.format == "ushort" else levels).astype(int)
    if image.interpretation == "cmyk":
        return np.rint((255 - levels[..., :3]) * (255 - levels[..., 3:]) / 255).astype(int)
    return np.repeat(levels[..., :1], 3, 2) if image.bands < 3 else levels[..., :3]


def upright(orientation: int, stored: np.ndarray) -> np.ndarray:
    """As EXIF defines it: where the stored picture's first row and first column belong."""
    flipped = stored[:, ::-1] if orientation in (2, 4, 5, 7) else stored
    return np.rot90(flipped, {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: -1, 7: -1, 8: 1}[orientation])


def vips(levels: np.ndarray, meaning: str) -> pyvips.Image:
    return pyvips.Image.new_from_array(levels).copy(interpretation=meaning)


def png(width: int, height: int, bits: int, colour: int, rows: list[bytes], *more: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + b"".join([chunk(b"IHDR", head), *more, chunk(b"IDAT", body), chunk(b"IEND", b"")])


def packed(levels: np.ndarray, bits: int) -> list[bytes]:
    """Rows of numbers below 2^bits, several in a byte."""
    lifted = np.unpackbits(levels.astype(np.uint8)[..., None], axis=2)[..., 8 - bits :]
    return [bytes(row) for row in np.packbits(lifted.reshape(len(levels), -1), axis=1)]


def grey(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels[..., None], 3, 2)


def pngs() -> list[Right]:
    found = [
        Right("png-rgb-16", vips(WIDE, "rgb16").pngsave_buffer(), COLOURS),
        Right("png-rgb-16-interlaced", vips(WIDE, "rgb16").pngsave_buffer(interlace=True), COLOURS),
        Right("png-rgba-16", vips(np.dstack([WIDE, WIDE_GREY]), "rgb16").pngsave_buffer(), COLOURS),
        Right("png-grey-16", vips(WIDE_GREY, "grey16").pngsave_buffer(), grey(GREY)),
        Right("png-grey-alpha-16", vips(np.dstack([WIDE_GREY, WIDE_GREY]), "grey16").pngsave_buffer(), grey(GREY)),
        Right("png-grey-16-transparent",
              with_chunk(encoded(Image.fromarray(WIDE_GREY), "PNG"), chunk(b"tRNS", b"\0\0")), grey(GREY)),
        Right("png-interlaced", vips(COLOURS, "srgb").pngsave_buffer(interlace=True), COLOURS),
        Right("png-rgb-transparent", with_chunk(encoded(PICTURE, "PNG"), chunk(b"tRNS", b"\0\xfa\0\x0a\0\x0a")),
              COLOURS),
        Right("png-rgba", encoded(Image.fromarray(WITH_ALPHA), "PNG"), COLOURS),
        Right("png-grey-alpha", encoded(Image.fromarray(np.dstack([GREY, GREY // 2])), "PNG"), grey(GREY)),
        Right("png-animated", encoded(PICTURE, "PNG", save_all=True, append_images=[Image.fromarray(EVEN)]), COLOURS),
    ]  # fmt: skip
    for bits in (1, 2, 4, 8):
        few, white = GREY >> (8 - bits), 2**bits - 1
        rows, levels = packed(few, bits), (few.astype(int) * 255 // white).astype(np.uint8)
        found.append(Right(f"png-grey-{bits}", png(64, 48, bits, 0, rows), grey(levels)))
        palette = np.stack([np.arange(white + 1) * 255 // white, np.arange(white + 1)[::-1], np.full(white + 1, 7)], 1)
        stated, truth = chunk(b"PLTE", palette.astype(np.uint8).tobytes()), palette[few]
        found.append(Right(f"png-palette-{bits}", png(64, 48, bits, 3, rows, stated), truth))
        clear = chunk(b"tRNS", bytes(range(0, white + 1)))
        found.append(Right(f"png-palette-{bits}-transparent", png(64, 48, bits, 3, rows, stated, clear), truth))
        one_bit = chunk(b"tRNS", struct.pack(">H", white))
        found.append(Right(f"png-grey-{bits}-transparent", png(64, 48, bits, 0, rows, one_bit), grey(levels)))
    return found


def tiffs() -> list[Right]:
    palette = [int(v) * 257 for channel in (255 - np.arange(256), np.arange(256), np.full(256, 9)) for v in channel]
    coloured = np.stack([255 - GREY, GREY, np.full_like(GREY, 9)], 2)
    found = [
        Right("tiff-palette", tiff(GREY, 8, photometric=3, more=(shorts(320, *palette),)), coloured),
        Right("tiff-palette-of-8-bits", tiff(GREY, 8, photometric=3, more=(shorts(320, *(v // 257 for v in palette)),)),
              coloured),
        Right("tiff-rgba", tiff(WITH_ALPHA, 8, photometric=2, more=(shorts(338, 2),)), COLOURS),
        Right("tiff-rgbx", tiff(WITH_ALPHA, 8, photometric=2, more=(shorts(338, 0),)), COLOURS),
        Right("tiff-grey-alpha", tiff(WITH_ALPHA[..., :2], 8, more=(shorts(338, 2),)), grey(GREY)),
        Right("tiff-rgba-16", vips(np.dstack([WIDE, WIDE_GREY]), "rgb16").tiffsave_buffer(), COLOURS),
        Right("tiff-cmyk", tiff(INKS, 8, photometric=5), COLOURS),
        Right("tiff-cmyk-16", tiff(INKS.astype(np.uint16) * 257, 16, photometric=5), COLOURS),
        Right("tiff-white-is-0", tiff(255 - GREY, 8, photometric=0), grey(GREY)),
        Right("tiff-grey-16-white-is-0", tiff(65535 - WIDE_GREY, 16, photometric=0), grey(GREY), seen_by_vips=False),
        Right("tiff-rgb-planes", tiff(COLOURS, 8, photometric=2, planes=True), COLOURS),
        Right("tiff-big", vips(COLOURS, "srgb").tiffsave_buffer(bigtiff=True), COLOURS),
        Right("tiff-pages", encoded(PICTURE, "TIFF", save_all=True, append_images=[Image.fromarray(EVEN)]), COLOURS),
        Right("tiff-pyramid", vips(COLOURS, "srgb").tiffsave_buffer(pyramid=True, tile=True, tile_width=16,
                                                                    tile_height=16), COLOURS),
        Right("tiff-jpeg", encoded(Image.fromarray(BLOCKS), "TIFF", compression="jpeg", quality=95), BLOCKS,
              lossy=True),
    ]  # fmt: skip
    for order, called in (("<", "little"), (">", "big")):
        found += [
            Right(f"tiff-grey-16-{called}", tiff(WIDE_GREY, 16, order=order), grey(GREY)),
            Right(f"tiff-rgb-16-{called}", tiff(WIDE, 16, photometric=2, order=order), COLOURS),
            Right(f"tiff-float-{called}", tiff((GREY / 255).astype(np.float32), 32, kind=3, order=order), grey(GREY)),
        ]  # fmt: skip
    found.append(Right("tiff-grey-32", tiff(WIDE_GREY.astype(np.uint32) * 65537, 32), grey(GREY), seen_by_vips=False))
    for bits in (1, 2, 4):
        few, white = GREY >> (8 - bits), 2**bits - 1
        levels = grey((few.astype(int) * 255 // white).astype(np.uint8))
        rows, back = b"".join(packed(few, bits)), b"".join(packed(white - few, bits))
        mirrored = bytes(int(f"{byte:08b}"[::-1], 2) for byte in rows)
        found += [
            Right(f"tiff-grey-{bits}", tiff(GREY, bits, data=rows), levels),
            Right(f"tiff-grey-{bits}-white-is-0", tiff(GREY, bits, photometric=0, data=back), levels),
            Right(f"tiff-grey-{bits}-mirrored", tiff(GREY, bits, data=mirrored, more=(shorts(266, 2),)), levels),
        ]
    for compression in ("deflate", "packbits", "lzw"):
        for tile in (False, True):
            more = {"compression": compression, "tile": tile, "tile_width": 16, "tile_height": 16}
            name = f"{compression}{'-tiles' * tile}"
            found += [
                Right(f"tiff-rgb-{name}", vips(COLOURS, "srgb").tiffsave_buffer(**more), COLOURS),
                Right(f"tiff-rgb-16-{name}", vips(WIDE, "rgb16").tiffsave_buffer(**more), COLOURS),
                Right(f"tiff-grey-16-{name}", vips(WIDE_GREY, "grey16").tiffsave_buffer(**more), grey(GREY)),
                Right(f"tiff-float-{name}", vips((GREY / 255).astype(np.float32), "b-w").tiffsave_buffer(**more),
                      grey(GREY)),
            ]  # fmt: skip
    for compression in ("group3", "group4"):
        flat = Image.fromarray(np.where(GREY > 99, 255, 0).astype(np.uint8)).convert("1")
        found.append(Right(f"tiff-{compression}", encoded(flat, "TIFF", compression=compression),
                           grey(np.asarray(flat.convert("L")))))  # fmt: skip
    return found


def arithmetic_jpeg() -> bytes:
    """A block of mid grey: its one decision takes the coder no bits, so that there is nothing to encode."""
    return b"".join(bytes.fromhex(part) for part in (
        "ffd8", "ffdb004300" + "01" * 64, "ffca000b080008000801011100", "ffda0008010100000000", "ffd9"))  # fmt: skip


def jpegs() -> list[Right]:
    blocks, flat = Image.fromarray(BLOCKS), BLOCKS[..., 0].copy()
    inks = Image.frombytes("CMYK", (64, 48), np.dstack([255 - BLOCKS, 0 * flat]).tobytes())
    adobe = encoded(inks, "JPEG", quality=98)
    at = adobe.index(b"Adobe") - 4
    return [
        *(Right(f"jpeg-subsampled-{i}", encoded(blocks, "JPEG", quality=95, subsampling=i), BLOCKS, lossy=True)
          for i in range(3)),
        Right("jpeg-progressive", encoded(blocks, "JPEG", quality=95, progressive=True), BLOCKS, lossy=True),
        Right("jpeg-restarts", encoded(blocks, "JPEG", quality=95, restart_marker_blocks=2), BLOCKS, lossy=True),
        Right("jpeg-in-rgb", encoded(blocks, "JPEG", quality=95, keep_rgb=True), BLOCKS, lossy=True),
        Right("jpeg-grey", encoded(Image.fromarray(flat), "JPEG", quality=95), grey(flat), lossy=True),
        Right("jpeg-cmyk-adobe", adobe, BLOCKS, lossy=True),
        Right("jpeg-cmyk-unmarked", adobe[:at] + adobe[at + 16 :], BLOCKS, lossy=True),  # as browsers take it
        Right("jpeg-ycck", vips(np.asarray(inks), "cmyk").jpegsave_buffer(Q=98), BLOCKS, lossy=True),
        Right("jpeg-arithmetic", arithmetic_jpeg(), np.full((8, 8, 3), 128), seen_by_vips=False),
        Right("jpeg-pair", encoded(blocks, "MPO", save_all=True, append_images=[Image.fromarray(EVEN)], quality=95),
              BLOCKS, lossy=True),
        Right("jpeg-with-a-tail", encoded(blocks, "JPEG", quality=95) + bytes(999), BLOCKS, lossy=True),
    ]  # fmt: skip


def others() -> list[Right]:
    few = PICTURE.quantize(16)
    truth, even = np.asarray(few.convert("RGB")), Image.fromarray(EVEN)
    webp = {"lossless": True, "exact": True}
    found = [
        Right("gif", encoded(few, "GIF"), truth),
        Right("gif-transparent", encoded(few, "GIF", transparency=3), truth, seen_by_vips=False),
        Right("gif-interlaced", encoded(few, "GIF", interlace=1), truth),
        Right("gif-grey", encoded(Image.fromarray(GREY), "GIF"), grey(GREY)),
        Right("gif-animated", encoded(few, "GIF", save_all=True, append_images=[even.quantize(2)]), truth),
        Right("webp", encoded(PICTURE, "WEBP", **webp), COLOURS),
        Right("webp-alpha", encoded(Image.fromarray(WITH_ALPHA), "WEBP", **webp), COLOURS),
        Right("webp-animated", encoded(PICTURE, "WEBP", save_all=True, append_images=[even], **webp), COLOURS),
        Right("webp-lossy", encoded(Image.fromarray(BLOCKS), "WEBP", quality=95), BLOCKS, lossy=True),
        Right("bmp", encoded(PICTURE, "BMP"), COLOURS, seen_by_vips=False),
        Right("bmp-grey", encoded(Image.fromarray(GREY), "BMP"), grey(GREY), seen_by_vips=False),
        Right("bmp-palette", encoded(few, "BMP"), truth, seen_by_vips=False),
        Right("bmp-alpha", encoded(Image.fromarray(WITH_ALPHA), "BMP"), COLOURS, seen_by_vips=False),
        Right("ico-png", encoded(PICTURE, "ICO", sizes=[(64, 48)]), COLOURS, seen_by_vips=False),
        Right("ico-bmp", encoded(PICTURE, "ICO", sizes=[(64, 48)], bitmap_format="bmp"), COLOURS, seen_by_vips=False),
        Right("ico-sizes", encoded(PICTURE, "ICO", sizes=[(16, 12), (64, 48), (32, 24)]), COLOURS, seen_by_vips=False),
        Right("ppm", encoded(PICTURE, "PPM"), COLOURS, seen_by_vips=False),
        Right("ppm-16", b"P6 64 48 65535\n" + WIDE.astype(">u2").tobytes(), COLOURS, seen_by_vips=False),
        Right("ppm-in-letters", b"P3 64 48 255\n" + " ".join(map(str, COLOURS.ravel())).encode(), COLOURS,
              seen_by_vips=False),
        Right("pgm-16", b"P5 64 48 65535\n" + WIDE_GREY.astype(">u2").tobytes(), grey(GREY), seen_by_vips=False),
        Right("pfm", b"Pf\n64 48\n-1.0\n" + (GREY[::-1] / 255).astype("<f4").tobytes(), grey(GREY), seen_by_vips=False),
        Right("jpeg-2000", encoded(PICTURE, "JPEG2000"), COLOURS, seen_by_vips=False),
        Right("jpeg-2000-alpha", encoded(Image.fromarray(WITH_ALPHA), "JPEG2000"), COLOURS, seen_by_vips=False),
        Right("jpeg-2000-grey-16", encoded(Image.fromarray(WIDE_GREY), "JPEG2000"), grey(GREY), seen_by_vips=False),
        Right("jpeg-2000-stream", encoded(PICTURE, "JPEG2000", no_jp2=True), COLOURS, seen_by_vips=False),
        *(Right(kind.lower(), encoded(PICTURE, kind), COLOURS, seen_by_vips=False)
          for kind in ("TGA", "SGI", "PCX", "DDS", "DIB")),
    ]  # fmt: skip
    if "AVIF" in Image.SAVE:
        found.append(Right("avif", vips(COLOURS, "srgb").heifsave_buffer(compression="av1", lossless=True), COLOURS))
        for bits in (10, 12):
            with suppress(pyvips.Error):  # an older libvips writes eight bits alone
                data = vips(WIDE, "rgb16").heifsave_buffer(compression="av1", bitdepth=bits, Q=95, subsample_mode="off")
                found.append(Right(f"avif-{bits}", data, COLOURS, lossy=True))
    return found


def turned() -> list[Right]:
    """Every way that EXIF and XMP have of turning a picture, in every container that can say so."""
    found, blocks = [], Image.fromarray(BLOCKS)
    for i in range(1, 9):
        exif = EXIF + directory([shorts(0x112, i)])
        xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{i}"/></x:xmpmeta>'.encode()
        truth = upright(i, BLOCKS)
        found += [
            Right(f"turned-{i}-jpeg", encoded(blocks, "JPEG", quality=95, exif=exif), truth, lossy=True),
            Right(f"turned-{i}-png", encoded(blocks, "PNG", exif=exif), truth),
            Right(f"turned-{i}-webp", encoded(blocks, "WEBP", lossless=True, exif=exif), truth),
            Right(f"turned-{i}-tiff", tiff(BLOCKS, 8, photometric=2, more=(shorts(0x112, i),)), truth),
            Right(f"turned-{i}-tiff-16", tiff(BLOCKS.astype(np.uint16) * 257, 16, photometric=2, order=">",
                                              more=(shorts(0x112, i, order=">"),)), truth),
            Right(f"turned-{i}-xmp", segment(encoded(blocks, "JPEG", quality=95), 0xE1, XMP + xmp), truth, lossy=True,
                  seen_by_vips=False),
        ]  # fmt: skip
        if "AVIF" in Image.SAVE:
            found.append(Right(f"turned-{i}-avif", encoded(blocks, "AVIF", quality=95, subsampling="4:4:4",
                                                                    exif=exif[6:]), truth, lossy=True))
    return found


def burdened() -> list[Right]:
    """Sound pictures under megabytes of metadata, and with colour profiles that are none."""
    rng = np.random.default_rng(0)
    noise, blocks = rng.bytes(3 * 2**20), Image.fromarray(BLOCKS)
    jpeg, plain = encoded(blocks, "JPEG", quality=95), encoded(PICTURE, "PNG")
    commented = jpeg
    for i in range(50):
        commented = segment(commented, 0xFE, noise[i * 60000 : (i + 1) * 60000])
    webp, described = BytesIO(), directory([(0x10E, 2, len(noise), noise)])
    PICTURE.save(webp, "WEBP", lossless=True, icc_profile=noise, exif=described)
    broken = b"no profile at all"
    return [
        Right("metadata-png-text", with_chunk(plain, chunk(b"tEXt", b"Comment\0" + noise)), COLOURS,
              seen_by_vips=False),
        Right("metadata-png-packed-text", with_chunk(plain, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(9**7)))),
              COLOURS, seen_by_vips=False),
        Right("metadata-png-exif", with_chunk(plain, chunk(b"eXIf", described)), COLOURS),
        Right("metadata-png-icc", with_chunk(plain, chunk(b"iCCP", b"a\0\0" + zlib.compress(noise))), COLOURS,
              seen_by_vips=False),
        Right("metadata-jpeg-comments", commented, BLOCKS, lossy=True),
        Right("metadata-jpeg-icc", encoded(blocks, "JPEG", quality=95, icc_profile=noise), BLOCKS, lossy=True),
        Right("metadata-webp", webp.getvalue(), COLOURS),
        Right("metadata-tiff-icc", tiff(COLOURS, 8, photometric=2, more=((34675, 7, len(noise), noise),)), COLOURS),
        Right("icc-broken-png", with_chunk(plain, chunk(b"iCCP", b"a\0\0" + zlib.compress(broken))), COLOURS),
        Right("icc-broken-jpeg", encoded(blocks, "JPEG", quality=95, icc_profile=broken), BLOCKS, lossy=True),
        Right("icc-broken-webp", encoded(PICTURE, "WEBP", lossless=True, icc_profile=broken), COLOURS),
        Right("icc-broken-tiff", tiff(COLOURS, 8, photometric=2, more=((34675, 7, len(broken), broken),)), COLOURS),
        Right("icc-cut-jpeg", segment(jpeg, 0xE2, b"ICC_PROFILE\0\x02\x05" + noise[:999]), BLOCKS, lossy=True),
    ]  # fmt: skip


def right() -> list[Right]:
    """All of them."""
    tiny = Right("1x1", encoded(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG"), np.full((1, 1, 3), (9, 8, 7)))
    return [*pngs(), *tiffs(), *jpegs(), *others(), *turned(), *burdened(), tiny]
