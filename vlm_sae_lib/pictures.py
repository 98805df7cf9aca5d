"""Sources of pictures: the pocket world, a folder, ImageNet, iNaturalist 2021, or what the caller holds in hand.

A source gives pictures as ``(image_id, RGB picture)`` in ascending id. A file that cannot be read keeps its id, is
skipped, and is listed by name in ``unreadable``: one bad file must never cost the others.
"""

import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import content_hash

KNOWN_SOURCES = '"pocket", "pocket:<n>:<seed>", "folder:<path>", "imagenet:<path>", "inat2021:<path>", a folder\'s path'


@dataclass(frozen=True)
class Item:
    """One candidate: a file or a picture in memory, the name it is reported under, and the folder it lies in."""

    image_id: int
    name: str
    picture: Path | Image.Image
    folder: str | None = None


class PictureSource:
    """Pictures in a fixed order; an image id is the position among all candidates, readable or not.

    Attributes: ``name`` (never an absolute path), ``names`` and ``folders`` (one per image id; a folder is the
    iNaturalist-style or class-folder name, or None), ``unreadable`` (``(image_id, name, reason)``, filled as the
    source is read), ``root`` (the folder read from, or None).
    """

    def __init__(self, name: str, items: Sequence[Item], *, root: Path | None = None, trust_sizes: bool = False):
        self.name = name
        self.root = root
        self.names = [item.name for item in items]
        self.folders: list[str | None] = [item.folder for item in items]
        self.unreadable: list[tuple[int, str, str]] = []
        self._items = list(items)
        self._trust_sizes = trust_sizes
        self._fingerprint: str | None = None

    def __len__(self) -> int:
        """Candidates, readable or not."""
        return len(self._items)

    def __iter__(self) -> Iterator[tuple[int, Image.Image]]:
        return self.iterate()

    def iterate(self, first: int = 0, transform: Callable[[Image.Image], Any] | None = None) -> Iterator[tuple]:
        """Yield ``(image_id, RGB picture)``, or ``(image_id, transform(picture))``, from image id ``first`` on.

        Files are decoded by a few threads a short way ahead, so that large pictures do not pile up in memory; the
        order is always that of the ids.
        """
        self.unreadable.clear()
        todo = (item for item in self._items if item.image_id >= first)
        workers = min(4, os.cpu_count() or 1)
        with ThreadPoolExecutor(workers) as pool:
            ahead: deque = deque()
            for item in todo:
                ahead.append((item, pool.submit(_read, item.picture, transform)))
                if len(ahead) > 2 * workers:
                    yield from self._take(ahead)
            while ahead:
                yield from self._take(ahead)

    def _take(self, ahead: deque) -> Iterator[tuple]:
        item, future = ahead.popleft()
        picture, reason = future.result()
        if reason is None:
            yield item.image_id, picture
        else:
            self.unreadable.append((item.image_id, item.name, reason))

    @property
    def fingerprint(self) -> str:
        """Hash of what determines the pictures: their ids, names, sizes and bytes.

        ImageNet and iNaturalist, which never change and hold a hundred gigabytes, are taken by name and size alone.
        """
        if self._fingerprint is None:
            with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
                prints = list(pool.map(lambda item: _fingerprint(item.picture, self._trust_sizes), self._items))
            facts = [[item.image_id, item.name, *facts] for item, facts in zip(self._items, prints, strict=True)]
            self._fingerprint = content_hash(facts)
        return self._fingerprint

    def subset(self, ids: Sequence[int]) -> "PictureSource":
        """The pictures with these ids, in ascending order; each keeps its id, so ``folders`` and ``names`` still fit.

        Raises:
            UserError: an id that the source does not hold.
        """
        held = {item.image_id: item for item in self._items}
        ids = sorted({int(i) for i in ids})
        if missing := [i for i in ids if i not in held]:
            raise UserError(f"{self.name} holds no picture {missing[0]}: its ids end at {max(held)}.")
        chosen = PictureSource(f"{self.name}[{len(ids)} of {len(self)}]", [held[i] for i in ids], root=self.root,
                               trust_sizes=self._trust_sizes)
        chosen.names, chosen.folders = self.names, self.folders
        return chosen


def load_pictures(source: Any) -> PictureSource:
    """Open a source of pictures.

    Args:
        source: ``"pocket"``, ``"pocket:<n>"`` or ``"pocket:<n>:<seed>"`` (default 1000, seed 0); ``"folder:<path>"``
            or a path; ``"imagenet:<path>"`` and ``"inat2021:<path>"`` (the folder of class folders, or the folder
            above its ``val``); a list of paths or PIL pictures; or a source, which is returned as it is.

    Raises:
        UserError: an unknown source, a missing or empty folder, class folders with foreign names.
    """
    if hasattr(source, "unreadable"):
        return source
    if isinstance(source, list | tuple):
        return _from_list(source)
    if not isinstance(source, str | os.PathLike):
        raise UserError(f"{type(source).__name__} is no source of pictures; known are {KNOWN_SOURCES}, a list.")
    kind, _, rest = str(source).partition(":") if isinstance(source, str) else ("folder", "", os.fspath(source))
    if kind == "pocket":
        return _pocket(source, rest)
    if kind == "imagenet":
        return _class_folders(rest, "imagenet", re.compile(r"n\d{8}($|_)"), "WordNet ids such as n01440764")
    if kind == "inat2021":
        eight = re.compile(r"\d+(_[^_]+){7}$")
        return _class_folders(rest, "inat2021", eight, "eight parts, 00042_<kingdom>_…_<genus>_<species>")
    path = Path(rest if kind == "folder" else source).expanduser()
    if path.is_file():
        return _from_list([path])
    if not path.is_dir():
        raise UserError(f"{source} is neither a folder nor a source of pictures; known are {KNOWN_SOURCES}.")
    return _folder(path, path.resolve().name)


def to_rgb(picture: Image.Image) -> Image.Image:
    """Any PIL picture as upright RGB: EXIF rotation applied, grey, palette, CMYK and 16-bit converted."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I;16"):  # convert("RGB") would clip every value above 255 to white
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def _read(picture: Path | Image.Image, transform: Callable | None) -> tuple[Any, str | None]:
    """The picture (transformed) and None, or None and the reason in words free of paths and of library versions."""
    try:
        if isinstance(picture, Image.Image):
            rgb = to_rgb(picture)
        else:
            if picture.stat().st_size == 0:
                return None, "empty file"
            with Image.open(picture) as opened:
                opened.load()  # decodes every row: a truncated file fails here and not later
                rgb = to_rgb(opened)
    except UnidentifiedImageError:
        return None, "not a picture"
    except FileNotFoundError:
        return None, "no such file"
    except PermissionError:
        return None, "no permission to read it"
    except Exception:  # PIL's decoders raise anything on damaged files: OSError, SyntaxError, struct.error, ...
        return None, "damaged or truncated"
    try:
        return (rgb if transform is None else transform(rgb)), None
    except Exception as error:  # a picture of one pixel, or a thousand times as long as it is high
        return None, f"{'×'.join(map(str, rgb.size))} pixels, which preprocessing refuses ({type(error).__name__})"


def _fingerprint(picture: Path | Image.Image, trust_size: bool) -> list:
    if isinstance(picture, Image.Image):
        rgb = to_rgb(picture)
        return [list(rgb.size), hashlib.sha256(rgb.tobytes()).hexdigest()]
    try:
        size = picture.stat().st_size
        if trust_size:
            return [size]
        with open(picture, "rb") as file:
            return [size, hashlib.file_digest(file, "sha256").hexdigest()]
    except OSError:
        return ["cannot be opened"]


def _from_list(pictures: Sequence) -> PictureSource:
    items = []
    for i, picture in enumerate(pictures):
        if isinstance(picture, Image.Image):
            items.append(Item(i, f"picture {i}", picture))
        elif isinstance(picture, str | os.PathLike):
            path = Path(picture).expanduser()
            items.append(Item(i, _printable(path.name), path, _printable(path.resolve().parent.name)))
        else:
            raise UserError(f"Item {i} of the list is a {type(picture).__name__}: give paths or PIL pictures.")
    if not items:
        raise UserError("The list of pictures is empty: give at least one path or PIL picture.")
    return PictureSource(f"list of {len(items)}", items)


def _pocket(source: str, rest: str) -> PictureSource:
    from vlm_sae_lib.pocket.world import pocket_pictures

    numbers = rest.split(":") if rest else []
    if len(numbers) > 2 or not all(number.isdecimal() for number in numbers) or numbers[:1] == ["0"]:
        raise UserError(f'{source} is no pocket source: write "pocket", "pocket:<n>" or "pocket:<n>:<seed>".')
    n, seed = [int(number) for number in numbers] + [1000, 0][len(numbers):]
    return pocket_pictures(n, seed)


def _class_folders(path: str, kind: str, pattern: re.Pattern, expected: str) -> PictureSource:
    root = Path(path).expanduser()
    if not path or not root.is_dir():
        raise UserError(f"{kind}:{path} names no folder: give the one that holds the class folders, or the one above.")
    root = root / "val" if (root / "val").is_dir() else root
    source = _folder(root, kind, trust_sizes=True)
    for name, folder in zip(source.names, source.folders, strict=True):
        if "/" not in name or not pattern.match(folder):
            raise UserError(f"{name} does not lie in a class folder of {kind}, whose names have {expected}.")
    return source


def _folder(root: Path, name: str, *, trust_sizes: bool = False) -> PictureSource:
    """Every file below ``root`` but dot-files, sorted by relative POSIX name."""
    found = sorted((_printable(path.relative_to(root).as_posix()), path) for path in _walk(root, set()))
    if not found:
        raise UserError(f"The folder {root} holds no files: put pictures into it or name another one.")
    items = [Item(i, name, path, _printable(path.parent.name)) for i, (name, path) in enumerate(found)]
    return PictureSource(_printable(name), items, root=root.resolve(), trust_sizes=trust_sizes)


def _walk(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Files and dangling links below a folder; linked folders are followed, each real folder once."""
    status = folder.stat()
    if (key := (status.st_dev, status.st_ino)) in seen:
        return
    seen.add(key)
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(Path(entry.path), seen)
        elif entry.is_file() or entry.is_symlink():
            yield Path(entry.path)


def _printable(name: str) -> str:
    """A file name as valid Unicode: bytes that are not UTF-8 appear as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
