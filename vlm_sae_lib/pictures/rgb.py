"""The one door for pictures in memory: whatever PIL holds becomes upright RGB of eight bits, or is refused by name."""

import re
from contextlib import suppress

from PIL import Image
from PIL.ExifTags import Base
from PIL.Image import Transpose

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures.depth import eight_bits
from vlm_sae_lib.pictures.refusal import Unreadable, why
from vlm_sae_lib.terms import KEY, Credit

TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90,
}  # fmt: skip
"""EXIF's orientation to what brings the picture upright."""
XMP = ("xmp", "XML:com.adobe.xmp")
XMP_ORIENTATION = re.compile(r'tiff:Orientation(?:="|>)([1-8])')


def to_rgb(picture: Image.Image) -> Image.Image:
    """Any PIL picture as RGB: turned as its metadata say, grey, palette, CMYK and more than 8 bits a channel converted.

    The result has no metadata but its ``Credit`` (``terms``), so that it can be given again and comes back as the same
    object; so does any picture in memory that needs nothing. Colours are not converted by an ICC profile, nor are they
    where models are trained. How more than 8 bits become 8 stands in ``depth``. Transparency is ignored.

    Raises:
        UserError: what is given is no PIL picture; or cannot be decoded, or not be brought to 8 bits (``Unreadable``).
    """
    if not isinstance(picture, Image.Image):
        raise UserError(f"A {type(picture).__name__} is no picture: give what PIL's Image.open returns.")
    try:
        picture.load()  # decodes every row: a truncated file fails here and not later
        turn = TURNS.get(_orientation(picture) or 1)
        credit: dict = {KEY: said} if isinstance(said := picture.info.get(KEY), Credit) else {}
        if turn is None and type(picture) is Image.Image and picture.mode == "RGB" and picture.info == credit:
            return picture
        rgb = _in_rgb(eight_bits(picture))
        rgb = rgb if turn is None else rgb.transpose(turn)
    except Exception as error:  # PIL raises anything on damaged files
        raise Unreadable(why(error)) from error
    rgb.info = credit
    return rgb


def _orientation(picture: Image.Image) -> int | None:
    """EXIF's orientation, or XMP's where there is none; None where neither can be read."""
    with suppress(Exception):  # a broken block of EXIF raises anything, and says nothing against the picture
        if (orientation := picture.getexif().get(Base.Orientation)) is not None:
            return orientation
    if picture.format == "TIFF":  # PIL has turned it already while decoding, whichever of the two said so
        return None
    for key in XMP:
        text = picture.info.get(key, "")
        if found := XMP_ORIENTATION.search(text if isinstance(text, str) else text.decode("latin-1")):
            return int(found[1])
    return None


def _in_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")  # else PIL warns
    if picture.mode == "La":
        picture = picture.convert("LA")
    return picture.convert("RGB")
