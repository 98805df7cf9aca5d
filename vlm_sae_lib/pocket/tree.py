"""The island's tree of life: seven ranks, as in iNaturalist, with the traits that each rank hands down.

Traits are inherited the way a field guide tells species apart. Order fixes the body plan, family the shape of it,
genus the pattern, species the palette. The tree is as uneven as iNaturalist's: 3 kingdoms, unequal branches, about two
species in a genus (there: 10,000 species in 4,884 genera). It was drawn up after a prototype with another tree, before
any model saw it, and has not been changed since.
"""

from dataclasses import dataclass
from functools import cache

from vlm_sae_lib.pocket.growing import Grown, grow
from vlm_sae_lib.pocket.islands import HOME, Island
from vlm_sae_lib.taxonomy import RANKS

PATTERNS = ("plain", "spotted", "banded", "lined")
COLOURS = {
    "red": (214, 48, 49),
    "orange": (240, 140, 40),
    "yellow": (250, 211, 70),
    "green": (80, 170, 80),
    "blue": (52, 116, 219),
    "purple": (140, 84, 190),
    "pink": (245, 140, 180),
    "white": (242, 240, 232),
}
GEMS = dict(zip(COLOURS, ("ruby", "amber", "honey", "moss", "azure", "plum", "rose", "pearl"), strict=True))
MARKS = dict(zip(PATTERNS, ("sheer", "dappled", "hooped", "ribbed"), strict=True))
"""What a species is called by where its genus shares a colour, as ``GEMS`` where it shares a pattern."""
ACCENTS = {
    "red": "white", "orange": "purple", "yellow": "red", "green": "yellow",
    "blue": "orange", "purple": "yellow", "pink": "blue", "white": "red",
}  # fmt: skip

# kingdom → phylum → class → order → family → genus: (pattern, number of species)
TREE = {
    "animal": {
        "arthropod": {
            "insect": {
                "beetle": {
                    "roundbeetle": {"dotshell": ("spotted", 3), "hoopshell": ("banded", 2)},
                    "longbeetle": {"ridgeshell": ("lined", 3)},
                },
                "butterfly": {
                    "broadwing": {"bandwing": ("banded", 3), "eyewing": ("spotted", 2)},
                    "kitewing": {"silkwing": ("plain", 2)},
                },
            },
            "arachnid": {
                "spider": {
                    "orbweaver": {"pepperweaver": ("spotted", 2), "mossweaver": ("plain", 1)},
                    "stiltspider": {"garterleg": ("banded", 2)},
                },
            },
        },
        "chordate": {
            "fish": {
                "discfish": {
                    "highfin": {"barfin": ("banded", 3), "moonfin": ("plain", 2)},
                    "sailfin": {"frecklefin": ("spotted", 2)},
                },
                "eel": {
                    "ribboneel": {"ribbontail": ("lined", 2), "specktail": ("spotted", 2)},
                    "bladeeel": {"ringtail": ("banded", 2)},
                },
            },
            "bird": {
                "wader": {
                    "stiltbird": {"reedbill": ("plain", 2), "ringbill": ("banded", 2)},
                    "crookbird": {"drizzlebill": ("spotted", 2)},
                },
                "finch": {
                    "crestfinch": {"streakbreast": ("lined", 3)},
                    "bushfinch": {"frecklebreast": ("spotted", 2), "clearbreast": ("plain", 2)},
                },
            },
            "reptile": {
                "turtle": {
                    "domeback": {"pebbleback": ("spotted", 2), "groveback": ("lined", 1)},
                    "flatback": {"hoopback": ("banded", 2)},
                },
            },
        },
        "mollusc": {
            "gastropod": {
                "snail": {
                    "coilsnail": {"ribboncoil": ("banded", 2), "clearcoil": ("plain", 2)},
                    "towersnail": {"dottower": ("spotted", 2)},
                },
            },
        },
    },
    "plant": {
        "bloomplant": {
            "dicot": {
                "daisy": {
                    "raydaisy": {"sunpetal": ("plain", 3), "halopetal": ("banded", 2)},
                    "stardaisy": {"veinpetal": ("lined", 2)},
                },
                "oak": {
                    "crownoak": {"fruitcrown": ("spotted", 2), "clearcrown": ("plain", 1)},
                    "weepoak": {"weepcrown": ("lined", 2)},
                },
            },
            "monocot": {
                "tulip": {
                    "goblettulip": {"veincup": ("lined", 2), "fleckcup": ("spotted", 2)},
                    "belltulip": {"hoopcup": ("banded", 2)},
                },
            },
        },
        "coneplant": {
            "needleleaf": {
                "conifer": {
                    "tierconifer": {"needletier": ("plain", 2), "hooptier": ("banded", 2)},
                    "spireconifer": {"dotspire": ("spotted", 2)},
                },
            },
        },
    },
    "fungus": {
        "capfungus": {
            "agaric": {
                "toadstool": {
                    "widecap": {"dotcap": ("spotted", 3), "smoothcap": ("plain", 2)},
                    "bellcap": {"hoopcap": ("banded", 2)},
                },
            },
        },
        "sacfungus": {
            "cupfungus": {
                "morel": {
                    "tallmorel": {"ringspire": ("banded", 2), "ribspire": ("lined", 2)},
                    "roundmorel": {"pitcrown": ("spotted", 2)},
                },
            },
        },
    },
}

# Where a class is mostly met, as in nature; every class is met everywhere now and then.
HABITATS = ("meadow", "forest", "desert", "sea", "snow", "cave")
_PREFERENCE = {
    "insect": {"meadow": 6, "forest": 4},
    "arachnid": {"cave": 6, "forest": 4},
    "fish": {"sea": 12},
    "bird": {"forest": 4, "meadow": 3, "sea": 3},
    "reptile": {"desert": 6, "sea": 4},
    "gastropod": {"forest": 4, "meadow": 4, "sea": 2},
    "dicot": {"meadow": 6, "desert": 3},
    "monocot": {"meadow": 7, "snow": 3},
    "needleleaf": {"snow": 7, "forest": 4},
    "agaric": {"forest": 7, "cave": 3},
    "cupfungus": {"cave": 5, "forest": 4},
}


@dataclass(frozen=True)
class Species:
    """One species: its path through the seven ranks and the traits that it inherited."""

    index: int
    path: tuple[str, ...]
    family_shape: int
    pattern: str
    colour: str
    accent: str
    body: str
    """The body plan, which its order shares; on the published island the order is called by it."""

    @property
    def folder(self) -> str:
        """Its folder name in iNaturalist 2021's format."""
        return "_".join([f"{self.index:05d}", *(name.capitalize() for name in self.path[:-1]), self.path[-1]])

    def rank(self, rank: str) -> str:
        return self.path[RANKS.index(rank)]


@cache
def all_species(island: Island = HOME) -> tuple[Species, ...]:
    """Every species of an island, in the tree's order."""
    found: list[Species] = []
    genus_number = 0
    tree, bodies, _ = _grown(island)
    for kingdom, phyla in tree.items():
        for phylum, classes in phyla.items():
            for class_, orders in classes.items():
                for order, families in orders.items():
                    for shape, (family, genera) in enumerate(families.items()):
                        for genus, (trait, count) in genera.items():
                            for member in range(count):
                                pattern, colour, name = _traits(island, trait, genus_number, member)
                                path = (kingdom, phylum, class_, order, family, genus, f"{name}-{genus}")
                                accent, body = ACCENTS[colour], bodies[order]
                                found.append(Species(len(found), path, shape, pattern, colour, accent, body))
                            genus_number += 1
    return tuple(found)


def _traits(island: Island, trait: str, genus: int, member: int) -> tuple[str, str, str]:
    """Pattern and colour of a genus's member, and the word that tells it from its sisters."""
    if island.genus_trait == "colour":
        pattern = PATTERNS[(genus + member) % len(PATTERNS)]
        return pattern, trait, MARKS[pattern]
    # Steps that share no factor with 8 spread the palette over patterns and orders.
    colour = list(COLOURS)[(3 * genus + 3 * member + genus // 8) % 8]
    return trait, colour, GEMS[colour]


@cache
def _grown(island: Island) -> Grown:
    orders = [order for phyla in TREE.values() for classes in phyla.values() for o in classes.values() for order in o]
    if island.tree_seed is None:
        return Grown(TREE, {order: order for order in orders}, _PREFERENCE)
    own, other = (PATTERNS, tuple(COLOURS)) if island.genus_trait == "pattern" else (tuple(COLOURS), PATTERNS)
    return grow(island.tree_seed, island.species, TREE, orders, own, len(other), HABITATS)


@cache
def names(rank: str, island: Island = HOME) -> tuple[str, ...]:
    """The different names at a rank, in the tree's order."""
    return tuple(dict.fromkeys(species.rank(rank) for species in all_species(island)))


def habitat_probabilities(class_: str, island: Island = HOME) -> tuple[float, ...]:
    """P(habitat | class), in the order of ``HABITATS``."""
    preference = _grown(island).preference[class_]
    weights = [1 + island.habitat * preference.get(habitat, 0) for habitat in HABITATS]
    return tuple(weight / sum(weights) for weight in weights)
