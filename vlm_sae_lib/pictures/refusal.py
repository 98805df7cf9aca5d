"""Why a picture cannot be read, in words that end no sentence and name neither paths nor library versions."""

import re
from importlib.util import find_spec

from PIL import Image, UnidentifiedImageError, features

from vlm_sae_lib.errors import UserError

DAMAGED = "damaged or truncated"
HEAD = 1024  # bytes at a file's beginning that tell what it is
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
AVIF = (b"avif", b"avis")
SAVE = "save it as PNG or JPEG"

READ_BY_PIL = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"\0\0\0\x0cjP  ")
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BEGINNINGS = (
    (b"%PDF", "a PDF, not a picture"),
    (b"8BPS", f"a Photoshop file of a kind that Pillow does not read: {SAVE}"),
    (b"\xff\x0a", f"a JPEG XL picture, which Pillow does not read: {SAVE}"),
    (b"\0\0\0\x0cJXL ", f"a JPEG XL picture, which Pillow does not read: {SAVE}"),
    (b"SIMPLE  =", f"a FITS file of a kind that Pillow does not read: {SAVE}"),
    (b"\x1aE\xdf\xa3", "a video, not a picture"),
    (b"\0\0\1\xba", "a video, not a picture"),
    (b"PK\3\4", "a ZIP archive, not a picture"),
    (b"version https://git-lfs", "a pointer of Git LFS in place of the picture: run `git lfs pull`"),
)


class Unreadable(UserError):
    """A picture that cannot become RGB; ``reason`` is what stands between the brackets in a list of such pictures."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The picture cannot be read: {reason}.")
        self.reason = reason


def why(error: BaseException, head: bytes = b"") -> str:
    """The reason why reading failed; ``head`` is how the file begins, where there is a file."""
    if isinstance(error, Unreadable):
        return error.reason
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        factor = 2 if isinstance(error, Image.DecompressionBombError) else 1
        return (
            f"more than {factor * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, Pillow's limit against forged files: make "
            "it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS"
        )
    if isinstance(error, MemoryError):
        return "too large for the memory that is free"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, OSError) and error.errno and error.strerror:  # the disk's fault; decoders give no number
        return error.strerror[0].lower() + error.strerror[1:]
    if re.search("decompressed data too large|text chunks", str(error), re.IGNORECASE):
        return "metadata beyond Pillow's limit: save it without them, or raise PIL.PngImagePlugin.MAX_TEXT_CHUNK"
    if "Ghostscript" in str(error):
        return f"a PostScript file, for which Pillow needs Ghostscript: {SAVE}"
    if "cannot find loader" in str(error):
        return f"a file that Pillow knows and does not read: {SAVE}"
    if isinstance(error, UnidentifiedImageError):
        return what_it_is(head) or "not a picture"
    return DAMAGED  # PIL's decoders raise anything on damaged files: OSError, SyntaxError, struct.error, ...


def what_it_is(head: bytes) -> str | None:
    """What a file that PIL does not recognise is, by its first bytes; None where they say nothing."""
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    for start, words in BEGINNINGS:
        if head.startswith(start):
            return words
    if head.startswith(TIFF):
        return f"a TIFF file that is damaged, or of a kind that Pillow does not read: {SAVE}"
    if head.startswith(READ_BY_PIL) or (head.startswith(b"RIFF") and head[8:12] == b"WEBP"):
        return DAMAGED
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "a video, not a picture"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<") and re.search(rb"<svg[\s>]", text):
        return f"an SVG drawing, not pixels: {SAVE}"
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page, not a picture: fetch the picture that it shows"
    return None


def brand(head: bytes) -> str | None:
    """``HEIC`` or ``AVIF`` for a file that says so of itself among its brands."""
    if head[4:8] != b"ftyp":
        return None
    size = min(int.from_bytes(head[:4]), len(head))
    brands = [head[8:12], *(head[i : i + 4] for i in range(16, size - 3, 4))]
    for name, known in (("AVIF", AVIF), ("HEIC", HEIC)):  # an AVIF calls itself mif1 too
        if any(own in known for own in brands):
            return name
    return None


def _by_brand(head: bytes) -> str:
    match brand(head):
        case "HEIC":
            missing = find_spec("pillow_heif") is None
            return "a HEIC picture, for which a package is missing: pip install pillow-heif" if missing else DAMAGED
        case "AVIF":
            too_old = "avif" not in features.get_supported_modules()
            return "an AVIF picture, for which Pillow is too old: pip install -U pillow" if too_old else DAMAGED
    if head[8:12] == b"crx ":
        return f"a camera's raw picture, which Pillow does not read: {SAVE}"
    return "a video, not a picture"
