"""A picture painted anew: the one factor changes, all else stays, and unchanged it is the picture itself."""

import numpy as np
import pytest

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pocket import tree
from vlm_sae_lib.pocket.repainting import changed, repaint
from vlm_sae_lib.pocket.world import pocket_pictures

SOURCE = pocket_pictures(6, 3)
FACTS = SOURCE.factors.to_dict("records")


@pytest.mark.parametrize("about", ["colour", "pattern", "habitat", "species"])
def test_painted_with_its_own_value_it_is_the_same_picture(about):
    for image, facts in zip(SOURCE.images, FACTS, strict=True):
        assert np.array_equal(np.asarray(repaint(facts, about, facts[about])), np.asarray(image))


def test_another_habitat_changes_the_ground_and_another_colour_the_animal_alone():
    image, facts = np.asarray(SOURCE.images[0], dtype=float), FACTS[0]
    colour = next(c for c in tree.COLOURS if c != facts["colour"])
    differs = np.abs(np.asarray(repaint(facts, "colour", colour), dtype=float) - image).max(-1) > 0
    assert 0 < differs.mean() < 0.5
    empty = np.asarray(SOURCE.picture(0, empty=True), dtype=float)
    far = np.abs(image - empty).max(-1) < 1e-9
    assert not differs[far].any()


def test_what_is_not_changed_stays():
    species = tree.all_species()[0]
    red = changed(species, "colour", "red", 0)
    assert (red.pattern, red.body) == (species.pattern, species.body)
    assert (red.colour, red.accent) == ("red", tree.ACCENTS["red"])
    fish = changed(species, "class", "fish", 7)
    assert fish.rank("class") == "fish" and (fish.colour, fish.pattern) == (species.colour, species.pattern)
    assert changed(species, "class", "fish", 7) == fish
    other = tree.all_species()[9]
    assert changed(species, "species", other.rank("species"), 3) == other


ABSENT = (("habitat", "moon"), ("colour", "plaid"), ("class", "dragon"), ("mood", "x"))


@pytest.mark.parametrize(("about", "value"), ABSENT)
def test_a_value_that_the_island_has_not_is_refused(about, value):
    with pytest.raises(UserError, match=value):
        repaint(FACTS[0], about, value)
