"""The same picture with one factor changed: what an edit of that factor alone should make the model see.

Colour, pattern and body are painted independently, so that animals can be painted that live nowhere on the island: a
red one of a family that has no red species. Their names are unknown to every model; pose, place, light and grain stay.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pocket import tree, world
from vlm_sae_lib.pocket.islands import HOME, Island
from vlm_sae_lib.taxonomy import RANKS
from vlm_sae_lib.terms import credited


def repaint(facts: Mapping[str, Any], about: str, value: str, island: Island = HOME) -> Image.Image:
    """The picture of these facts, 64 px, with ``about`` (colour, pattern, habitat or a rank) changed to ``value``.

    Another rank brings the body of one of its species, drawn by the picture's own seed, in the old colour and pattern;
    only a species comes with its own.

    Raises: UserError where the island has no such value.
    """
    if about == "habitat":
        if value not in tree.HABITATS:
            raise UserError(f"there is no habitat {value!r}; there are {', '.join(tree.HABITATS)}")
        return world.paint({**facts, "habitat": value}, island=island)
    species = changed(tree.all_species(island)[facts["species_index"]], about, value, facts["paint_seed"], island)
    # What follows is `world.paint` with the species given and not looked up.
    oversample = 3
    pixels = world.SIZE * oversample
    image = world._cached_habitat(facts["habitat"], facts["variant"], pixels)
    image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if facts["backdrop_mirrored"] else image.copy()
    rng = np.random.default_rng(facts["paint_seed"])
    world._paint_organism(ImageDraw.Draw(image), species, dict(facts), pixels, rng)
    picture = np.asarray(image.reduce(oversample), dtype=np.float32)
    tint = np.array([1 + facts["warmth"], 1, 1 - facts["warmth"]], np.float32)
    grain = rng.standard_normal((world.SIZE, world.SIZE, 3), dtype=np.float32) * np.float32(facts["noise"])
    picture = picture * (facts["light"] * tint) + grain
    return credited(Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)), world.OURS)


def changed(species: tree.Species, about: str, value: str, seed: int, island: Island = HOME) -> tree.Species:
    """A species with one factor changed, which may be one that lives nowhere."""
    if about == "colour" and value in tree.COLOURS:
        return replace(species, colour=value, accent=tree.ACCENTS[value])
    if about == "pattern" and value in tree.PATTERNS:
        return replace(species, pattern=value)
    kin = [s for s in tree.all_species(island) if about in RANKS and s.rank(about) == value]
    if not kin:
        raise UserError(f"the island has no {about} {value!r}")
    other = kin[seed % len(kin)]
    if about == "species":
        return other
    return replace(other, colour=species.colour, accent=species.accent, pattern=species.pattern)
