"""Metadata that are broken cost no picture, and what cannot be read is told for what it is."""

import sys
import types
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from raw_pictures import EXIF, chunk, directory, encoded, longs, rational, segment, shorts, tiff, with_chunk
from tiny_towers import noise

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures import load_pictures, to_rgb
from vlm_sae_lib.pictures.reading import read

PICTURE = noise(1)[0]
TURNED = shorts(0x112, 6)
DESCRIPTION, FLASH, EXIF_PLACE = 0x10E, 0xA000, 0x8769
WORDS = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
JPEG, PNG = encoded(PICTURE, "JPEG", quality=95, subsampling=0), encoded(PICTURE, "PNG")
BROKEN = EXIF + b"XX" + bytes(20)
UPRIGHT, QUARTER = (40, 32), (32, 40)
HUGE = zlib.compress(bytes(3 * 2**20))


def exif(*entries) -> bytes:
    return EXIF + directory([TURNED, *entries])


@pytest.mark.parametrize(("file", "size"), [
    # PIL turns by writing the EXIF block anew, which fails on each of these
    (segment(JPEG, 0xE1, exif(rational(DESCRIPTION, 1, 0))), QUARTER),
    (segment(JPEG, 0xE1, exif(rational(FLASH, 1, 0))), QUARTER),
    (segment(JPEG, 0xE1, exif(longs(0x128, 70000))), QUARTER),
    (segment(JPEG, 0xE1, exif(longs(EXIF_PLACE, 99999))), QUARTER),
    (segment(JPEG, 0xE1, exif((EXIF_PLACE, 9, 1, b"\xfb\xff\xff\xff"))), QUARTER),
    (encoded(PICTURE, "PNG", exif=exif(rational(DESCRIPTION, 1, 0))), QUARTER),
    (encoded(PICTURE, "WEBP", lossless=True, exif=exif(rational(DESCRIPTION, 1, 0))), QUARTER),
    (encoded(PICTURE, "MPO", save_all=True, append_images=[PICTURE], quality=95, subsampling=0,
             exif=exif(rational(DESCRIPTION, 0, 0))), QUARTER),
    # blocks that cannot be read at all say nothing
    (segment(JPEG, 0xE1, BROKEN), UPRIGHT),
    (with_chunk(PNG, chunk(b"eXIf", BROKEN)), UPRIGHT),
    (with_chunk(PNG, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 8\nzz\n"))), UPRIGHT),
    (encoded(PICTURE, "WEBP", lossless=True, exif=b"XXbroken"), UPRIGHT),
    (with_chunk(with_chunk(PNG, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + WORDS)), chunk(b"eXIf", BROKEN)),
     QUARTER),
    # headers of cameras and programs
    (segment(JPEG, 0xE2, b"MPF\0garbage"), UPRIGHT),
    (segment(JPEG, 0xE2, b"MPF\0" + directory([longs(0xB001, 9), (0xB002, 7, 32, bytes(32))])), UPRIGHT),
    (segment(segment(JPEG, 0xE2, b"ICC_PROFILE\0"), 0xE1, exif()), QUARTER),
    (segment(JPEG, 0xEE, b"Adobe"), UPRIGHT),
    (JPEG[:2] + b"\xff\xe0\0\x07JFIF\0" + JPEG[20:], UPRIGHT),
    (segment(JPEG, 0xE2, b"ICC_PROFILE\0\1\1no profile"), UPRIGHT),
    (with_chunk(with_chunk(PNG, chunk(b"eXIf", exif()[6:])), chunk(b"zTXt", b"workflow\0\0" + HUGE)), QUARTER),
    (with_chunk(PNG, chunk(b"iTXt", b"workflow\0\1\0\0\0" + HUGE)), UPRIGHT),
    (with_chunk(PNG, chunk(b"iCCP", b"profile\0\0" + HUGE)), UPRIGHT),
    (with_chunk(PNG, chunk(b"iCCP", b"profile")), UPRIGHT),
    (with_chunk(PNG, chunk(b"pHYs", b"abc")), UPRIGHT),
    (with_chunk(PNG, chunk(b"tEXt", b"a\0b")[:-1] + b"?"), UPRIGHT),
    (tiff(np.asarray(PICTURE), 8, photometric=2, more=(TURNED, (EXIF_PLACE, 9, 1, b"\xfb\xff\xff\xff"))), QUARTER),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_broken_metadata_cost_nothing_and_turn_where_they_can(file, size, tmp_path):
    (tmp_path / "photo").write_bytes(file)
    for source in (file, tmp_path / "photo"):
        rgb, reason = read(source)
        assert reason is None and rgb.size == size
        whole = np.asarray(rgb, dtype=int) if size == UPRIGHT else np.rot90(np.asarray(rgb, dtype=int))
        assert np.abs(whole - np.asarray(PICTURE)).mean() < 5  # JPEG is not exact


def test_a_file_that_is_cut_is_damaged_whatever_its_metadata():
    for file in (JPEG[:20], JPEG[:700], PNG[:40], PNG[:900], segment(JPEG, 0xE1, BROKEN)[:900], b"GIF89a",
                 with_chunk(PNG, chunk(b"pHYs", b"abc"))[:900], tiff(np.asarray(PICTURE), 8, photometric=2)[:900]):
        assert read(file) == (None, "damaged or truncated")  # fmt: skip


FTYP = b"\0\0\0\x1cftyp"


@pytest.mark.parametrize(("file", "reason"), [
    (b"%PDF-1.7\n", "a PDF, not a picture"),
    (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "an SVG drawing, not pixels: save it as PNG or JPEG"),
    (b"\n<!DOCTYPE html><html>403</html>", "a web page, not a picture: fetch the picture that it shows"),
    (FTYP + b"isom\0\0\2\0isomiso2mp41" + bytes(99), "a video, not a picture"),
    (b"RIFF\0\0\0\0AVI LIST", "a video, not a picture"),
    (FTYP + b"heic\0\0\0\0mif1heic" + bytes(99), "for which a package is missing: pip install pillow-heif"),
    (FTYP + b"mif1\0\0\0\0mif1heic" + bytes(99), "for which a package is missing: pip install pillow-heif"),
    (b"\xff\x0a" + bytes(99), "a JPEG XL picture, which Pillow does not read: save it as PNG or JPEG"),
    (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS in place of the picture"),
    (tiff(np.zeros((4, 4)), 64, kind=3), "a TIFF file that is damaged, or of a kind that Pillow does not read"),
    (b"two words", "not a picture"),
    (b"", "empty file"),
])  # fmt: skip
def test_what_a_file_is_instead(file, reason, tmp_path):
    assert reason in read(file)[1]
    (tmp_path / "photo.jpg").write_bytes(file)
    source = load_pictures(tmp_path)
    assert list(source) == [] and reason in source.unreadable[0][2]


def test_an_avif_that_this_pillow_cannot_read(monkeypatch):
    file = FTYP + b"avif\0\0\0\0mif1avif" + bytes(99)
    monkeypatch.setattr("vlm_sae_lib.pictures.refusal.features.get_supported_modules", lambda: ["avif"])
    assert read(file)[1] == "damaged or truncated"
    monkeypatch.setattr("vlm_sae_lib.pictures.refusal.features.get_supported_modules", lambda: [])
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "AVIF"])
    assert read(file)[1] == "an AVIF picture, for which Pillow is too old: pip install -U pillow"


def test_heic_is_read_once_the_package_is_there(monkeypatch):
    """A stand-in for pillow-heif, which PIL knows nothing of before it is registered."""

    class Heif(Image.Image):
        format = "HEIF"

    def register_heif_opener():
        def opened(file, name):
            picture = Heif()
            picture.__dict__.update(noise(1)[0].__dict__)
            return picture

        Image.register_open("HEIF", opened, lambda head: head[4:12] == b"ftypheic")

    monkeypatch.setattr(Image, "ID", list(Image.ID))
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setitem(sys.modules, "pillow_heif", types.ModuleType("pillow_heif"))
    sys.modules["pillow_heif"].register_heif_opener = register_heif_opener
    rgb, reason = read(FTYP + b"heic\0\0\0\0mif1heic" + bytes(99))
    assert reason is None and rgb == noise(1)[0]


def test_a_picture_beyond_the_limit_of_pixels(monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
    reason = "pixels, Pillow's limit against forged files: make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS"
    assert read(PNG) == (None, f"more than 1,200 {reason}")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # up to twice the limit PIL only warns
    assert read(PNG)[0].size == UPRIGHT
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(PNG) == (None, f"more than 1,000 {reason}")


@pytest.mark.parametrize(("error", "reason"), [
    (MemoryError(), "too large for the memory that is free"),
    (OSError(24, "Too many open files"), "too many open files"),
    (OSError(5, "Input/output error"), "input/output error"),
    (OSError("Unable to locate Ghostscript on paths"), "a PostScript file, for which Pillow needs Ghostscript"),
    (OSError("cannot find loader for this WMF file"), "a file that Pillow knows and does not read"),
    (OSError("image file is truncated (3 bytes not processed)"), "damaged or truncated"),
])  # fmt: skip
def test_what_is_not_the_pictures_fault_is_not_called_damage(error, reason, monkeypatch, tmp_path):
    (tmp_path / "a.gif").write_bytes(encoded(PICTURE, "GIF"))

    def fail(*_):
        raise error

    monkeypatch.setattr("vlm_sae_lib.pictures.reading.Image.open", fail)
    assert read(tmp_path / "a.gif")[1].startswith(reason)


def test_a_picture_that_is_handed_in_damaged_is_one_sentence(tmp_path):
    (tmp_path / "cut.png").write_bytes(PNG[:900])
    with pytest.raises(UserError, match=r"^The picture cannot be read: damaged or truncated\.$"):
        to_rgb(Image.open(tmp_path / "cut.png"))
    late = PNG[:-12] + chunk(b"zTXt", b"workflow\0\0" + HUGE) + PNG[-12:]
    (tmp_path / "late.png").write_bytes(late)
    with pytest.raises(UserError, match="metadata beyond Pillow's limit: .* PIL.PngImagePlugin.MAX_TEXT_CHUNK"):
        to_rgb(Image.open(tmp_path / "late.png"))
    assert PngImagePlugin.MAX_TEXT_CHUNK < 3 * 2**20 and read(late)[0] == PICTURE
    for no_picture in ("photo.jpg", np.zeros((3, 3))):
        with pytest.raises(UserError, match="is no picture: give what PIL's Image.open returns"):
            to_rgb(no_picture)
