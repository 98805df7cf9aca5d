"""Grey levels of more than eight bits: the same levels as at eight, or the reason why not."""

import numpy as np
import pytest
from PIL import Image
from raw_pictures import encoded, tiff

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures import load_pictures, to_rgb
from vlm_sae_lib.pictures.reading import read

GREY = np.linspace(0, 255, 16 * 20).round().astype(np.uint8).reshape(16, 20)
WIDE = GREY.astype(np.uint16) * 257
WIDEST = WIDE.astype(np.uint32) * 65537
FLOAT = (GREY / 255).astype(np.float32)


def packed_12(levels: np.ndarray) -> bytes:
    a, b = (levels.ravel().astype(np.uint16)[i::2] for i in (0, 1))
    return np.stack([a >> 4, ((a & 15) << 4) | (b >> 8), b & 255], 1).astype(np.uint8).tobytes()


def pgm(levels: np.ndarray, white: int, *, plain: bool = False) -> bytes:
    head = f"{'P2' if plain else 'P5'} {levels.shape[1]} {levels.shape[0]} {white}\n".encode()
    return head + (" ".join(map(str, levels.ravel())).encode() if plain else levels.astype(">u2").tobytes())


def to(white: int) -> np.ndarray:
    return GREY.astype(np.int64) * white // 255


FILES = {
    "png": encoded(Image.fromarray(WIDE), "PNG"),
    "jpeg 2000": encoded(Image.fromarray(WIDE), "JPEG2000"),
    "pgm": pgm(WIDE, 65535),
    "pgm in letters": pgm(WIDE, 65535, plain=True),
    "pgm of 10 bits": pgm(to(1023), 1023),
    "pgm of 12 bits": pgm(to(4095), 4095, plain=True),
    "tiff": tiff(WIDE, 16),
    "tiff, big-endian": tiff(WIDE, 16, order=">"),
    "tiff, signed": tiff((WIDE // 2).astype(np.int16), 16, kind=2),
    "tiff, signed, big-endian": tiff((WIDE // 2).astype(np.int16), 16, kind=2, order=">"),
    "tiff, white is 0": tiff(65535 - WIDE, 16, photometric=0),
    "tiff, 12 bits": tiff(GREY, 12, data=packed_12(to(4095))),
    "tiff, 32 bits": tiff(WIDEST, 32),
    "tiff, 32 bits, signed": tiff((WIDEST // 2).astype(np.int32), 32, kind=2),
    "tiff, 32 bits, signed, big-endian": tiff((WIDEST // 2).astype(np.int32), 32, kind=2, order=">"),
    "tiff, float": tiff(FLOAT, 32, kind=3),
    "tiff, float, big-endian": tiff(FLOAT, 32, kind=3, order=">"),
    "tiff, float, white is 0": tiff(1 - FLOAT, 32, kind=3, photometric=0),
    "tiff, compressed": encoded(Image.fromarray(WIDE), "TIFF", compression="tiff_lzw"),
    "tiff, float, compressed": encoded(Image.fromarray(FLOAT), "TIFF", compression="tiff_lzw"),
    "tiff, white is 0, compressed": encoded(Image.fromarray(65535 - WIDE), "TIFF", compression="tiff_lzw",
                                            tiffinfo={262: 0}),
    "tiff, colours": tiff(np.repeat(WIDE[..., None], 3, 2), 16, photometric=2),
    "tiff, colours, big-endian": tiff(np.repeat(WIDE[..., None], 3, 2), 16, photometric=2, order=">"),
    "tiff, 8 bits, white is 0": tiff(255 - GREY, 8, photometric=0),
    "tiff, 8 bits, planes": tiff(np.repeat(GREY[..., None], 3, 2), 8, photometric=2, planes=True),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_the_grey_levels_are_those_of_the_same_picture_at_eight_bits(name, tmp_path):
    path = tmp_path / "scan"
    path.write_bytes(FILES[name])
    for picture in (FILES[name], path, Image.open(path)):
        rgb, reason = read(picture)
        assert reason is None and rgb.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(rgb), np.repeat(GREY[..., None], 3, 2))


def test_a_signed_byte_has_seven_bits_for_its_levels():
    rgb, _ = read(tiff((GREY // 2).astype(np.int8), 8, kind=2))
    np.testing.assert_array_equal(np.asarray(rgb)[..., 0], GREY // 2 * 2)


@pytest.mark.parametrize("array", [WIDE, WIDE.astype(np.int32), FLOAT])
def test_in_memory_too(array):
    np.testing.assert_array_equal(np.asarray(to_rgb(Image.fromarray(array)))[..., 1], GREY)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L"])
def test_every_mode_of_16_bits(mode):
    picture = Image.frombytes(mode, (20, 16), WIDE.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    np.testing.assert_array_equal(np.asarray(to_rgb(picture))[..., 1], GREY)


def test_a_dim_scan_stays_dim_and_a_black_or_white_one_is_no_fault():
    dim, _ = read(tiff(WIDE // 16, 16))
    np.testing.assert_array_equal(np.asarray(dim)[..., 0], WIDE // 16 >> 8)
    for level in (0, 65535):
        flat, reason = read(tiff(np.full_like(WIDE, level), 16))
        assert reason is None and set(np.asarray(flat).ravel()) == {level >> 8}
    assert read(tiff(np.zeros_like(FLOAT), 32, kind=3))[1] is None


FITS = "".join(f"{card:<80}" for card in (
    "SIMPLE  =                    T", "BITPIX  =                  -32", "NAXIS   =                    2",
    "NAXIS1  =                   20", "NAXIS2  =                   16", "END")).encode().ljust(2880)  # fmt: skip


@pytest.mark.parametrize(("picture", "reason"), [
    (tiff(GREY.astype(np.float32), 32, kind=3), "floating-point levels from 0 to 255, of which none is known"),
    (tiff(FLOAT - 0.5, 32, kind=3), "floating-point levels from -0.5 to 0.5"),
    (tiff(FLOAT * np.float32(np.nan), 32, kind=3), "floating-point levels from nan"),
    (Image.fromarray(GREY).convert("F"), "floating-point levels from 0 to 255"),
    (tiff((WIDE // 2).astype(np.int16) - 99, 16, kind=2), "grey levels from -99 to 32668, of which only 0 to 32767"),
    (Image.fromarray(WIDEST.view(np.int32)), "of which only 0 to 65535 can be shown"),
    (Image.fromarray(GREY).convert("I"), "its grey levels end at 255 of 65535, so it would be all black"),
    (tiff(GREY.astype(np.uint16), 16), "its grey levels end at 255 of 65535"),
    (encoded(Image.fromarray(WIDE.astype(np.int32)), "TIFF"), "its grey levels end at 65535 of 2147483647"),
    (tiff(np.repeat(WIDE[..., None], 3, 2), 16, photometric=2, planes=True), "a TIFF of 16 bits in separate planes"),
    (FITS + FLOAT.astype(">f4").tobytes(), "a FITS file of more than 8 bits"),
])  # fmt: skip
def test_what_has_no_known_white_is_refused_by_name(picture, reason, tmp_path):
    assert read(picture)[0] is None and reason in read(picture)[1]
    if isinstance(picture, Image.Image):
        with pytest.raises(UserError, match=f"^The picture cannot be read: .*{reason}.*: save it with .* bits"):
            to_rgb(picture)
    else:
        (tmp_path / "scan").write_bytes(picture)
        source = load_pictures(tmp_path)
        assert list(source) == [] and reason in source.unreadable[0][2]
