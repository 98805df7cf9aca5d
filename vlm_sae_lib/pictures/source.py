"""The source of pictures: what is known of each, and how they are read."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64
from PIL import Image

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import content_hash
from vlm_sae_lib.pictures.decoding import in_processes, in_threads, workers_for
from vlm_sae_lib.pictures.reading import Readable, facts, read, square
from vlm_sae_lib.terms import UNKNOWN, Credit, Terms, credit_of, credited


@dataclass(frozen=True)
class Item:
    """One candidate: a file, its bytes or a picture in memory, the name it is reported under, the folder it lies in."""

    image_id: int
    name: str
    picture: Readable
    folder: str | None = None


class PictureSource:
    """Pictures in a fixed order; an image id is the position among all candidates, readable or not.

    Attributes: ``name`` (never an absolute path), ``names`` and ``folders`` (one per image id; a folder is the
    iNaturalist-style or class-folder name, or None), ``unreadable`` (``(image_id, name, reason)``, filled as the
    source is read), ``root`` (the folder read from, or None), ``terms`` (on which the pictures come; each that is given
    says so, see ``terms.credit_of``).

    ``describe`` makes ``factors`` of the items: one row each, or None where nothing is known. With ``trust_sizes`` the
    fingerprint takes files by name and size, which saves reading a set that never changes.
    """

    def __init__(
        self,
        name: str,
        items: Sequence[Item],
        *,
        root: Path | None = None,
        terms: Terms = UNKNOWN,
        trust_sizes: bool = False,
        describe: Callable[[Sequence[Item]], pd.DataFrame | None] | None = None,
    ):
        self.name = name
        self.root = root
        self.terms = terms
        self.names = [item.name for item in items]
        self.folders: list[str | None] = [item.folder for item in items]
        self.unreadable: list[tuple[int, str, str]] = []
        self._items = list(items)
        self._trust_sizes = trust_sizes
        self._describe = describe

    def __len__(self) -> int:
        """Candidates, readable or not."""
        return len(self.ids)

    def __iter__(self) -> Iterator[tuple[int, Image.Image]]:
        return self.iterate()

    @cached_property
    def ids(self) -> Int64[np.ndarray, " n"]:
        """The image ids held, ascending."""
        return np.array([item.image_id for item in self._items], dtype=np.int64)

    @cached_property
    def factors(self) -> pd.DataFrame | None:
        """What is known of each picture, one row per id held (the index, ``image_id``); None where nothing is.

        Columns: the seven ranks, lower case, ``species`` being ``<genus> <epithet>`` (iNaturalist); ``wnid`` and
        ``class`` (ImageNet); ``class`` (a folder of class folders, a labelled data set of the hub).
        """
        known = self._describe(self._items) if self._describe else None
        return None if known is None else known.set_axis(pd.Index(self.ids, name="image_id"))

    def iterate(
        self,
        first: int = 0,
        transform: Callable[[Image.Image], Any] | None = None,
        workers: int | None = None,
    ) -> Iterator[tuple]:
        """Yield ``(image_id, RGB picture)``, or ``(image_id, transform(picture))``, from image id ``first`` on.

        Files are decoded a short way ahead, so that large pictures do not pile up in memory; the order is always that
        of the ids. ``workers`` processes do it, or with 0 a few threads; None leaves the choice to the number of files
        and of cores. A transform runs in a copy of this process then: what it stores elsewhere is lost.
        """
        self.unreadable.clear()
        for item, (picture, reason) in self._read(first, transform, workers):
            if reason is None:
                yield item.image_id, self._credited(picture, item.image_id)
            else:
                self.unreadable.append((item.image_id, item.name, reason))

    def _read(self, first: int, transform: Callable | None, workers: int | None) -> Iterator[tuple]:
        """``(item, (picture, None))`` or ``(item, (None, reason))`` for each candidate."""
        items = [item for item in self._items if item.image_id >= first]
        pictures = [item.picture for item in items]
        workers = workers_for(pictures) if workers is None else workers
        outcomes = in_processes(pictures, transform, workers) if workers else in_threads(pictures, transform)
        return zip(items, outcomes, strict=True)

    def picture(self, image_id: int, size: int | None = None) -> Image.Image:
        """One picture by its id, RGB; with ``size``, its largest centred square at ``size`` × ``size`` pixels.

        Raises:
            UserError: an id that the source does not hold, or a file that cannot be read, which is named.
        """
        item = self._item(int(image_id))
        found, reason = read(item.picture, partial(square, size=size) if size else None)
        if reason is not None:
            raise UserError(f"{item.name} of {self.name} cannot be read ({reason}): replace it, or take another one.")
        return self._credited(found, item.image_id)

    def _credited(self, picture: Any, image_id: int) -> Any:
        """A picture with its terms, unless it came with some; what a transform made of it may be none any more."""
        if not isinstance(picture, Image.Image) or credit_of(picture) != Credit():
            return picture
        return credited(picture, Credit(self.terms, image_id, self.folders[image_id]))

    def _item(self, image_id: int) -> Item:
        self._hold([image_id])
        return self._items[int(np.searchsorted(self.ids, image_id))]

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what determines the pictures: their ids, names, sizes and bytes.

        ImageNet and iNaturalist, which never change and hold a hundred gigabytes, are taken by name and size alone.
        """
        with ThreadPoolExecutor(min(4, cpu_count() or 1)) as pool:
            prints = list(pool.map(lambda item: facts(item.picture, self._trust_sizes), self._items))
        return content_hash(
            [[item.image_id, item.name, *print_] for item, print_ in zip(self._items, prints, strict=True)]
        )

    def subset(self, ids: Sequence[int]) -> "PictureSource":
        """The pictures with these ids, in ascending order; each keeps its id, so ``folders`` and ``names`` still fit.

        Raises:
            UserError: an id that the source does not hold.
        """
        ids = self._hold(ids)
        chosen = PictureSource(self._name_of(ids), [self._item(i) for i in ids], root=self.root, terms=self.terms,
                               trust_sizes=self._trust_sizes, describe=lambda _: self._factors_of(ids))
        chosen.names, chosen.folders = self.names, self.folders
        return chosen

    def _hold(self, ids: Sequence[int]) -> list[int]:
        """The ids, ascending, each once; UserError for one that is not held."""
        ids = sorted({int(i) for i in ids})
        if missing := np.setdiff1d(ids, self.ids).tolist():
            raise UserError(f"{self.name} holds no picture {int(missing[0])}: its ids end at {self.ids[-1]}.")
        return ids

    def _name_of(self, ids: Sequence[int]) -> str:
        return f"{self.name}[{len(ids)} of {len(self)}]"

    def _factors_of(self, ids: Sequence[int]) -> pd.DataFrame | None:
        return None if self.factors is None else self.factors.loc[ids]
