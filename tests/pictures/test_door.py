"""One door: a picture handed in by the user is what a file of it is, wherever it enters."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from raw_pictures import EXIF, XMP, directory, encoded, segment, shorts, tiff
from tiny_towers import noise, toy_tower, write_open_clip
from tiny_vlm import PROMPTS, TinySae, shared_vlm

from vlm_sae_lib.activations import collect_activations
from vlm_sae_lib.pictures import load_pictures, to_rgb
from vlm_sae_lib.show.explorer import Neuron, data_uri, explorer_data
from vlm_sae_lib.show.panel import steering_panel
from vlm_sae_lib.show.pictures import labelled_rows, picture_grid
from vlm_sae_lib.towers import load_tower

PICTURE = noise(1)[0]
SCAN = (np.asarray(PICTURE)[..., 0].astype(np.uint16) << 8) | 0x7F
ORIENTATIONS = range(1, 9)


def turned(orientation: int, kind: str) -> bytes:
    """A file of ``PICTURE`` that says how it has to be turned."""
    exif = EXIF + directory([shorts(0x112, orientation)])
    if kind == "TIFF":
        return tiff(np.asarray(PICTURE), 8, photometric=2, more=(shorts(0x112, orientation),))
    return encoded(PICTURE, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {"quality": 95}))


def upright(orientation: int, stored: np.ndarray) -> np.ndarray:
    """As EXIF defines it: where the stored picture's first row and first column belong."""
    flipped = stored[:, ::-1] if orientation in (2, 4, 5, 7) else stored
    return np.rot90(flipped, {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: -1, 7: -1, 8: 1}[orientation])


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    return load_tower(f"open_clip:local-dir:{write_open_clip(tmp_path_factory.mktemp('m') / 'tower')}", device="cpu")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_turned_picture_gives_the_activations_of_its_file(tower, orientation, kind, tmp_path):
    path = tmp_path / "phone"
    path.write_bytes(turned(orientation, kind))
    (_, read), = load_pictures(tmp_path)
    stored = np.asarray(PICTURE) if kind != "JPEG" else np.asarray(Image.open(path).convert("RGB"))
    np.testing.assert_array_equal(read, upright(orientation, stored))
    of_file = tower.activations([read], "block_1", "all")
    assert torch.equal(of_file, collect(tower, path, tmp_path / "store"))
    assert torch.equal(of_file, tower.activations([Image.open(path)], "block_1", "all"))
    assert torch.equal(of_file, tower.activations(torch.stack([tower.preprocess(Image.open(path))]), "block_1", "all"))
    (_, listed), = load_pictures([Image.open(path)])
    np.testing.assert_array_equal(listed, read)


def collect(tower, path, out):
    store = collect_activations(tower, load_pictures([path]), "block_1", out, tokens="all")
    return torch.from_numpy(np.asarray(store[:]))[None]


@pytest.mark.parametrize("file", [encoded(Image.fromarray(SCAN), "PNG"), tiff(SCAN, 16), tiff(SCAN, 16, order=">"),
                                  tiff(65535 - SCAN, 16, photometric=0)], ids=["png", "tiff", "big-endian", "inverted"])
def test_a_scan_of_16_bits_gives_the_activations_of_its_file(tower, file, tmp_path):
    path = tmp_path / "scan"
    path.write_bytes(file)
    eight = Image.fromarray(np.asarray(PICTURE)[..., 0])
    expected = tower.activations([eight.convert("RGB")], "block_1", "all")
    for picture in (Image.open(path), eight):
        assert torch.equal(tower.activations(picture, "block_1", "all"), expected)
    assert torch.equal(collect(tower, path, tmp_path / "store"), expected)


def test_to_rgb_twice_is_to_rgb_once(tmp_path):
    for orientation in ORIENTATIONS:
        for kind in ("JPEG", "PNG", "TIFF"):
            once = to_rgb(Image.open(io.BytesIO(turned(orientation, kind))))
            assert to_rgb(once) is once and not once.info and not once.getexif()
    xmp = segment(encoded(PICTURE, "JPEG"), 0xE1, XMP + b'<rdf:Description tiff:Orientation="6"/>')
    once = to_rgb(Image.open(io.BytesIO(xmp)))
    assert to_rgb(once) is once and to_rgb(PICTURE) is PICTURE
    once.save(tmp_path / "again.png")  # nor does a file made of it turn again
    assert np.array_equal(load_pictures(tmp_path / "again.png").picture(0), once)


def test_the_picture_that_is_given_is_left_as_it_was():
    given = Image.open(io.BytesIO(turned(6, "PNG")))
    to_rgb(given)
    assert given.size == PICTURE.size and given.getexif()[0x112] == 6
    marked = PICTURE.copy()
    marked.getexif()[0x112] = 3  # told in memory alone
    np.testing.assert_array_equal(to_rgb(marked), np.rot90(np.asarray(PICTURE), 2))
    data_uri(PICTURE, 8)
    assert PICTURE.size == (40, 32)


@pytest.mark.parametrize("mode", [*"1LP", "LA", "La", "PA", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"])
def test_every_mode_of_eight_bits_passes(mode):
    assert to_rgb(Image.new(mode, (4, 3))).mode == "RGB"


def test_a_fingerprint_does_not_fail_on_what_cannot_be_read():
    wide, fine = Image.new("F", (4, 3), 300.0), PICTURE
    source = load_pictures([wide, fine])
    assert source.fingerprint != load_pictures([fine, fine]).fingerprint
    assert [i for i, _ in source] == [1] and "floating-point" in source.unreadable[0][2]


@pytest.fixture
def phone():
    """As the README's step opens it: a photograph of a phone held upright, in CMYK of all things."""
    exif = EXIF + directory([shorts(0x112, 6)])
    return Image.open(io.BytesIO(encoded(noise(1, size=(64, 48))[0].convert("CMYK"), "JPEG", quality=95, exif=exif)))


def test_the_panel_shows_and_asks_about_the_upright_picture(phone, monkeypatch):
    vlm, seen = shared_vlm(), []
    monkeypatch.setattr(vlm, "answer", lambda image, *_, **__: seen.append(image) or "")
    panel = steering_panel(vlm, TinySae(), {"mine": phone}, [Neuron(3, "beetle", 3.0)], prompts=PROMPTS[:1])
    shown = Image.open(io.BytesIO(panel.children[0].children[0].value))
    np.testing.assert_array_equal(shown, to_rgb(phone))
    assert shown.size == (48, 64) and seen and all(image == to_rgb(phone) for image in seen)


def test_a_large_picture_is_small_on_the_panel():
    panel = steering_panel(shared_vlm(), TinySae(), {"mine": Image.new("RGB", (4000, 3000))}, [Neuron(3, "b", 3.0)],
                           prompts=PROMPTS[:1], max_new_tokens=2)  # fmt: skip
    assert Image.open(io.BytesIO(panel.children[0].children[0].value)).size == (320, 240)


def test_the_explorer_shows_and_asks_about_the_upright_picture(phone):
    vlm, sae = shared_vlm(), TinySae()
    neurons = [Neuron(3, "beetle", 30.0, [phone])]
    made = [explorer_data(vlm, sae, {"mine": picture}, neurons, (0, 2), PROMPTS[:1], max_new_tokens=4)
            for picture in (phone, to_rgb(phone))]  # fmt: skip
    assert made[0] == made[1]
    assert [top["src"] for top in made[0]["neurons"][0]["tops"]] == [data_uri(to_rgb(phone), 96)]


def test_figures_show_the_upright_picture_in_grey_where_it_is_grey(phone):
    image = picture_grid([phone, Image.fromarray(SCAN)]).axes
    np.testing.assert_array_equal(image[0].images[0].get_array(), to_rgb(phone))
    assert image[1].images[0].get_array().shape == (32, 40, 3)
    assert labelled_rows([("one", [Image.fromarray(SCAN)])], columns=1).axes[0].images[0].get_array().std() > 10


def test_a_picture_that_is_handed_in_reaches_every_tower_as_rgb():
    tower = toy_tower()
    rgba = PICTURE.convert("RGBA")
    assert torch.equal(tower.activations([rgba], "block_0"), tower.activations([PICTURE], "block_0"))
