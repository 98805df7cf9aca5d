"""What a source knows about its pictures from the folders they lie in: seven ranks, a WordNet name, a class."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import pandas as pd

from vlm_sae_lib import wordnet
from vlm_sae_lib.taxonomy import RANKS, rank_names


def of_inat2021(folders: Sequence[str]) -> pd.DataFrame:
    """The seven ranks (``taxonomy.RANKS``), lower case, of pictures in these taxon folders; one row each."""
    taxa = list(dict.fromkeys(folders))
    known = pd.DataFrame([rank_names(taxon) for taxon in taxa], index=taxa, columns=list(RANKS))
    return known.loc[list(folders)].reset_index(drop=True)


def of_imagenet(folders: Sequence[str]) -> pd.DataFrame:
    """``wnid`` and ``class`` of pictures in these WordNet folders.

    The class is WordNet's first name, lower case; of the few names that two classes share, with what each is a kind of.
    """
    words = cache(_wordnet_name)
    return pd.DataFrame({"wnid": [folder[:9] for folder in folders], "class": [words(folder) for folder in folders]})


def of_folder(names: Sequence[str]) -> pd.DataFrame | None:
    """``class`` of pictures with these relative names, if there are two class folders or more.

    As torchvision's ImageFolder has it, the class is the folder right below the root, however deep a file lies. A file
    at the root has none: what strays there (a note, a thumbnail's index, a picture) costs the others nothing.
    """
    classes = [folder if rest else None for folder, _, rest in (name.partition("/") for name in names)]
    return pd.DataFrame({"class": classes}) if len(set(classes) - {None}) > 1 else None


def _wordnet_name(folder: str) -> str:
    """The first lemma of a folder ``n02002724`` or ``n02002724_black_stork``, else the folder's own words."""
    wnid, _, own = folder.partition("_")
    if wnid in wordnet.titles():
        return wordnet.titles()[wnid]
    lemma = _lemmas().get(wnid, "").split(",")[0].strip() or re.sub("_+", " ", own).strip() or wnid
    return lemma.lower()


@cache
def _lemmas() -> dict[str, str]:
    """WordNet id to its lemmas, of all 21,841 synsets of ImageNet; the list travels with timm."""
    from timm.data import ImageNetInfo

    lemmas: Any = ImageNetInfo("imagenet-22k").label_descriptions(as_dict=True)
    return lemmas
