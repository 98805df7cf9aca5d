"""The pocket world on paper: field-guide plates, its tree of life, where its classes live."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from PIL import Image

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pocket import tree, world
from vlm_sae_lib.show.pictures import labelled_rows, picture_grid
from vlm_sae_lib.taxonomy import RANKS

HANDS_DOWN = {
    "kingdom": "nothing that is drawn: only a name to go by",
    "phylum": "nothing that is drawn either",
    "class": "where it mostly lives",
    "order": "the body plan: limbs, wings, petals, a cap",
    "family": "the shape of that body",
    "genus": "the pattern",
    "species": "the colour and its accent",
}
KINGDOM_COLOURS = {"animal": "#0072B2", "plant": "#009E73", "fungus": "#D55E00"}


def posed(species: tree.Species, habitat: str | None = None, **changes) -> dict:
    """The factors of a picture for a field guide: the species at rest in the middle, in even light, without grain.

    Args:
        species: whom to paint.
        habitat: by default the one where its class is met most.
        changes: other factors to set.

    Raises:
        UserError: a factor that pictures do not have.
    """
    likely = tree.habitat_probabilities(species.rank("class"))
    factors = world.sample_factors(0, species.index) | {
        "species_index": species.index, **dict(zip(RANKS, species.path, strict=True)),
        "colour": species.colour, "pattern": species.pattern,
        "habitat": habitat or tree.HABITATS[int(np.argmax(likely))],
        "scale": 0.34, "x": 0.5, "y": 0.52, "rotation": 0.0, "pose": len(world.POSES) // 2, "mirrored": False,
        "light": 1.0, "warmth": 0.0, "noise": 0.0,
    }  # fmt: skip
    for name in changes:
        if name not in factors:
            raise UserError(f"A picture has no factor {name!r}; its factors are {', '.join(factors)}.")
    return factors | changes


def portrait(species: tree.Species, size: int = 128, **changes) -> Image.Image:
    """One species as a field guide shows it; see `posed`."""
    return world.paint(posed(species, **changes), size)


def order_plate(size: int = 256) -> Figure:
    """One species of each order, large, with its name and its order's."""
    chosen = [members[0] for members in _by_order().values()]
    captions = [f"{species.path[-1]}\n({species.rank('order')})" for species in chosen]
    return picture_grid([portrait(species, size) for species in chosen], captions, columns=5)


def species_plate(size: int = 128) -> Figure:
    """Every species of the island, a row for each order."""
    rows = [(order, [portrait(species, size) for species in members]) for order, members in _by_order().items()]
    return labelled_rows(rows, columns=max(len(pictures) for _, pictures in rows))


def _by_order() -> dict[str, list[tree.Species]]:
    found: dict[str, list[tree.Species]] = {}
    for species in tree.all_species():
        found.setdefault(species.rank("order"), []).append(species)
    return found


def rank_table() -> pd.DataFrame:
    """The seven ranks: how many names each has, an example, and what it hands down."""
    example = tree.all_species()[0]
    rows = [(rank, len(tree.names(rank)), example.rank(rank), HANDS_DOWN[rank]) for rank in RANKS]
    return pd.DataFrame(rows, columns=["rank", "names", "example", "hands down"]).set_index("rank")


def habitat_table(factors: pd.DataFrame | None = None) -> pd.DataFrame:
    """P(habitat | class): the world's own, or the shares in some pictures (``factors``: one row per picture)."""
    classes = list(tree.names("class"))
    if factors is None:
        rows = [tree.habitat_probabilities(name) for name in classes]
        return pd.DataFrame(rows, index=pd.Index(classes, name="class"), columns=list(tree.HABITATS))
    counted = pd.crosstab(factors["class"], factors["habitat"], normalize="index")
    return counted.reindex(index=classes, columns=list(tree.HABITATS), fill_value=0.0)


def habitat_map(table: pd.DataFrame) -> Figure:
    """A table of `habitat_table` as a map of shares in per cent."""
    figure, axis = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
    options = {"annot": True, "fmt": ".0f", "cmap": "crest", "cbar": False, "linewidths": 1, "annot_kws": {"size": 11}}
    sns.heatmap(100 * table, ax=axis, vmin=0, **options)
    for text in axis.texts:  # they stand on the cells, which a dark page leaves as they are
        text.set_color("#1a1a1a" if text.get_color() == ".15" else "#fefefe")
    axis.set(xlabel="", ylabel="", title="Of a class's pictures, % in each habitat")
    axis.tick_params(axis="x", rotation=0)
    axis.tick_params(axis="y", rotation=0)
    return figure


def tree_overview() -> Figure:
    """The tree down to its orders, from left to right; behind each order how many families, genera and species."""
    orders = _by_order()
    heights = {order: -i for i, order in enumerate(orders)}
    figure, axis = plt.subplots(figsize=(6.4, 6.2), layout="constrained")
    columns = (0.0, 1.28, 2.56, 3.84)  # kingdom, phylum, class, order
    places: dict[tuple[str, ...], float] = {}
    for depth in range(1, 5):
        for path in dict.fromkeys(species.path[:depth] for species in tree.all_species()):
            below = [y for o, y in heights.items() if orders[o][0].path[:depth] == path]
            places[path] = (below[0] + below[-1]) / 2
    for path, y in places.items():
        colour, x = KINGDOM_COLOURS[path[0]], columns[len(path) - 1]
        if len(path) > 1:
            before, from_y = columns[len(path) - 2], places[path[:-1]]
            axis.plot([before + 0.86, before + 1.02, x - 0.06], [from_y, y, y], color=colour, linewidth=1.2, zorder=1)
        label = path[-1] + (_counts(orders[path[-1]]) if len(path) == 4 else "")
        axis.text(x, y, label, va="center", fontsize=10, color=colour, zorder=2,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
    axis.set(xlim=(-0.05, 6.1), ylim=(-len(orders) + 0.4, 1.1))
    for x, rank in zip(columns, RANKS, strict=False):
        axis.text(x, 0.85, rank, fontsize=10, fontweight="bold")
    axis.text(columns[-1] + 0.95, 0.85, "families·genera·species", fontsize=8)
    axis.set_axis_off()
    return figure


def _counts(members: Sequence[tree.Species]) -> str:
    families, genera = (len({species.rank(rank) for species in members}) for rank in ("family", "genus"))
    return f"  {families}·{genera}·{len(members)}"
