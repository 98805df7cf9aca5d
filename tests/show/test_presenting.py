"""A figure as a cell's output: SVG, a text that tests compare, its data, and what of it may be published."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import rasters
from PIL import Image

from vlm_sae_lib.show import presenting
from vlm_sae_lib.show.neurons import Strip, neuron_strips, strip_table
from vlm_sae_lib.terms import INAT2021, POCKET, PUBLISHABLE, Credit, credited


@pytest.fixture
def shown(monkeypatch):
    seen = []
    monkeypatch.setattr(presenting, "display", lambda data, metadata, raw: seen.append((data, metadata)))
    return seen


def line() -> plt.Figure:
    figure, axis = plt.subplots()
    axis.plot([0, 1], [2, 3], label="ours")
    return figure


def test_a_plot_is_svg_with_its_title_digest_and_csv_and_is_closed(shown):
    presenting.present(figure := line(), "A line.")
    ((data, metadata),) = shown
    assert list(data) == ["image/svg+xml", "text/plain"] and not plt.fignum_exists(figure.number)
    assert data["text/plain"] == "A line.\nours: n = 2, min 2, median 2.5, max 3"
    assert metadata[PUBLISHABLE] is True
    assert metadata["figure"] == {"title": "A line.", "csv": "series,x,y\nours,0,2\nours,1,3\n"}


def test_data_of_its_own_and_png_where_they_are_asked_for(shown):
    presenting.present(line(), "A line.", data=pd.DataFrame({"name": ["a", "a", "b"]}), png=True)
    ((data, metadata),) = shown
    assert "image/png" in data and data["text/plain"].splitlines()[1:] == ["a: n = 2", "b: n = 1"]
    assert metadata["figure"]["csv"].startswith("name\n")


@pytest.mark.parametrize("terms", [INAT2021, POCKET])
def test_a_picture_without_a_licence_is_in_the_figure_and_not_in_what_is_published(shown, terms):
    picture = credited(rasters.sign(Image.new("RGB", (64, 64), "green")), Credit(terms, 7))
    strips = [Strip("a latent", [7, -1])]
    presenting.present(neuron_strips(strips, {7: picture}), "Strips.", data=strip_table(strips), png=True)
    ((data, metadata),) = shown
    assert signed(data["image/svg+xml"]) and signed(data["image/png"])
    stated = metadata[PUBLISHABLE]
    if terms is POCKET:
        assert stated is True
    else:
        assert stated["terms"] == ["inat2021"] and not signed(stated["svg"]) and not signed(stated["png"])
        assert "picture 7" in stated["svg"]


def signed(drawn: str) -> bool:
    return any(map(rasters.is_signed, rasters.in_bytes(drawn.encode())))
