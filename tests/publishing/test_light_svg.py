"""A figure as it is published: it looks as in its notebook, and is lighter."""

import base64
import re
from io import BytesIO
from xml.dom import minidom

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from vlm_sae_lib.publishing.light_svg import LEVELS, RASTER, light
from vlm_sae_lib.show.pictures import picture_grid
from vlm_sae_lib.show.style import use_style
from vlm_sae_lib.show.svg import to_svg
from vlm_sae_lib.terms import POCKET, Credit, credited

NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)")


@pytest.fixture(autouse=True)
def closed():
    use_style()
    yield
    plt.close("all")


def curves() -> plt.Figure:
    figure, axes = plt.subplots(1, 2)
    x = np.linspace(0, 6, 40)
    for axis in axes:
        axis.plot(x, np.sin(x), "o-", label="a <b> 1.2345")
        axis.fill_between(x, np.sin(x) - 0.1, np.sin(x) + 0.1, alpha=0.2)
        axis.scatter(x, np.cos(x), s=x)
        axis.add_patch(plt.Circle((3, 0), 0.3))
        axis.legend()
    return figure


def plate() -> plt.Figure:
    rng = np.random.default_rng(0)
    sky = np.linspace(40, 200, 64)[:, None, None] + rng.normal(0, 3, (64, 64, 3))
    drawing = sky.astype(np.uint8)
    drawing[20:40, 20:40] = (240, 120, 0)
    flat = np.full((64, 64, 3), 250, np.uint8)
    return picture_grid([credited(Image.fromarray(one), Credit(POCKET)) for one in (drawing, flat)])


def ways(drawn: str) -> list[np.ndarray]:
    """The places that each path leads through, in points from the corner; those in ``<defs>`` are left out."""
    found = []
    for path in re.findall(r' d="([^"]*)"', re.sub(r"<defs>.*?</defs>", "", drawn, flags=re.S)):
        here, start, places = np.zeros(2), np.zeros(2), []
        for letter, told in re.findall(r"([A-Za-z])([^A-Za-z]*)", path):
            numbers = [float(number) for number in NUMBER.findall(told)]
            if letter in "hv":
                numbers = [part for number in numbers for part in ((number, 0) if letter == "h" else (0, number))]
            if letter == "z":
                here = start
                continue
            per = {"q": 2, "c": 3}.get(letter.lower(), 1)
            pairs = np.array(numbers).reshape(-1, per, 2)
            for own in pairs:
                own = own if letter.isupper() else own + here
                here = own[-1]
                start = here if letter == "M" else start
                places.extend(own)
        found.append(np.array(places))
    return found


def pictures(drawn: str) -> list[np.ndarray]:
    return [
        np.asarray(Image.open(BytesIO(base64.b64decode(data))).convert("RGB"), int) for data in RASTER.findall(drawn)
    ]


def test_every_place_stays_within_a_tenth_of_a_point_and_no_error_adds_up():
    before = to_svg(curves())
    after = light(before)
    assert len(after) < 0.7 * len(before)
    own, theirs = ways(before), ways(after)
    assert len(own) == len(theirs) > 20
    assert sum("l" in path for path in re.findall(r' d="([^"]*)"', after)) >= 2, "the two curves"
    for one, other in zip(own, theirs, strict=True):
        assert one.shape == other.shape and np.abs(one - other).max() <= 0.0501


def test_words_names_and_marks_are_the_same():
    before, after = (minidom.parseString(text) for text in (to_svg(curves()), light(to_svg(curves()))))

    def told(document, tag):
        return [node.toxml().replace("xlink:", "") for node in document.getElementsByTagName(tag)]

    for document in (before, after):
        names = [node.getAttribute("id") for node in document.getElementsByTagName("*") if node.hasAttribute("id")]
        assert len(names) == len(set(names))
    assert [node.firstChild.data for node in before.getElementsByTagName("text")] == [
        node.firstChild.data for node in after.getElementsByTagName("text")
    ]
    assert told(before, "clipPath") == told(after, "clipPath")
    assert len(told(before, "use")) == len(told(after, "use")) > 40


def styled(drawn: str) -> list[tuple[str, ...]]:
    """The style of each mark in order, told or by its class."""
    classes = dict(re.findall(r"\.(p[0-9a-f]{6})\{(.*?)\}", drawn))
    found = [style or classes[name] for style, name in re.findall(r' (?:style="([^"]*)"|class="(\w+)")', drawn)]
    return [tuple(part.replace(" ", "") for part in style.split(";") if part.strip()) for style in found]


def test_a_mark_that_has_no_place_leaves_a_drawing_that_can_be_read():
    figure, axis = plt.subplots(figsize=(2, 1))
    for y, x in enumerate((0.2, np.nan, 0.4)):
        axis.plot([x - 0.1, x + 0.1], [y, y], color="k")
        axis.plot([x], [y], "o", color="k")
    drawn = to_svg(figure)
    plt.close(figure)
    assert re.search(r"<g[^>]*/>", drawn), "matplotlib writes an empty group"
    minidom.parseString(light(drawn))


def test_a_style_told_once_is_the_same_style():
    before, after = to_svg(curves()), light(to_svg(curves()))
    assert styled(before) == styled(after)
    assert after.count("style=") < before.count("style=") / 4


def test_one_name_never_means_two_styles_and_a_light_figure_stays_as_it_is():
    figure, other = curves(), curves()
    other.axes[0].set_facecolor("#eeeeee")
    rules: dict[str, set[str]] = {}
    for drawn in (light(to_svg(figure)), light(to_svg(other)), light(to_svg(plate()))):
        for name, rule in re.findall(r"\.(p[0-9a-f]{6})\{(.*?)\}", drawn):
            rules.setdefault(name, set()).add(rule)
        assert light(drawn) == drawn
    assert all(len(meanings) == 1 for meanings in rules.values())


def test_no_pixel_of_a_drawing_is_off_by_more_than_a_few_levels():
    before, after = to_svg(plate()), light(to_svg(plate()))
    assert len(after) < 0.7 * len(before)
    own, theirs = pictures(before), pictures(after)
    assert len(own) == len(theirs) == 2
    assert 0 < max(np.abs(one - other).max() for one, other in zip(own, theirs, strict=True)) <= LEVELS


def test_what_is_transparent_or_was_drawn_by_somebody_else_stays():
    buffer = BytesIO()
    Image.new("RGBA", (40, 40), (200, 3, 3, 90)).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    drawn = f'<svg><image href="data:image/png;base64,{data}"/><path d="M1.23 4 a5 5 0 0 1 2 2"/></svg>'
    assert light(drawn) == drawn
