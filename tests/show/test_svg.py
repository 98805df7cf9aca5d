"""Figures as SVG: the same characters each time, colours that a page can change, pictures as they are."""

import base64
import re
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from vlm_sae_lib import paths
from vlm_sae_lib.show.pictures import picture_grid
from vlm_sae_lib.show.style import COLOURS, THEME, use_style
from vlm_sae_lib.show.svg import dark_by_itself, has_pictures, to_svg
from vlm_sae_lib.terms import POCKET, Credit, credited


@pytest.fixture(autouse=True)
def closed():
    use_style()
    yield
    plt.close("all")


def curve() -> plt.Figure:
    figure, axis = plt.subplots()
    axis.plot([1, 2], [3, 4.123456], color=COLOURS["batch_top_k"], label="a < b & c")
    axis.set_title("two\nlines")
    axis.set_xlabel("MS 0.00234, of 12.34567")
    axis.legend()
    return figure


def test_the_same_figure_gives_the_same_characters_and_no_date():
    first = to_svg(curve())
    assert first == to_svg(curve())
    assert first.startswith("<svg") and first.rstrip().endswith("</svg>")
    assert not re.search(r"\d{4}-\d\d-\d\d|matplotlib|<!--", first)
    assert not re.search(r"<[^>]*\d\.\d{3,}", first), "a place is told to a hundredth of a point"
    assert "MS 0.00234, of 12.34567" in first, "what is said is never rounded"


def test_every_colour_of_the_style_is_a_variable_with_itself_behind_it():
    drawn = to_svg(curve())
    assert "var(--plot-blue, #0072b2)" in drawn and "var(--plot-ink, #262626)" in drawn
    bare = re.sub(r"var\([^)]*\)", "", drawn)
    assert not [colour for colour in THEME if colour in bare.lower()]
    assert {colour.lower() for colour in COLOURS.values()} <= set(THEME)


def test_words_stay_words_and_lines_of_one_label_keep_their_width():
    drawn = to_svg(curve())
    assert "a &lt; b &amp; c" in drawn
    assert re.search(r'<text textLength="[\d.]+"[^>]*>lines<', drawn)


def test_pictures_keep_every_pixel_and_shrunk_ones_are_smooth():
    rng = np.random.default_rng(0)
    small, large = (Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)) for n in (8, 400))
    drawn = to_svg(picture_grid([credited(small, Credit(POCKET)), credited(large, Credit(POCKET))]))
    assert has_pictures(drawn) and not has_pictures(to_svg(curve()))
    found = [
        Image.open(BytesIO(base64.b64decode(data))).convert("RGB")
        for data in re.findall(r"data:image/\w+;base64,([^\"]+)", drawn)
    ]
    for picture in (small, large):
        assert any(one.size == picture.size and np.array_equal(np.asarray(one), np.asarray(picture)) for one in found)
    assert drawn.count("pixelated") == 1


def test_a_file_by_itself_has_dark_colours_too():
    drawn = dark_by_itself(to_svg(curve()))
    assert drawn.count("<svg") == 1 and "prefers-color-scheme: dark" in drawn
    assert all(f"--plot-{name}:{dark};" in drawn for name, dark in THEME.values())
    assert drawn.replace("ground:#121212", "ground:#222832") == dark_by_itself(to_svg(curve()), ground="#222832")


def test_the_pages_colours_are_those_of_the_style():
    css = (paths.root() / "book" / "_static" / "figures.css").read_text(encoding="utf-8")
    dark, light = css.split("@media print")
    for colour, (name, in_the_dark) in THEME.items():
        assert f"--plot-{name}: {colour};" in light
        assert f"--plot-{name}: {in_the_dark};" in dark or (name == "ground" and "--plot-ground:" in dark)
