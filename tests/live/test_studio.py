"""The layers that the page paints from, put together slowly, against the world's own painter."""

import zlib

import numpy as np
import pytest
from PIL import Image

from vlm_sae_lib.live import studio
from vlm_sae_lib.pocket import language, repainting, tree, world


@pytest.fixture(scope="module")
def island():
    return studio.island()


@pytest.fixture(scope="module")
def views():
    return list(studio.views())


def composed(island, view, family, colour, pattern, habitat, size) -> np.ndarray:
    """A picture from the layers, pixel by pixel in numpy; family None: nobody is in it."""
    contents, packed = view.contents, zlib.decompress(view.packed)
    side = studio.PIXELS
    canvas = np.frombuffer(packed, np.uint8, 3 * side**2, contents["backdrops"][habitat]).reshape(side, side, 3).copy()
    if family is not None:
        names = [one["name"] for one in island["families"]]
        first = names.index(family) * len(island["patterns"])
        roles = np.zeros((side, side), np.uint8)
        for kind in {first, first + island["patterns"].index(pattern)}:  # of a pattern, what differs from the first
            number = kind * len(island["sizes"]) + island["sizes"].index(size)
            start, left, top, width, height = contents["maps"][number]
            part = np.frombuffer(packed, np.uint8, width * height, start).reshape(height, width)
            roles[top : top + height, left : left + width] ^= part
        palette = np.array([(0, 0, 0), island["shadows"][habitat], *contents["palettes"][colour], *island["fixed"]])
        canvas[roles > 0] = palette[roles[roles > 0]]
    mean = np.asarray(Image.fromarray(canvas).reduce(3))
    grain = np.frombuffer(packed, np.float32, 3 * 64**2, contents["grain" if family else "grain_of_empty"])
    picture = mean * np.array(contents["tint"]) + grain.reshape(64, 64, 3)
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("view", range(studio.VIEWS))
def test_a_composed_picture_of_a_species_is_the_worlds(island, views, view):
    for number, species in enumerate(tree.all_species()):
        habitat, size = tree.HABITATS[number % 6], language.SIZES[(number + view) % 3]
        own = composed(island, views[view], species.rank("family"), species.colour, species.pattern, habitat, size)
        theirs = np.asarray(world.paint(studio.facts_of(view, species, habitat, size)))
        assert np.array_equal(own, theirs), (species.path[-1], habitat, size)


def test_what_lives_nowhere_is_painted_as_by_repainting(island, views):
    rng = np.random.default_rng(0)
    for view, species in zip([*range(studio.VIEWS)] * 8, rng.choice(tree.all_species(), 48), strict=True):
        colour, pattern = rng.choice(list(tree.COLOURS)), rng.choice(tree.PATTERNS)
        facts = studio.facts_of(view, species, "sea", "large")
        recoloured = composed(island, views[view], species.rank("family"), colour, species.pattern, "sea", "large")
        assert np.array_equal(recoloured, np.asarray(repainting.repaint(facts, "colour", colour)))
        patterned = composed(island, views[view], species.rank("family"), species.colour, pattern, "sea", "large")
        assert np.array_equal(patterned, np.asarray(repainting.repaint(facts, "pattern", pattern)))


def test_a_habitat_with_nobody_in_it_is_the_worlds(island, views):
    for number, view in enumerate(views):
        for habitat in tree.HABITATS:
            facts = studio.facts_of(number, tree.all_species()[0], habitat, "small")
            assert np.array_equal(
                composed(island, view, None, None, None, habitat, None), np.asarray(world.paint(facts, empty=True))
            )


def test_grain_in_few_digits_gives_the_same_pixels_from_every_shade():
    rng = np.random.default_rng(0)
    shades = np.arange(256)[:, None, None, None]
    for light, warmth in ((1.0, 0.0), (0.83, 0.07), (1.17, -0.11), (0.5, 0.5)):
        tint = light * np.array([1 + warmth, 1, 1 - warmth], np.float32)
        grain = rng.standard_normal((20, 20, 3), dtype=np.float32) * np.float32(4)
        grain[0] = np.round(grain[0])  # at the very edge
        short = studio._as_short(grain, tint)

        def pixels(own, tint=tint):
            return np.trunc(np.clip(shades * tint.astype(np.float64) + own, 0, 255))

        assert np.array_equal(pixels(short), pixels(grain)) and not np.array_equal(short, grain)


def test_views_differ_and_sizes_are_called_what_the_world_calls_them(views):
    assert len({view.packed for view in views}) == studio.VIEWS
    for size, scale in studio.SCALES.items():
        assert language.SIZES[0 if scale < 0.28 else 1 if scale < 0.32 else 2] == size


def test_a_view_is_small_enough_to_be_fetched_at_a_click(views):
    assert max(len(view.packed) for view in views) < 200_000
