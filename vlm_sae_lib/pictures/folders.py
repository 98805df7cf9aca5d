"""Sources that are folders: any folder, ImageNet's and iNaturalist 2021's class folders."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures import facts
from vlm_sae_lib.pictures.reading import printable
from vlm_sae_lib.pictures.source import Item, PictureSource
from vlm_sae_lib.terms import IMAGENET, INAT2021, UNKNOWN, Terms

WORDNET_FOLDER = re.compile(r"n\d{8}($|_)")
TAXON_FOLDER = re.compile(r"\d+(_[^_]+){7}$")
SPLITS = ("train", "train_mini", "val")  # ImageNet's and iNaturalist's folders of class folders
Describe = Callable[[Sequence[Item]], pd.DataFrame | None]


def plain_folder(root: Path) -> PictureSource:
    """Every file below ``root`` but dot-files, sorted by relative POSIX name."""
    return _folder(root, root.resolve().name, lambda items: facts.of_folder([item.name for item in items]))


def imagenet(path: str) -> PictureSource:
    """ImageNet's folders, ``n01440764`` or ``n01440764_<any words>``, below ``path`` or below its ``val``."""
    return _class_folders(path, "imagenet", WORDNET_FOLDER, "WordNet ids such as n01440764", IMAGENET,
                          lambda items: facts.of_imagenet([str(item.folder) for item in items]))  # fmt: skip


def inat2021(path: str | Path, name: str = "inat2021") -> PictureSource:
    """iNaturalist's folders of eight parts, below ``path`` or below its ``val``."""
    return _class_folders(path, name, TAXON_FOLDER, "eight parts, 00042_<kingdom>_…_<genus>_<species>", INAT2021,
                          lambda items: facts.of_inat2021([str(item.folder) for item in items]))  # fmt: skip


def _class_folders(
    path: str | Path, kind: str, pattern: re.Pattern, expected: str, terms: Terms, describe: Describe
) -> PictureSource:
    root = Path(path).expanduser()
    if not path or not root.is_dir():
        raise UserError(f"{kind}:{path} names no folder: give the one that holds the class folders, or the one above.")
    root = root / "val" if (root / "val").is_dir() else root
    if splits := [split for split in SPLITS if (root / split).is_dir()]:
        choice = " or ".join(f"{kind}:{Path(path) / split}" for split in splits)
        raise UserError(f"{kind}:{path} has no val folder: say which pictures you mean by {choice}.")
    source = _folder(root, kind, describe, terms, trust_sizes=True)
    for name, folder in zip(source.names, source.folders, strict=True):
        if "/" not in name or not pattern.match(folder):
            raise UserError(f"{name} does not lie in a class folder of {kind}, whose names have {expected}.")
    return source


def _folder(
    root: Path, name: str, describe: Describe, terms: Terms = UNKNOWN, *, trust_sizes: bool = False
) -> PictureSource:
    try:
        os.scandir(root).close()
    except OSError as error:
        raise UserError(f"The folder {root} cannot be read ({error.strerror}): name one that you may read.") from error
    found = sorted((printable(path.relative_to(root).as_posix()), path) for path in _walk(root))
    if not found:
        raise UserError(f"The folder {root} holds no files: put pictures into it or name another one.")
    items = [Item(i, name, path, printable(path.parent.name)) for i, (name, path) in enumerate(found)]
    return PictureSource(
        printable(name), items, root=root.resolve(), terms=terms, trust_sizes=trust_sizes, describe=describe
    )


def _walk(root: Path) -> Iterator[Path]:
    """All below a folder but dot-files: files, links that lead nowhere, what is neither file nor folder, and folders
    that cannot be looked into, so that each is reported by name. Linked folders are followed, each real folder once.
    """
    todo, seen = [root], set()
    while todo:
        folder = todo.pop()
        try:
            status = folder.stat()
            if (key := (status.st_dev, status.st_ino)) in seen:
                continue
            seen.add(key)
            with os.scandir(folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError:
            yield folder
            continue
        inner = []
        for entry in entries:
            if not entry.name.startswith("."):
                path = Path(entry.path)
                if _is_folder(entry):
                    inner.append(path)
                else:
                    yield path
        todo += reversed(inner)  # the next is the first by name, with all below it


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or to where one may not look
        return False
