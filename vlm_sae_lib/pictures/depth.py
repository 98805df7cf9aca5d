"""Grey levels of more than eight bits brought to eight, as PIL does with colours: the upper eight bits are kept.

PIL's own conversion clips every level above 255 to white. Which levels are black and white follows from what the file
says of its numbers, never from those that happen to occur in it, so that a dim picture stays dim:

- unsigned integers of b bits: 0 is black, 2^b − 1 white; of signed ones only the half from 0 on counts;
- floating-point numbers state no white: they are taken if all lie between 0 (black) and 1 (white);
- PIL's mode I in memory states no bits: it holds 16, as PIL itself reads them from a PNG or a PGM.

What has no such range, leaves it, or would come out all black is refused, with the reason.
"""

from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from PIL.ExifTags import Base

from vlm_sae_lib.pictures.refusal import Unreadable

FORMATS = (None, "PNG", "PPM", "JPEG2000", "TIFF")  # whose range PIL tells; None: a picture in memory
SIGNED = 2  # TIFF's SampleFormat
WHITE_IS_ZERO = 0  # TIFF's PhotometricInterpretation
PLANES = 2  # TIFF's PlanarConfiguration: all of red, then all of green …
SAVE = "save it with 8 or 16 bits"


def eight_bits(picture: Image.Image) -> Image.Image:
    """A loaded picture whose channels have eight bits: itself, or its wide grey levels as mode L.

    Raises:
        Unreadable: the levels have no range, leave it, or are too low for eight bits; or PIL misreads such a file.
    """
    stated = getattr(picture, "tag_v2", {})  # a TIFF's own words
    bits, signed = _first(stated, Base.BitsPerSample, 16), _first(stated, Base.SampleFormat, 1) == SIGNED
    if bits > 8 and _first(stated, Base.PlanarConfiguration, 1) == PLANES and picture.info.get("compression") == "raw":
        raise Unreadable(f"a TIFF of {bits} bits in separate planes, which Pillow misreads: save it interleaved")
    if picture.mode == "P":
        return _with_16_bit_colours(picture, stated.get(Base.ColorMap, ()))
    is_float, is_wide = picture.mode == "F", picture.mode == "I" or picture.mode.startswith("I;16")
    if not (is_float or is_wide or (picture.mode == "L" and signed)):
        return picture
    if picture.format not in FORMATS:
        what = f"{'an' if picture.format[0] in 'AEIO' else 'a'} {picture.format} file of more than 8 bits"
        raise Unreadable(f"{what}, whose white Pillow does not tell: {SAVE}")
    if is_float:
        values, white = _between_0_and_1(np.asarray(picture)), 1
    else:
        values, white = _integers(np.asarray(picture), bits, signed)
    if (is_float or is_wide) and _first(stated, Base.PhotometricInterpretation, 1) == WHITE_IS_ZERO:
        values = white - values  # PIL turns them round at eight bits only
    levels = _upper_eight(values, white)
    if not levels.any() and values.any():
        raise Unreadable(f"its grey levels end at {values.max():.9g} of {white}, so it would be all black: {SAVE}")
    return Image.fromarray(levels)


def _with_16_bit_colours(picture: Image.Image, colours: Any) -> Image.Image:
    """A palette's picture as it is; of a TIFF whose palette was written with 8 bits for 16, as libtiff takes it."""
    if not colours or not 0 < max(colours) < 256:
        return picture
    n = len(colours) // 3
    mended = picture.copy()
    mended.putpalette([colours[channel * n + i] for i in range(n) for channel in range(3)])
    return mended


def _between_0_and_1(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 1):  # nor if they are no numbers
        raise Unreadable(f"floating-point levels from {low:g} to {high:g}, of which none is known to be white: {SAVE}")
    return values


def _integers(values: np.ndarray, bits: int, signed: bool) -> tuple[np.ndarray, int]:
    """The levels as they were in the file, and the one that is white."""
    if bits == 8:
        values = values.view(np.int8)
    if bits == 32 and not signed:
        values = values.view(np.uint32)  # PIL keeps the bits, and calls them signed
    white = 2 ** (bits - signed) - 1
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > white:
        raise Unreadable(f"grey levels from {low} to {high}, of which only 0 to {white} can be shown: {SAVE}")
    return values, white


def _upper_eight(values: np.ndarray, white: int) -> UInt8[np.ndarray, "height width"]:
    if white == 1:
        return np.rint(values * 255).astype(np.uint8)
    surplus = white.bit_length() - 8
    return (values >> surplus if surplus >= 0 else values << -surplus).astype(np.uint8)


def _first(stated: Any, tag: int, default: int) -> int:
    """A tag's first value, of which TIFF has one per channel."""
    value = stated.get(tag, default)
    return int(value[0] if isinstance(value, tuple) else value)
