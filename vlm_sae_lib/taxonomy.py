"""Ranks, paths and lowest common ancestors of iNaturalist-style folder names."""

from collections.abc import Iterable, Sequence
from pathlib import PurePath

from vlm_sae_lib.errors import UserError

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")

TaxonPath = tuple[str, ...]


def taxon_path(folder: str) -> TaxonPath:
    """The seven names in a folder such as ``00042_Animalia_Arthropoda_…_Coccinella_septempunctata``, kingdom first.

    The leading index is dropped. Underscores beyond the seventh name belong to the species.

    Raises:
        UserError: no index in front, or fewer than seven names behind it.
    """
    if not isinstance(folder, str | PurePath):
        raise UserError(f"{folder!r} is no folder name; give one such as 00042_Animalia_…, or leave that picture out.")
    name = PurePath(folder).name
    index, *names = name.split("_", len(RANKS))
    if not index.isdigit() or len(names) < len(RANKS) or not all(names):
        raise UserError(
            f"{name!r} is no iNaturalist folder name; it should read like "
            "00042_Animalia_Arthropoda_Insecta_Coleoptera_Coccinellidae_Coccinella_septempunctata."
        )
    return tuple(names)


def as_path(path: str | Sequence[str]) -> TaxonPath:
    """A path as it is, or the path in a folder's name."""
    return tuple(path) if isinstance(path, Iterable) and not isinstance(path, str | bytes) else taxon_path(path)


def rank_names(path: str | Sequence[str]) -> dict[str, str]:
    """Rank to name, lower case, of a path or of a folder's name.

    The species is ``<genus> <epithet>``: an epithet alone, such as *vulgaris*, stands for hundreds of species.

    Raises:
        UserError: no iNaturalist folder name; see ``taxon_path``. A path of another length.
    """
    if len(found := as_path(path)) != len(RANKS):
        raise UserError(f"The path {found} has {len(found)} names; give the seven from kingdom to species.")
    names = dict(zip(RANKS, (name.lower() for name in found), strict=True))
    return names | {"species": f"{names['genus']} {names['species']}"}


def lca_depth(path_a: str | Sequence[str], path_b: str | Sequence[str]) -> int:
    """Depth of the lowest common ancestor: how many names two paths share from the root (paper v3 App. E.3).

    Args:
        path_a, path_b: names from the root down, or iNaturalist folder names.

    Returns:
        0 (different kingdoms) to 7 (same species).
    """
    depth = 0
    for a, b in zip(as_path(path_a), as_path(path_b), strict=False):
        if a != b:
            break
        depth += 1
    return depth


def taxonomy_fractions(folders: Sequence[str]) -> tuple[float, ...]:
    """Matryoshka group fractions in the proportions of the first five ranks' counts (paper App. E.3)."""
    parsed = [taxon_path(folder) for folder in folders if folder]
    if not parsed:
        raise UserError("No picture lies in a taxonomy folder; give pictures in iNaturalist folders.")
    counts = [len({path[: rank + 1] for path in parsed}) for rank in range(5)]
    return tuple(count / sum(counts) for count in counts)
