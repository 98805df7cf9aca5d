"""The pocket world: pictures of an island's living things, whose truth is known down to the last factor.

It is likened to iNaturalist on purpose: seven ranks, an uneven tree, about two species in a genus, species equally
frequent, habitats that go with classes without fixing them, and nuisances (pose, scale, place, light, noise) that say
nothing about the species. A prototype came before it (``book/analysis_plan.md``); it is frozen since the first model
was trained on it.
"""

import math
from collections.abc import Iterable, Iterator
from functools import cache, cached_property, lru_cache
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from vlm_sae_lib.files import content_hash
from vlm_sae_lib.pocket import animals, habitats, language, plants, tree
from vlm_sae_lib.pocket.drawing import Drawing, circle, darker, lighter
from vlm_sae_lib.pocket.islands import HOME, Island
from vlm_sae_lib.terms import POCKET, Credit, credited

OURS = Credit(POCKET)
WORLD_VERSION = 1  # a change of any picture's bytes raises it
SIZE = 64
POSES = np.linspace(-1, 1, 9)
HABITAT_VARIANTS = 64
TOP_VIEW = ("beetle", "butterfly", "spider")  # seen from above: they may point anywhere

_BODIES = {
    **{name: getattr(animals, name) for name in
       ("beetle", "butterfly", "spider", "discfish", "wader", "finch", "turtle", "snail")},
    "eel": animals.eel_,
    **{name: getattr(plants, name) for name in ("daisy", "oak", "tulip", "conifer", "toadstool", "morel")},
}  # fmt: skip


@cache
def _organism(body: str, shape: int, pattern: str, pose: int) -> Drawing:
    drawing = Drawing()
    _BODIES[body](drawing, shape, pattern, float(POSES[pose]))
    return drawing


def _paint_habitat(habitat: str, variant: int, pixels: int) -> Image.Image:
    image = Image.new("RGB", (pixels, pixels))
    habitats.draw_habitat(habitat, variant).paint(ImageDraw.Draw(image), pixels, {})
    return image


_cached_habitat = lru_cache(maxsize=len(tree.HABITATS) * HABITAT_VARIANTS)(_paint_habitat)


def sample_factors(seed: int, index: int, island: Island = HOME) -> dict:
    """The factors of picture ``index`` of the world ``seed``; no other picture has a say in them."""
    rng = np.random.default_rng([seed, index])
    everybody = tree.all_species(island)
    species = everybody[int(rng.integers(len(everybody)))]
    probabilities = np.cumsum(tree.habitat_probabilities(species.rank("class"), island))
    habitat = tree.HABITATS[min(int(np.searchsorted(probabilities, rng.random(), side="right")), 5)]
    numbers = rng.random(8)
    scale = 0.24 + 0.12 * numbers[0]
    return {
        "species_index": species.index,
        **dict(zip(tree.RANKS, species.path, strict=True)),
        "colour": species.colour,
        "pattern": species.pattern,
        "habitat": habitat,
        "size": language.SIZES[0 if scale < 0.28 else 1 if scale < 0.32 else 2],
        "scale": scale,
        "x": 0.36 + 0.28 * numbers[1],
        "y": 0.42 + 0.18 * numbers[2],
        "rotation": float(rng.normal(0, 0.16)),
        "pose": int(numbers[3] * len(POSES)),
        "mirrored": bool(numbers[4] < 0.5),
        "light": 0.78 + 0.32 * numbers[5],
        "warmth": -0.06 + 0.12 * numbers[6],
        "noise": 5 * numbers[7],
        "variant": int(rng.integers(HABITAT_VARIANTS)),
        "backdrop_mirrored": bool(rng.random() < 0.5),
        "paint_seed": int(rng.integers(2**31)),
    }


def _palette(species: tree.Species, rng: np.random.Generator) -> dict:
    jitter = np.clip(rng.normal(0, 9, (2, 3)) + [tree.COLOURS[species.colour], tree.COLOURS[species.accent]], 0, 255)
    body, accent = (tuple(int(v) for v in row) for row in jitter)
    heart = (120, 70, 30) if species.colour == "yellow" else (250, 200, 60)
    return {
        "body": body, "accent": accent, "edge": darker(body, 0.6), "shade": darker(body, 0.3),
        "pale": lighter(body, 0.4), "heart": heart,
    }  # fmt: skip


def paint(factors: dict, size: int = SIZE, *, empty: bool = False, island: Island = HOME) -> Image.Image:
    """Paint one scene at any size: 64 for the models, 256 for people. ``empty`` leaves the organism out."""
    oversample = 3 if size <= 96 else 2
    pixels = size * oversample
    backdrop = _cached_habitat if size <= SIZE else _paint_habitat
    image = backdrop(factors["habitat"], factors["variant"], pixels)
    image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if factors["backdrop_mirrored"] else image.copy()
    rng = np.random.default_rng(factors["paint_seed"])
    if not empty:
        species = tree.all_species(island)[factors["species_index"]]
        _paint_organism(ImageDraw.Draw(image), species, factors, pixels, rng)
    picture = np.asarray(image.reduce(oversample), dtype=np.float32)
    picture = picture * (factors["light"] * np.array([1 + factors["warmth"], 1, 1 - factors["warmth"]], np.float32))
    # Grain is part of the scene, not of the sensor: it is drawn at 64 px whatever the size, so big prints look alike.
    grain = rng.standard_normal((SIZE, SIZE, 3), dtype=np.float32) * np.float32(factors["noise"])
    if size != SIZE:
        grain = grain[(np.arange(size) * SIZE // size)[:, None], np.arange(size) * SIZE // size] * 0.5
    return credited(Image.fromarray(np.clip(picture + grain, 0, 255).astype(np.uint8)), OURS)


def _paint_organism(
    canvas: ImageDraw.ImageDraw, species: tree.Species, factors: dict, pixels: int, rng: np.random.Generator
) -> None:
    scale, body = factors["scale"], species.body
    ground = habitats.SKY[factors["habitat"]][2]
    shadow = circle(factors["x"], factors["y"] + scale * 1.08, scale * 0.7, 12, scale * 0.13)
    canvas.polygon((shadow * pixels).ravel().tolist(), fill=darker(ground, 0.35))
    angle = factors["rotation"] * 3 - 1.2 if body in TOP_VIEW else factors["rotation"]
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    matrix = np.array([[cos, sin], [-sin, cos]])
    if factors["mirrored"]:
        matrix[0] *= -1
    drawing = _organism(body, species.family_shape, species.pattern, factors["pose"])
    drawing.paint(canvas, pixels, _palette(species, rng), matrix, (factors["x"], factors["y"]))


class PocketPictures:
    """``n`` pictures of the world ``seed``, with their truth. A picture source; pictures are painted when asked for.

    Picture i depends on (seed, i) alone, so a longer list begins with the shorter one.
    """

    def __init__(self, n: int, seed: int, ids: Iterable[int] | None = None, island: Island = HOME):
        self.seed, self.island = seed, island
        self.ids = np.arange(n) if ids is None else np.asarray(list(ids), dtype=int)
        self.n = n
        self.unreadable: list[tuple[int, str, str]] = []
        self.terms = POCKET

    @property
    def name(self) -> str:
        return f"{self.island.kind}:{self.n}:{self.seed}"

    @property
    def fingerprint(self) -> str:
        facts: dict[str, Any] = {"world": WORLD_VERSION, "seed": self.seed, "ids": self.ids.tolist()}
        if not (island := self.island).same_pictures:
            facts |= {"tree": island.tree_seed, "species": island.species}
            facts |= {"habitat": island.habitat, "genus": island.genus_trait}
        return content_hash(facts)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[tuple[int, Image.Image]]:
        return ((int(i), self.picture(int(i))) for i in self.ids)

    def picture(self, image_id: int, size: int = SIZE, *, empty: bool = False) -> Image.Image:
        """One picture by its id, at any size; ``empty`` paints the habitat with nobody in it."""
        factors = sample_factors(self.seed, image_id, self.island)
        return paint(factors, size, empty=empty, island=self.island)

    @cached_property
    def images(self) -> list[Image.Image]:
        """The pictures, 64×64 RGB, in the order of the rows of ``factors``."""
        return [image for _, image in self]

    @cached_property
    def factors(self) -> pd.DataFrame:
        """The truth: one row per picture (the seven ranks, colour, pattern, habitat, size, place, pose, light…)."""
        rows = [sample_factors(self.seed, int(i), self.island) for i in self.ids]
        return pd.DataFrame(rows, index=pd.Index(self.ids, name="image_id"))

    @cached_property
    def folders(self) -> list[str | None]:
        """One iNaturalist-style folder name per image id."""
        found: list[str | None] = [None] * self.n
        for image_id, species in zip(self.ids, self.factors["species_index"], strict=True):
            found[image_id] = tree.all_species(self.island)[species].folder
        return found

    @cached_property
    def captions(self) -> list[str]:
        """One caption per row of ``factors``, its template and rank drawn by the picture's own seed."""
        return [
            language.random_caption(facts, np.random.default_rng(facts["paint_seed"] + 1))
            for facts in self.factors.to_dict("records")
        ]

    @cached_property
    def questions(self) -> pd.DataFrame:
        """Questions with one-word answers: columns image_id, about (the seven ranks, colour, …), question, answer."""
        rows = [
            (int(image_id), about, language.QUESTIONS[about], facts[about])
            for image_id, facts in zip(self.ids, self.factors.to_dict("records"), strict=True)
            for about in language.ABOUT
        ]
        return pd.DataFrame(rows, columns=["image_id", "about", "question", "answer"])

    def subset(self, ids: Iterable[int]) -> "PocketPictures":
        """The same world, only the pictures with these ids."""
        return PocketPictures(self.n, self.seed, ids, self.island)


def pocket_pictures(n: int, seed: int, island: Island = HOME) -> PocketPictures:
    """``n`` pictures of an island of the pocket world; the same seed gives the same bytes.

    Raises:
        ValueError: ``n`` or ``seed`` is negative.
    """
    if n < 0 or seed < 0:
        raise ValueError(f"pocket_pictures needs n ≥ 0 and seed ≥ 0, but got n={n}, seed={seed}.")
    return PocketPictures(n, seed, island=island)


def blank(colour: tuple[int, int, int] = (255, 255, 255), size: int = SIZE) -> Image.Image:
    """A blank page, the paper's start for inserting a concept (§4.3)."""
    return credited(Image.new("RGB", (size, size), colour), OURS)
