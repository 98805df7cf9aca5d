"""Plates, grids and tables of the pocket world."""

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pocket import tree, world
from vlm_sae_lib.show import world as plates
from vlm_sae_lib.show.pictures import labelled_rows, picture_grid


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def squares(n: int) -> list[Image.Image]:
    return [Image.new("RGB", (8, 8), (10 * i, 0, 0)) for i in range(n)]


def test_a_grid_shows_each_picture_with_its_caption_and_nothing_else():
    figure = picture_grid(squares(5), [f"picture {i}" for i in range(5)], columns=3, title="five")
    shown = [axis for axis in figure.axes if axis.images]
    assert [int(axis.images[0].get_array()[0, 0, 0]) for axis in shown] == [0, 10, 20, 30, 40]
    assert [axis.get_xlabel() for axis in shown] == [f"picture {i}" for i in range(5)]
    assert len(figure.axes) == 6 and not figure.axes[5].axison


def test_a_long_caption_is_wrapped_to_the_width_of_its_picture():
    figure = picture_grid(squares(4), ["a caption that is far too long for one line"] * 4, columns=4)
    assert "\n" in figure.axes[0].get_xlabel()


@pytest.mark.parametrize(
    ("pictures", "captions", "columns"), [([], None, 3), (squares(2), ["one"], 3), (squares(1), None, 0)]
)
def test_a_grid_refuses_what_cannot_be_drawn(pictures, captions, columns):
    with pytest.raises(UserError):
        picture_grid(pictures, captions, columns=columns)


def test_rows_of_a_plate_keep_their_pictures_in_place():
    figure = labelled_rows([("first", squares(3)), ("second", squares(1))], columns=3)
    (axis,) = figure.axes
    plate = np.asarray(axis.images[0].get_array())
    assert [label.get_text() for label in axis.get_yticklabels()] == ["first", "second"]
    assert plate[0, 0, 0] == 0 and plate[0, 9, 0] == 10 and plate[0, 18, 0] == 20
    assert (plate[9:, 9:] == 255).all()  # the second row ends after one picture


def test_a_plate_refuses_rows_that_do_not_fit():
    with pytest.raises(UserError, match="rows of \\[3, 1\\]"):
        labelled_rows([("first", squares(3)), ("second", squares(1))], columns=2)
    with pytest.raises(UserError):
        labelled_rows([("empty", [])], columns=2)


def test_a_portrait_is_of_the_species_asked_for_and_always_the_same():
    species = tree.all_species()[7]
    facts = plates.posed(species)
    assert tuple(facts[rank] for rank in tree.RANKS) == species.path
    assert facts["pattern"] == species.pattern and facts["colour"] == species.colour
    assert plates.posed(species, "cave", light=0.8)["habitat"] == "cave"
    first, again = (plates.portrait(species, 64).tobytes() for _ in range(2))
    assert first == again
    assert world.paint(facts, 64).tobytes() == first
    assert plates.portrait(tree.all_species()[8], 64).tobytes() != first


def test_a_factor_that_pictures_do_not_have_is_refused():
    with pytest.raises(UserError, match="no factor 'colours'"):
        plates.posed(tree.all_species()[0], colours="red")


def test_the_species_plate_has_a_row_for_each_order():
    figure = plates.species_plate(size=16)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == list(tree.names("order"))


def test_the_order_plate_shows_one_species_of_each_order():
    figure = plates.order_plate(size=32)
    captions = [axis.get_xlabel() for axis in figure.axes if axis.get_xlabel()]
    assert len(captions) == len(tree.names("order"))
    assert all(order in caption for order, caption in zip(tree.names("order"), captions, strict=True))


def test_the_rank_table_counts_every_name():
    table = plates.rank_table()
    assert list(table.index) == list(tree.RANKS)
    assert table.loc["species", "names"] == len(tree.all_species()) >= 72
    assert table.loc["kingdom", "names"] == len(tree.TREE)


def test_habitats_of_pictures_follow_the_world_and_no_class_is_bound_to_one():
    own = plates.habitat_table()
    assert np.allclose(own.sum(axis=1), 1) and (own.to_numpy() > 0).all()
    seen = plates.habitat_table(world.pocket_pictures(3000, 5).factors)
    assert list(seen.index) == list(own.index) and list(seen.columns) == list(own.columns)
    assert (own - seen).abs().to_numpy().max() < 0.12
    few = plates.habitat_table(world.pocket_pictures(1, 5).factors)
    assert few.shape == own.shape and few.isna().sum().sum() == 0


def test_the_maps_draw():
    assert "% in each habitat" in plates.habitat_map(plates.habitat_table()).axes[0].get_title()
    texts = " ".join(text.get_text() for text in plates.tree_overview().axes[0].texts)
    assert all(name in texts for rank in ("kingdom", "phylum", "class", "order") for name in tree.names(rank))
