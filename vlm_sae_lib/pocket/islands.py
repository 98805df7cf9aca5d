"""The islands: one generator of worlds, and the settings by which each differs from the published one.

What was frozen as one choice (this tree, these habitats, this tower) is a dial here, so that a claim can be asked again
where another choice was made. The published island, ``HOME``, is what it was, byte for byte.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError

Trait = Literal["pattern", "colour"]
MODELS = ("clip", "second_clip", "self_supervised", "llava")
PREFIX = "pocket"


@dataclass(frozen=True)
class Island:
    """One island and the models that look at it.

    Attributes:
        name: after the ``@`` of ``pocket@<name>``; empty for the published one.
        number: from which the seeds of its models' trainings follow.
        tree_seed: of the tree that is grown; None: the one that was drawn up by hand (``tree.TREE``).
        species: how many.
        habitat: how strongly a class is tied to its habitats: 0 not at all, 1 as on the published island.
        genus_trait: what a genus hands down; its species differ in the other one.
        width: of its CLIP's vision tower.
        trains: the models of its own; the others are the published island's.
    """

    name: str
    number: int
    tree_seed: int | None = None
    species: int = 94
    habitat: float = 1.0
    genus_trait: Trait = "pattern"
    width: int = 128
    trains: tuple[str, ...] = MODELS

    @property
    def kind(self) -> str:
        """How sources of pictures, towers and VLMs of it are spelled: ``pocket``, ``pocket@<name>``."""
        return f"{PREFIX}@{self.name}" if self.name else PREFIX

    @property
    def same_pictures(self) -> bool:
        """Whether its pictures are those of the published island."""
        return self.tree_seed is None and self.habitat == 1

    def folder(self, model: str) -> Path:
        """Where a model of it lies.

        Raises:
            UserError: there is no such model, or its weights are missing.
        """
        if model not in MODELS:
            raise UserError(f"There is no pocket model {model!r}; the pocket models are {', '.join(MODELS)}.")
        own = bool(self.name) and model in self.trains
        path = (paths.islands() / self.name if own else paths.pocket()) / model
        if not path.is_dir():
            again = f"run `make islands ISLANDS={self.name}`" if own else "check it out again, or run `make pocket`"
            raise UserError(f"The pocket model {model!r} is not in {path}; {again}.")
        return path

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


HOME = Island("", 0)
SEES = ("clip", "second_clip", "self_supervised")
ISLANDS = {
    island.name: island
    for island in (
        HOME,
        Island("twin", 1, trains=("clip",)),
        Island("atoll", 2, tree_seed=2, species=72, habitat=0.0, genus_trait="colour"),
        Island("fjord", 3, tree_seed=3, species=72, habitat=4.0),
        Island("skerry", 4, tree_seed=4, species=36, genus_trait="colour", width=64, trains=SEES),
        Island("mainland", 5, tree_seed=5, species=144, trains=SEES),
    )
}
"""By name. ``twin`` is the published island seen by a CLIP of another training."""


def of_kind(kind: str) -> Island | None:
    """The island of ``pocket`` or ``pocket@<name>``; None for another kind of source.

    Raises:
        UserError: no island has that name.
    """
    start, _, name = kind.partition("@")
    if start != PREFIX:
        return None
    if name not in ISLANDS or kind == f"{PREFIX}@":
        raise UserError(f"There is no island {name!r}; write {', '.join(island.kind for island in ISLANDS.values())}.")
    return ISLANDS[name]
