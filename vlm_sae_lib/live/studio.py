"""What the page paints pictures from: the world's own layers, so that a picture composed there is one of the world's.

The painter draws a backdrop, a shadow and an organism in flat colours at three times the size, averages, tints and adds
grain. Everything but the colours depends on the body, its pattern and size, and the *view*: place, pose, direction,
light, warmth, grain and backdrop, drawn as for any picture. So each organism is shipped as a map of *roles* (body,
accent, edge …) for each view, and the page only fills in colours: pixel for pixel what ``pocket.world.paint`` gives.

A body differs little from pattern to pattern: its maps are kept as what differs from the one with the first pattern,
and grain in as few digits as leave every picture the same.
"""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageDraw

from vlm_sae_lib.pocket import habitats, language, tree, world
from vlm_sae_lib.pocket.drawing import Colour, Drawing, circle, darker
from vlm_sae_lib.taxonomy import RANKS

SEED = 2504
"""Of the world whose first pictures lend the views."""
VIEWS = 6
OVERSAMPLE = 3
PIXELS = OVERSAMPLE * world.SIZE
SCALES = dict(zip(language.SIZES, (0.26, 0.30, 0.34), strict=True))
"""A scale in the middle of those that each word stands for."""
ROLES = ("shadow", "body", "accent", "edge", "shade", "pale", "heart")
"""What a map's numbers mean, from 1; 0 is the backdrop, and further numbers are colours that never change."""


@dataclass(frozen=True)
class View:
    """A file of the studio with its table of contents."""

    contents: dict[str, Any]
    packed: bytes


def facts_of(view: int, species: tree.Species, habitat: str, size: str) -> dict[str, Any]:
    """The factors of a composed picture, as ``pocket.world.paint`` and ``pocket.repainting`` take them."""
    chosen = {"species_index": species.index, "habitat": habitat, "size": size, "scale": SCALES[size]}
    named = {**dict(zip(RANKS, species.path, strict=True)), "colour": species.colour, "pattern": species.pattern}
    return {**world.sample_factors(SEED, view), **named, **chosen}


def families() -> list[tuple[str, str, int]]:
    """(family, body, shape) of all families, in the tree's order."""
    return list(dict.fromkeys((s.rank("family"), s.body, s.family_shape) for s in tree.all_species()))


def island() -> dict[str, Any]:
    """What there is to choose from, and the species with the traits that they have."""
    species = [
        {"name": s.path[-1], "order": s.rank("order"), "family": s.rank("family"), "colour": s.colour,
         "pattern": s.pattern}
        for s in tree.all_species()
    ]  # fmt: skip
    return {
        "families": [{"name": name, "order": body} for name, body, _ in families()],
        "species": species,
        "colours": list(tree.COLOURS),
        "patterns": list(tree.PATTERNS),
        "habitats": list(tree.HABITATS),
        "sizes": list(language.SIZES),
        "shadows": {habitat: darker(habitats.SKY[habitat][2], 0.35) for habitat in tree.HABITATS},
        "roles": list(ROLES),
        "fixed": [list(colour) for colour in fixed_colours()],
    }


def views() -> Iterator[View]:
    return (_view(view) for view in range(VIEWS))


def _view(view: int) -> View:
    facts, packed = world.sample_factors(SEED, view), _Packed()
    fixed = fixed_colours()
    patterns, scales = range(len(tree.PATTERNS)), list(SCALES.values())
    maps: dict[tuple[int, int, int], list[int]] = {}
    for family, (_, body, shape) in enumerate(families()):
        for size, scale in enumerate(scales):
            first = None
            for number in patterns:  # one after another, so that what is alike lies close
                roles = _role_map(body, shape, tree.PATTERNS[number], facts | {"scale": scale}, fixed)
                left, top, cut = _cut_out(roles if first is None else roles ^ first)
                maps[family, number, size] = [packed.keep(cut), left, top, *cut.shape[::-1]]
                first = roles if first is None else first
    tint = facts["light"] * np.array([1 + facts["warmth"], 1, 1 - facts["warmth"]], np.float32)
    grains = [_as_short(_grain(facts, empty=empty), tint) for empty in (False, True)]
    contents = {
        "maps": [maps[place] for place in sorted(maps)],
        "backdrops": {habitat: packed.keep(_backdrop(habitat, facts)) for habitat in tree.HABITATS},
        "palettes": {colour: _palette(colour, facts) for colour in tree.COLOURS},
        "tint": [float(share) for share in tint],
        "grain": packed.keep(grains[0]),
        "grain_of_empty": packed.keep(grains[1]),
    }
    return View(contents, packed.bytes())


class _Packed:
    """Arrays behind each other; each begins at a multiple of four bytes, so that floats can be read in place."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def keep(self, array: np.ndarray) -> int:
        """The place where it begins."""
        part = array.tobytes()
        part += bytes(-len(part) % 4)
        self._parts.append(part)
        self._length += len(part)
        return self._length - len(part)

    def bytes(self) -> bytes:
        return zlib.compress(b"".join(self._parts), 9)


@cache
def fixed_colours() -> list[Colour]:
    """The colours of the drawings' parts that no palette decides: stems, beaks, eyes."""
    poses = {world.sample_factors(SEED, view)["pose"] for view in range(VIEWS)}
    drawings = [world._organism(body, shape, pattern, pose)
                for _, body, shape in families() for pattern in tree.PATTERNS for pose in poses]  # fmt: skip
    used = {colour for drawing in drawings for *_, colour, edge in drawing.parts for colour in (colour, edge)}
    return sorted(colour for colour in used if isinstance(colour, tuple))


def _role_map(
    body: str, shape: int, pattern: str, facts: dict[str, Any], fixed: list[Colour]
) -> UInt8[np.ndarray, "pixels pixels"]:
    """The organism in numbers for colours: the strokes of ``pocket.world``, on a canvas with nothing on it."""
    numbers = {role: i for i, role in enumerate(ROLES, start=1)}
    numbers |= {str(colour): i for i, colour in enumerate(fixed, start=len(numbers) + 1)}
    image = Image.new("L", (PIXELS, PIXELS))
    canvas, scale, place = ImageDraw.Draw(image), facts["scale"], (facts["x"], facts["y"])
    shadow = circle(facts["x"], facts["y"] + scale * 1.08, scale * 0.7, 12, scale * 0.13)
    canvas.polygon((shadow * PIXELS).ravel().tolist(), fill=numbers["shadow"])
    angle = facts["rotation"] * 3 - 1.2 if body in world.TOP_VIEW else facts["rotation"]
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    matrix = np.array([[cos, sin], [-sin, cos]])
    if facts["mirrored"]:
        matrix[0] *= -1
    drawing = world._organism(body, shape, pattern, facts["pose"])
    by_name = Drawing([(*part[:3], *map(_name, part[3:])) for part in drawing.parts], drawing.points)
    by_name.paint(canvas, PIXELS, numbers, matrix, place)
    return np.asarray(image)


def _name(colour: Any) -> Any:
    """A fixed colour by a name, as the palette's roles have one; a width or nothing stays."""
    return str(colour) if isinstance(colour, tuple) else colour


def _cut_out(roles: UInt8[np.ndarray, "pixels pixels"]) -> tuple[int, int, UInt8[np.ndarray, "height width"]]:
    """(left, top, the part of the map in which something is); nothing at all is a part of no size."""
    rows, columns = np.flatnonzero(roles.any(1)), np.flatnonzero(roles.any(0))
    if not len(rows):
        return 0, 0, roles[:0, :0]
    cut = roles[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return int(columns[0]), int(rows[0]), cut


def _backdrop(habitat: str, facts: dict[str, Any]) -> UInt8[np.ndarray, "pixels pixels 3"]:
    image = world._paint_habitat(habitat, facts["variant"], PIXELS)
    return np.asarray(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if facts["backdrop_mirrored"] else image)


def _palette(colour: str, facts: dict[str, Any]) -> list[list[int]]:
    """The colours of the roles from ``body`` on, of an organism of a colour in a view."""
    species = next(s for s in tree.all_species() if s.colour == colour)
    palette = world._palette(species, np.random.default_rng(facts["paint_seed"]))
    return [list(palette[role]) for role in ROLES[1:]]


def _grain(facts: dict[str, Any], *, empty: bool) -> Float32[np.ndarray, "side side 3"]:
    rng = np.random.default_rng(facts["paint_seed"])
    if not empty:
        rng.normal(0, 9, (2, 3))  # the palette's draws come first
    return rng.standard_normal((world.SIZE, world.SIZE, 3), dtype=np.float32) * np.float32(facts["noise"])


def _as_short(
    grain: Float32[np.ndarray, "side side 3"], tint: Float32[np.ndarray, "3"]
) -> Float32[np.ndarray, "side side 3"]:
    """Grain in as few binary digits as give the same picture.

    A pixel is the whole part of a shade of 0 to 255 times the tint, plus the grain. So only between which of the 256
    places that these products leave to the next whole number a grain lies can be seen.
    """
    short = np.empty(grain.shape)
    for channel, share in enumerate(tint.astype(np.float64)):
        whole = np.floor(grain[..., channel].astype(np.float64))
        places = np.unique(np.append(-(np.arange(256) * share) % 1, 0.0))
        after = np.searchsorted(places, grain[..., channel] - whole, side="right")
        low, high = places[after - 1], np.append(places, 1.0)[after]
        found = np.full(whole.shape, np.nan)
        for digits in range(24):
            tried = np.ceil(low * 2**digits) / 2**digits
            found = np.where(np.isnan(found) & (tried < high), tried, found)
        short[..., channel] = np.where(np.isnan(found), grain[..., channel], whole + found)
    return short.astype(np.float32)
