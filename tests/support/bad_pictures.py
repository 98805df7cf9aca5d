"""Files that no picture can be made of, and the reason that has to be given for each."""

import re
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from picture_corpus import COLOURS, GREY, PICTURE, WIDE, png, vips
from PIL import Image
from raw_pictures import chunk, encoded, shorts, tiff

DAMAGED = "^damaged or truncated$"
EARLY = r"^damaged or truncated$|^not a picture$|^a TIFF file that is damaged, or of a kind that Pillow does not read"
"""Where so little is left that nothing says what it was; and libtiff does not tell what it fails at."""
TIFF = "^a TIFF file that is damaged, or of a kind that Pillow does not read: save it as PNG or JPEG$"
BOMB = r"^more than \d{2,3},\d{3},\d{3} pixels, Pillow's limit against forged files"
CUTS = (0.001, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97)


@dataclass(frozen=True)
class Wrong:
    """A file that must be reported by its name, with a reason that fits ``reason``."""

    name: str
    data: bytes
    reason: str

    def fits(self, told: str) -> bool:
        return re.search(self.reason, told) is not None and "/" not in told and "\n" not in told


def whole() -> dict[str, bytes]:
    """A file of each format, which is then cut."""
    rng = np.random.default_rng(0)
    large = np.kron(rng.integers(0, 200, (30, 40, 3)), np.ones((4, 4, 1))) + rng.integers(0, 50, (120, 160, 3))
    picture = Image.fromarray(large.astype(np.uint8))
    found = {
        "jpeg": encoded(picture, "JPEG", quality=90),
        "jpeg-progressive": encoded(picture, "JPEG", quality=90, progressive=True),
        "png": encoded(picture, "PNG"),
        "png-16": vips(WIDE, "rgb16").pngsave_buffer(),
        "gif": encoded(picture, "GIF"),
        "webp": encoded(picture, "WEBP", lossless=True),
        "webp-lossy": encoded(picture, "WEBP", quality=90),
        "tiff": encoded(picture, "TIFF"),
        "tiff-lzw": encoded(picture, "TIFF", compression="tiff_lzw"),
        "tiff-jpeg": encoded(picture, "TIFF", compression="jpeg"),
        "bmp": encoded(picture, "BMP"),
        "ico": encoded(picture, "ICO", sizes=[(160, 120)]),
        "ppm": encoded(picture, "PPM"),
        "jpeg-2000": encoded(picture, "JPEG2000"),
        "jpeg-2000-lossy": encoded(picture, "JPEG2000", irreversible=True, quality_mode="dB", quality_layers=[40]),
    }
    if "AVIF" in Image.SAVE:
        found["avif"] = encoded(picture, "AVIF", quality=90)
    return found


def cut() -> list[Wrong]:
    """Each format cut at many places; zeros in the place of the rest, where the format can tell."""
    found = [Wrong(f"cut-{name}-{part}", data[: max(1, int(part * len(data)))], EARLY)
             for name, data in whole().items() for part in CUTS]  # fmt: skip
    for name in ("jpeg", "jpeg-progressive", "png", "png-16", "ico"):
        data = whole()[name]
        for part in (0.4, 0.7, 0.9):
            keep = int(part * len(data))
            found.append(Wrong(f"zeros-{name}-{part}", data[:keep] + bytes(len(data) - keep), DAMAGED))
    return found


def corrupted(kind: bytes, at: int) -> bytes:
    """A PNG with a wrong byte in a chunk: of its body, or with -1 of its checksum."""
    data = bytearray(encoded(PICTURE, "PNG", compress_level=0))
    start = data.index(kind)
    size = int.from_bytes(data[start - 4 : start])
    data[start + 4 + (size if at < 0 else at)] ^= 0x5A
    return bytes(data)


def _without_last_pass() -> bytes:
    """An interlaced PNG whose compressed data end after three quarters, as if that were all."""
    data = vips(COLOURS, "srgb").pngsave_buffer(interlace=True)
    at = data.index(b"IDAT")
    size = int.from_bytes(data[at - 4 : at])
    rows = zlib.decompress(data[at + 4 : at + 4 + size])
    return data[: at - 4] + chunk(b"IDAT", zlib.compress(rows[: len(rows) * 3 // 4])) + data[at + 8 + size :]


def damaged() -> list[Wrong]:
    short = encoded(PICTURE, "JPEG")
    return [
        Wrong("png-wrong-checksum-of-the-head", corrupted(b"IHDR", -1), DAMAGED),
        Wrong("png-wrong-checksum-of-the-pixels", corrupted(b"IDAT", -1), DAMAGED),
        Wrong("png-wrong-pixel", corrupted(b"IDAT", 2000), DAMAGED),
        Wrong("png-no-pixels", png(64, 48, 8, 2, []), DAMAGED),
        Wrong("png-no-palette", png(64, 48, 8, 3, [bytes(64)] * 48), DAMAGED),
        Wrong("png-half-the-rows", png(64, 48, 8, 2, [bytes([200] * 192)] * 24), DAMAGED),
        Wrong("png-a-row-less", png(64, 48, 1, 0, [bytes([200] * 8)] * 47), DAMAGED),
        Wrong("png-a-pass-less", _without_last_pass(), DAMAGED),
        Wrong("png-head-alone", b"\x89PNG\r\n\x1a\n", DAMAGED),
        Wrong("png-of-no-depth", png(64, 48, 5, 2, [bytes(64)] * 48), DAMAGED),
        Wrong("png-of-no-size", png(0, 0, 8, 2, []), DAMAGED),
        Wrong("jpeg-head-alone", short[:4], DAMAGED),
        Wrong("jpeg-of-no-size", short.replace(b"\x08\0\x30\0\x40", b"\x08\0\0\0\0"), DAMAGED),
        Wrong("gif-head-alone", b"GIF89a", DAMAGED),
        Wrong("empty", b"", "^empty file$"),
        Wrong("zeros", bytes(4096), "^not a picture$|^damaged or truncated$"),
        Wrong("noise", np.random.default_rng(1).bytes(4096), "^not a picture$"),
        Wrong("one-byte", b"x", "^not a picture$"),
    ]


def frame(marker: int, bits: int) -> bytes:
    """A JPEG that says it is of another kind, behind a header as long as a phone writes it."""
    jpeg = encoded(PICTURE, "JPEG")
    at = jpeg.index(b"\xff\xc0")
    changed = jpeg[:at] + bytes([0xFF, marker]) + jpeg[at + 2 : at + 4] + bytes([bits]) + jpeg[at + 5 :]
    return changed[:2] + b"\xff\xe1\xea\x60" + bytes(59998) + changed[2:]


FTYP = b"\0\0\0\x1cftyp"
WEB = "^a web page, not a picture"
UNREAD = "which Pillow does not read: save it as PNG or JPEG$"


def strange() -> list[Wrong]:
    """What is whole, and no picture or none that can be read here."""
    floats = (COLOURS / 255).astype(np.float32)
    return [
        Wrong("text", b"two words", "^not a picture$"),
        Wrong("json", b'{"error": "not found"}', "^not a picture$"),
        Wrong("html", b"<!DOCTYPE html><html>403</html>", WEB),
        Wrong("html-plain", b"\n<HTML><body>404</body></HTML>", WEB),
        Wrong("html-comment", b"<!-- saved from\n url --><html>x</html>", WEB),
        Wrong("xhtml", b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "x"><html/>', WEB),
        Wrong("html-with-a-drawing", b'<!doctype html><html><svg width="9"></svg></html>', WEB),
        Wrong("svg", b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "^an SVG drawing"),
        Wrong("pdf", b"%PDF-1.7\n", "^a PDF"),
        Wrong("zip", b"PK\3\4" + bytes(99), "^a ZIP archive"),
        Wrong("gzip", b"\x1f\x8b\x08" + bytes(99), "gzip"),
        Wrong("lfs", b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
        Wrong("mp4", FTYP + b"isom\0\0\2\0isomiso2mp41" + bytes(99), "^a video"),
        Wrong("avi", b"RIFF\0\0\0\0AVI LIST", "^a video"),
        Wrong("heic", FTYP + b"heic\0\0\0\0mif1heic" + bytes(99), "^a HEIC picture, for which a package is missing"),
        Wrong("heif", FTYP + b"mif1\0\0\0\0mif1heic" + bytes(99), "^a HEIC picture, for which a package is missing"),
        Wrong("avif-in-letters", FTYP + b"avif\0\0\0\0mif1avif" + bytes(99), DAMAGED),
        Wrong("camera", FTYP + b"crx \0\0\0\1crx isom" + bytes(99), "^a camera's raw picture, " + UNREAD),
        Wrong("raf", b"FUJIFILMCCD-RAW 0201" + bytes(99), "^a camera's raw picture, " + UNREAD),
        Wrong("jpeg-xl", b"\xff\x0a" + bytes(99), "^a JPEG XL picture, " + UNREAD),
        Wrong("jpeg-xl-boxed", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "^a JPEG XL picture, " + UNREAD),
        Wrong("jpeg-xr", b"II\xbc\1\x20\0\0\0" + bytes(99), "^a JPEG XR picture, " + UNREAD),
        Wrong("jpeg-ls", frame(0xF7, 8), "^a JPEG-LS picture, " + UNREAD),
        Wrong("jpeg-12-bits", frame(0xC1, 12), "^a JPEG picture of 12 bits, " + UNREAD),
        Wrong("exr", b"\x76\x2f\x31\x01\2\0\0\0" + bytes(99), "^an OpenEXR picture, " + UNREAD),
        Wrong("hdr", b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n" + bytes(4), "^a Radiance picture, " + UNREAD),
        Wrong("pfm-colours", b"PF\n2 2\n-1.0\n" + bytes(48), "^a PFM picture in colours, " + UNREAD),
        Wrong("dicom", bytes(128) + b"DICM" + bytes(99), "^a DICOM file, " + UNREAD),
        Wrong("xcf", b"gimp xcf v011\0" + bytes(99), "^a GIMP file, " + UNREAD),
        Wrong("npy", b"\x93NUMPY\1\0" + bytes(99), "^an array of numpy"),
        Wrong("eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n",
              "^a PostScript file, for which Pillow needs Ghostscript"),
        Wrong("tiff-webp", encoded(PICTURE, "TIFF").replace(struct.pack("<HHIHH", 259, 3, 1, 1, 0),
                                                            struct.pack("<HHIHH", 259, 3, 1, 50001, 0)), TIFF),
        Wrong("tiff-float-colours", tiff(floats, 32, kind=3, photometric=2), TIFF),
        Wrong("tiff-grey-32-big", tiff(WIDE[..., 0].astype(np.uint32) * 65537, 32, order=">"), TIFF),
        Wrong("tiff-half", tiff(floats[..., 0].astype(np.float16), 16, kind=3), TIFF),
        Wrong("tiff-double", tiff(floats[..., 0].astype(float), 64, kind=3), TIFF),
        Wrong("tiff-grey-alpha-16", tiff(WIDE[..., :2], 16, more=(shorts(338, 2),)), TIFF),
        Wrong("tiff-float-to-255", tiff(GREY.astype(np.float32), 32, kind=3), "^floating-point levels from 0 to 25"),
        Wrong("tiff-float-nan", tiff(floats[..., 0] * np.float32(np.nan), 32, kind=3),
              "^floating-point levels from nan"),
        Wrong("tiff-16-of-8", tiff(GREY.astype(np.uint16), 16), "so it would be all black"),
        Wrong("tiff-signed", tiff((WIDE[..., 0] // 2).astype(np.int16) - np.int16(9), 16, kind=2),
              "^grey levels from -"),
        Wrong("tiff-planes-16", tiff(WIDE, 16, photometric=2, planes=True), "separate planes, which Pillow misreads"),
    ]  # fmt: skip


def bombs() -> list[Wrong]:
    """A few bytes that say they are gigabytes of pixels, and shapes that preprocessing makes gigabytes of."""
    head = struct.pack("<HHHH", 0, 0, 1, 1)
    long = [("20000x1", (20000, 1)), ("1x20000", (1, 20000)), ("3x3001", (3, 3001))]
    return [
        *(Wrong(f"bomb-png-{side}", png(side, side, bits, colour, [bytes(99)]), BOMB)
          for side, bits, colour in ((60_000, 1, 0), (20_000, 8, 2), (2**31 - 1, 16, 6))),
        Wrong("bomb-png-palette", png(50_000, 50_000, 8, 3, [bytes(99)], chunk(b"PLTE", bytes(3))), BOMB),
        Wrong("bomb-gif", b"GIF89a" + b"\xff" * 4 + b"\x80\0\0" + bytes(6) + b"," + head + b"\0\2\2D\1\0;", BOMB),
        Wrong("bomb-bmp", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 24,
                                              0, 0, 0, 0, 0, 0), BOMB),
        Wrong("bomb-ppm", b"P6 60000 60000 255\n", BOMB),
        Wrong("bomb-pgm", b"P5 999999999 999999999 65535\n", BOMB),
        Wrong("bomb-jpeg", encoded(PICTURE, "JPEG").replace(b"\x08\0\x30\0\x40", b"\x08\xff\xdc\xff\xdc"), BOMB),
        Wrong("bomb-tiff", tiff(COLOURS, 8, photometric=2).replace(shorts(256, 64)[3], b"\xff\xff").replace(
            shorts(257, 48)[3], b"\xff\xff"), BOMB),
        *(Wrong(f"long-{name}", encoded(Image.new("RGB", size, "red"), "PNG"),
                "more than 1,000 times as long as it is wide")
          for name, size in long),
    ]  # fmt: skip


def wrong() -> list[Wrong]:
    """All of them."""
    return [*cut(), *damaged(), *strange(), *bombs()]
