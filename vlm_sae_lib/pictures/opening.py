"""From what names a source of pictures to the source."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures.folders import imagenet, inat2021, plain_folder
from vlm_sae_lib.pictures.reading import printable
from vlm_sae_lib.pictures.source import Item, PictureSource
from vlm_sae_lib.pocket.islands import Island, of_kind

KNOWN_SOURCES = (
    '"pocket", "pocket:<n>:<seed>", "pocket@<island>:<n>:<seed>", "folder:<path>", "imagenet:<path>", '
    '"inat2021:<path>", "inat2021-sample:<species>:<split>[:<of>]", '
    '"hf-datasets:<repo or folder>:[<configuration>/]<split>:<n>", a folder\'s path'
)


def load_pictures(source: Any) -> PictureSource:
    """Open a source of pictures.

    Args:
        source: ``"pocket"``, ``"pocket:<n>"`` or ``"pocket:<n>:<seed>"`` (default 1000, seed 0), of another island
            ``"pocket@<island>:<n>:<seed>"``; ``"folder:<path>"`` or a path; ``"imagenet:<path>"`` and
            ``"inat2021:<path>"`` (the folder of class folders, or the folder above its ``val``);
            ``"inat2021-sample:<species>:<split>[:<of>]"``, which fetches the public validation pictures of
            iNaturalist 2021 once (split: train, choosing or test; of: so many of these species; see ``sample``);
            ``"hf-datasets:<repo>[@<revision>]:[<configuration>/]<split>:<n>"``, the first n pictures of a data set of
            the hub, streamed, or of a folder laid out like one; a list of paths or PIL pictures; or a source, which is
            returned as it is.

    Raises:
        UserError: an unknown source, a missing or empty folder, class folders with foreign names, a data set that
            cannot be fetched.
    """
    if hasattr(source, "unreadable"):
        return source
    if isinstance(source, list | tuple):
        return _from_list(source)
    if not isinstance(source, str | os.PathLike):
        raise UserError(f"{type(source).__name__} is no source of pictures; known are {KNOWN_SOURCES}, a list.")
    kind, _, rest = str(source).partition(":") if isinstance(source, str) else ("folder", "", os.fspath(source))
    if (island := of_kind(kind)) is not None:
        return _pocket(str(source), rest, island)
    if kind == "imagenet":
        return imagenet(rest)
    if kind == "inat2021":
        return inat2021(rest)
    if kind == "inat2021-sample":
        from vlm_sae_lib.pictures.sample import inat2021_sample

        return inat2021_sample(str(source), rest)
    if kind == "hf-datasets":
        from vlm_sae_lib.pictures.hf_datasets import hf_datasets

        return hf_datasets(str(source), rest)
    path = Path(rest if kind == "folder" else source).expanduser()
    if os.path.isfile(path):  # pathlib's own raises where one may not look
        return _from_list([path])
    if not os.path.isdir(path):
        raise UserError(f"{source} is neither a folder nor a source of pictures; known are {KNOWN_SOURCES}.")
    return plain_folder(path)


def _from_list(pictures: Sequence) -> PictureSource:
    items = []
    for i, picture in enumerate(pictures):
        if isinstance(picture, Image.Image):
            items.append(Item(i, f"picture {i}", picture))
        elif isinstance(picture, str | os.PathLike):
            path = Path(picture).expanduser()
            real = Path(os.path.realpath(path))  # pathlib's own raises for a link in a circle
            items.append(Item(i, printable(path.name), path, printable(real.parent.name)))
        else:
            raise UserError(f"Item {i} of the list is a {type(picture).__name__}: give paths or PIL pictures.")
    if not items:
        raise UserError("The list of pictures is empty: give at least one path or PIL picture.")
    return PictureSource(f"list of {len(items)}", items)


def _pocket(source: str, rest: str, island: Island) -> Any:
    """PocketPictures, which are no PictureSource and answer as one."""
    from vlm_sae_lib.pocket.world import pocket_pictures

    numbers = rest.split(":") if rest else []
    if len(numbers) > 2 or not all(number.isdecimal() for number in numbers) or numbers[:1] == ["0"]:
        raise UserError(f'{source} is no pocket source: write "pocket", "pocket:<n>" or "pocket:<n>:<seed>".')
    n, seed = [int(number) for number in numbers] + [1000, 0][len(numbers):]
    return pocket_pictures(n, seed, island)
