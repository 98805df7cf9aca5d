"""Another tree of life, grown from a seed: the same body plans in other company, under other names.

The published tree's shape is kept (how many classes in a phylum, how many orders in a class, each level in another
order); who is related to whom, what everybody is called, what a genus hands down and where a class is met are drawn.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

ONSETS = (*"bcdfghklmnprstvz", "br", "cl", "dr", "fl", "gr", "pl", "st")
VOWELS = (*"aeiou", "ai", "ou")
CODAS = ("", *"lnrsx", "sk", "nd", "th")
MOST_GENERA = 3
"""In a family."""


class Grown(NamedTuple):
    """A tree in the form of ``tree.TREE``, the body plan of each order, and the habitats that each class prefers."""

    tree: dict[str, Any]
    bodies: dict[str, str]
    preference: dict[str, dict[str, int]]


def grow(
    seed: int, species: int, home: Mapping[str, Any], bodies: Sequence[str], traits: Sequence[str], most: int,
    habitats: Sequence[str],
) -> Grown:  # fmt: skip
    """Grow a tree.

    Args:
        home: the published tree, whose shape is kept.
        bodies: the body plans, one for each order.
        traits: what a genus can hand down.
        most: species of a genus, as many as differ in the other trait.
    """
    rng = np.random.default_rng([seed, species])
    names, orders = _names(rng), iter(rng.permutation(list(bodies)).tolist())
    families = 2 * len(bodies)
    genera = iter(_dealt(rng, families, max(families, min(species // 2, MOST_GENERA * families)), MOST_GENERA))
    skeleton = [[[len(in_class) for in_class in _shuffled(rng, phylum)] for phylum in _shuffled(rng, kingdom)]
                for kingdom in _shuffled(rng, home)]  # fmt: skip
    grown: dict[str, Any] = {}
    order_bodies: dict[str, str] = {}
    leaves: list[dict[str, Any]] = []
    for kingdom in skeleton:
        phyla = grown.setdefault(next(names), {})
        for phylum in kingdom:
            classes = phyla.setdefault(next(names), {})
            for n_orders in phylum:
                class_ = classes.setdefault(next(names), {})
                for _ in range(n_orders):
                    order_bodies[order := next(names)] = next(orders)
                    class_[order] = {next(names): {next(names): None for _ in range(next(genera))} for _ in range(2)}
                    leaves += class_[order].values()
    sizes = iter(_dealt(rng, sum(map(len, leaves)), species, most))
    for family in leaves:
        for genus in family:
            family[genus] = (traits[int(rng.integers(len(traits)))], next(sizes))
    preference = {}
    for class_name in (c for phyla in grown.values() for classes in phyla.values() for c in classes):
        first, second = rng.choice(len(habitats), 2, replace=False)
        preference[class_name] = {habitats[first]: 6, habitats[second]: 4}
    return Grown(grown, order_bodies, preference)


def _shuffled(rng: np.random.Generator, level: Mapping[str, Any]) -> list[Any]:
    """A level's children in another order."""
    below = list(level.values())
    return [below[i] for i in rng.permutation(len(below))]


def _dealt(rng: np.random.Generator, places: int, total: int, most: int) -> list[int]:
    """One for each place and the rest dealt at random, at most ``most`` to a place."""
    if not places <= total <= most * places:
        raise ValueError(f"{total} cannot be dealt to {places} places, at least one and at most {most} to each.")
    counts = np.ones(places, dtype=int)
    while counts.sum() < total:
        counts[rng.choice(np.flatnonzero(counts < most))] += 1
    return counts.tolist()


def _names(rng: np.random.Generator) -> Iterator[str]:
    """Words of two syllables, none twice."""
    known: set[str] = set()
    while True:
        word = "".join(str(rng.choice(part)) for part in (ONSETS, VOWELS, ONSETS, VOWELS, CODAS))
        if word not in known:
            known.add(word)
            yield word
