"""Tiles: a figure shows its pictures to who made it, and tiles in their place to everybody else."""

import base64
import re
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pytest
import rasters
from IPython.core.pylabtools import print_figure
from PIL import Image

from vlm_sae_lib.show import tiles
from vlm_sae_lib.show.neurons import Strip, neuron_strips
from vlm_sae_lib.show.pictures import labelled_rows, picture_grid
from vlm_sae_lib.show.steering import caption_ladder
from vlm_sae_lib.show.style import use_style
from vlm_sae_lib.terms import IMAGENET, INAT2021, POCKET, UNKNOWN, Credit, credited

TAXON = "00042_Animalia_Arthropoda_Insecta_Coleoptera_Coccinellidae_Coccinella_septempunctata"
LADYBIRD = Credit(INAT2021, 7, TAXON)
OURS = Credit(POCKET)


@pytest.fixture(autouse=True)
def closed():
    use_style()
    yield
    plt.close("all")


def signed(credit: Credit | None = LADYBIRD) -> Image.Image:
    picture = rasters.sign(Image.new("RGB", (64, 64), "green"))
    return picture if credit is None else credited(picture, credit)


def shows_it(png: str | bytes) -> bool:
    return rasters.is_signed(Image.open(BytesIO(base64.b64decode(png) if isinstance(png, str) else png)))


FIGURES = {
    "grid": lambda picture: picture_grid([picture, picture], ["one", "two"]),
    "plate": lambda picture: labelled_rows([("row", [picture, picture])], columns=2),
    "strips": lambda picture: neuron_strips([Strip("latent 3", [7, -1, 7])], {7: picture}, columns=2),
    "ladder": lambda picture: caption_ladder([(picture, "a title", [("unsteered", "a beetle")])]),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("credit", [LADYBIRD, Credit(IMAGENET, 1, "n02002724"), Credit(UNKNOWN, 2, "Grandma"), None])
def test_a_picture_that_may_not_be_published_is_in_the_figure_and_not_in_what_is_published(name, credit):
    stated = tiles.publishable(figure := FIGURES[name](signed(credit)))
    own = print_figure(figure)  # as a notebook does: first what may be published, then the figure itself
    assert shows_it(own) and not shows_it(stated["png"])
    assert stated["terms"] == [(credit or Credit()).terms.name]
    assert len({Image.open(BytesIO(data)).size for data in (own, base64.b64decode(stated["png"]))}) == 1


@pytest.mark.parametrize("name", FIGURES)
def test_our_own_pictures_are_published_and_leave_nothing_behind_them(name):
    figure = FIGURES[name](signed(OURS))
    assert tiles.publishable(figure) is True
    assert not figure.findobj(lambda artist: artist.get_gid() == tiles.TILE)


def test_only_what_may_not_be_published_is_covered():
    figure = picture_grid([signed(OURS), signed()], columns=2)
    with tiles.covered(figure) as terms:
        assert terms == ["inat2021"]
        assert [axis.images[0].get_visible() for axis in figure.axes] == [True, False]
        assert [text.get_text() for text in figure.axes[1].texts if text.get_visible()] == [
            "coccinella septempunctata\npicture 7"
        ]
    assert all(axis.images[0].get_visible() for axis in figure.axes)
    assert not any(text.get_visible() for text in figure.axes[1].texts)


def test_a_picture_that_a_cell_draws_by_itself_is_covered_too():
    figure, axes = plt.subplots(1, 2)
    axes[0].imshow(np.asarray(signed(None)))
    figure.figimage(np.asarray(signed(None)))
    stated = tiles.publishable(figure)
    assert not shows_it(stated["png"]) and stated["terms"] == ["unknown"]


def test_a_chart_may_be_published_whole():
    figure, axis = plt.subplots()
    axis.plot([1, 2])
    axis.pcolormesh(np.eye(3))
    assert tiles.publishable(figure) is True


@pytest.mark.parametrize(
    ("credit", "words"),
    [
        (LADYBIRD, "coccinella septempunctata picture 7"),
        (Credit(IMAGENET, 1, "n02002724"), "black stork picture 1"),
        (Credit(UNKNOWN, 2, "Grandma & I"), "picture 2"),  # what a reader calls a folder is the reader's affair
        (Credit(), "not shown"),
    ],
)
def test_a_tile_says_what_may_be_said(credit, words):
    kind, _, encoded = tiles.tile_uri(credit).partition(",")
    svg = base64.b64decode(encoded).decode()
    assert kind == "data:image/svg+xml;base64" and " ".join(re.findall(r"<text[^>]*>([^<]*)", svg)) == words
