"""Why a picture cannot be read, in words that end no sentence and name neither paths nor library versions."""

import re
from importlib.util import find_spec

from PIL import Image, UnidentifiedImageError, features

from vlm_sae_lib.errors import UserError

DAMAGED = "damaged or truncated"
CLOSED = "its file has been closed: open it again"
HEAD = 2**17  # bytes at a file's beginning that tell what it is; a JPEG says so behind its metadata
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
AVIF = (b"avif", b"avis")
SAVE = "save it as PNG or JPEG"

RAW = f"a camera's raw picture, which Pillow does not read: {SAVE}"
READ_BY_PIL = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
TIFF_OF_A_KIND = f"a TIFF file that is damaged, or of a kind that Pillow does not read: {SAVE}"
WEB_PAGE = re.compile(rb"(?:<\?xml[^>]*>|<!--.*?-->|\s)*<(?:!doctype html|html|head|body)\b", re.DOTALL)
JPEG_LS = 0xF7
NO_FRAMES = (0xC4, 0xC8, 0xCC)  # among JPEG's markers of frames, 0xC0 to 0xCF
BEGINNINGS = (
    (b"%PDF", "a PDF, not a picture"),
    (b"8BPS", f"a Photoshop file of a kind that Pillow does not read: {SAVE}"),
    (b"\xff\x0a", f"a JPEG XL picture, which Pillow does not read: {SAVE}"),
    (b"\0\0\0\x0cJXL ", f"a JPEG XL picture, which Pillow does not read: {SAVE}"),
    (b"SIMPLE  =", f"a FITS file of a kind that Pillow does not read: {SAVE}"),
    (b"\x1aE\xdf\xa3", "a video, not a picture"),
    (b"\0\0\1\xba", "a video, not a picture"),
    (b"PK\3\4", "a ZIP archive, not a picture"),
    (b"\x76\x2f\x31\x01", f"an OpenEXR picture, which Pillow does not read: {SAVE}"),
    (b"#?RADIANCE", f"a Radiance picture, which Pillow does not read: {SAVE}"),
    (b"#?RGBE", f"a Radiance picture, which Pillow does not read: {SAVE}"),
    (b"II\xbc\1", f"a JPEG XR picture, which Pillow does not read: {SAVE}"),
    (b"PF\n", f"a PFM picture in colours, which Pillow does not read: {SAVE}"),
    (b"P7\n", f"a PAM picture of a kind that Pillow does not read: {SAVE}"),
    (b"gimp xcf", f"a GIMP file, which Pillow does not read: {SAVE}"),
    (b"AT&TFORM", f"a DjVu document, which Pillow does not read: {SAVE}"),
    (b"BPG\xfb", f"a BPG picture, which Pillow does not read: {SAVE}"),
    (b"FLIF", f"a FLIF picture, which Pillow does not read: {SAVE}"),
    *((start, RAW) for start in (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb")),
    (b"\x93NUMPY", f"an array of numpy, not a picture: {SAVE}"),
    (b"\x1f\x8b", "a file packed by gzip, not a picture: unpack it"),
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
    if re.search("closed (image|file)", str(error)):
        return CLOSED
    if head.startswith(TIFF) and "truncated" not in str(error):
        return TIFF_OF_A_KIND  # PIL leaves compressions to libtiff, and learns no more than that it failed
    return DAMAGED  # PIL's decoders raise anything on damaged files: OSError, SyntaxError, struct.error, ...


def what_it_is(head: bytes) -> str | None:
    """What a file that PIL does not recognise is, by its first bytes; None where they say nothing."""
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if head.startswith(b"\xff\xd8\xff"):
        return _of_jpeg(head)
    if head[128:132] == b"DICM":
        return f"a DICOM file, which Pillow does not read: {SAVE}"
    for start, words in BEGINNINGS:
        if head.startswith(start):
            return words
    if head.startswith(TIFF):
        return TIFF_OF_A_KIND
    if head.startswith(READ_BY_PIL) or (head.startswith(b"RIFF") and head[8:12] == b"WEBP"):
        return DAMAGED
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "a video, not a picture"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if WEB_PAGE.match(text):
        return "a web page, not a picture: fetch the picture that it shows"
    if text.startswith(b"<") and re.search(rb"<svg[\s>]", text):
        return f"an SVG drawing, not pixels: {SAVE}"
    return None


def _of_jpeg(head: bytes) -> str:
    """What is rare about a JPEG that PIL does not recognise; that it is damaged, where it is like any other."""
    at = 2
    while at + 5 <= len(head) and head[at] == 0xFF:
        marker, bits = head[at + 1], head[at + 4]
        if marker == JPEG_LS:
            return f"a JPEG-LS picture, which Pillow does not read: {SAVE}"
        if 0xC0 <= marker <= 0xCF and marker not in NO_FRAMES:
            return f"a JPEG picture of {bits} bits, which Pillow does not read: {SAVE}" if bits > 8 else DAMAGED
        at += 2 + int.from_bytes(head[at + 2 : at + 4])
    return DAMAGED


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
    if len(head) < 12:
        return DAMAGED
    if head[8:12] == b"crx ":
        return RAW
    return "a video, not a picture"
