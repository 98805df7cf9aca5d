"""What is known of the pictures: factors as codes, the tree that their ranks make, a line of words for each picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from jaxtyping import Int

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.steering.asking import asking_of
from vlm_sae_lib.taxonomy import RANKS


@dataclass(frozen=True, eq=False)
class Factor:
    """One thing that is known of each picture.

    Attributes:
        values: in the order in which ties between them are decided, the alphabet's.
        codes: which value each picture shows; -1 where that is unknown.
        nodes: for a rank, the node of the tree that each value is; else None.
    """

    name: str
    values: tuple[str, ...]
    codes: Int[np.ndarray, " n"]
    nodes: Int[np.ndarray, " values"] | None = None

    @property
    def counts(self) -> Int[np.ndarray, " values"]:
        """How many pictures show each value."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))


@dataclass(frozen=True)
class Node:
    """A taxon: its name, its rank's place from 0, the place of the taxon above it, and how many pictures show it."""

    name: str
    rank: int
    parent: int | None
    pictures: int


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of some pictures, row by row as in ``image_ids``; of those of which nothing is, no factors."""

    image_ids: Int[np.ndarray, " n"]
    factors: tuple[Factor, ...] = ()
    tree: tuple[Node, ...] = ()
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: Any, image_ids: Sequence[int]) -> Self:
        """What a source of pictures knows of those with these ids.

        Raises:
            UserError: the source does not hold one of them.
        """
        ids = np.asarray(image_ids, dtype=np.int64)
        table = None if source is None else source.factors
        if table is None:
            return cls(ids, labels=("",) * len(ids))
        if missing := np.setdiff1d(ids, table.index).tolist():
            raise UserError(f"{source.name} holds no picture {missing[0]}, and the store does: take the same pictures.")
        table = table.loc[ids]
        try:
            asking = asking_of(table)
        except UserError:  # it knows something, and nothing that this book has words for
            return cls(ids, labels=("",) * len(ids))
        tree, factors = _tree(table) if set(RANKS) <= set(table) else ((), {})
        for name in asking.columns:
            if name not in factors:
                factors[name] = _factor(name, table[name])
        labels = tuple(_label(asking.label, row) for row in table.to_dict("records"))
        return cls(ids, tuple(factors[name] for name in asking.columns), tree, labels)

    def factor(self, name: str) -> Factor | None:
        return next((factor for factor in self.factors if factor.name == name), None)


def _factor(name: str, column: pd.Series) -> Factor:
    there = column.notna().to_numpy()
    codes = np.full(len(column), -1)
    values, codes[there] = np.unique(column[there].astype(str).to_numpy(), return_inverse=True)
    return Factor(name, tuple(values.tolist()), codes)


def _tree(table: pd.DataFrame) -> tuple[tuple[Node, ...], dict[str, Factor]]:
    """The taxa, each behind the one above it, and the ranks as factors.

    A taxon is its whole path: two genera of one name in two families are two taxa.
    """
    paths = list(zip(*(table[rank].astype(str) for rank in RANKS), strict=True))
    counts: dict[tuple[str, ...], int] = {}
    for path in paths:
        for depth in range(1, len(RANKS) + 1):
            counts[path[:depth]] = counts.get(path[:depth], 0) + 1
    taxa = sorted(counts)  # a path sorts behind its own beginnings
    places = {path: i for i, path in enumerate(taxa)}
    nodes = tuple(Node(path[-1], len(path) - 1, places.get(path[:-1]), counts[path]) for path in taxa)
    factors = {}
    for depth, rank in enumerate(RANKS):
        own = sorted((path for path in taxa if len(path) == depth + 1), key=lambda path: (path[-1], path))
        number = {path: i for i, path in enumerate(own)}
        codes = np.array([number[path[: depth + 1]] for path in paths], dtype=np.int64)
        factors[rank] = Factor(rank, tuple(path[-1] for path in own), codes, np.array([places[path] for path in own]))
    return nodes, factors


def _label(pattern: str, row: dict[str, Any]) -> str:
    """A picture in words: as its questions label it, or by what of that is known."""
    if pattern.startswith("a {order}"):  # the island's, of which more is known than the label says
        pattern = "{colour} {pattern} {order}, {species}, in the {habitat}"
    elif "species" in row:
        pattern = "{species}"
    return pattern.format(**{name: "unknown" if pd.isna(value) else value for name, value in row.items()})
