"""How deep in the taxonomy the pictures of a neuron, or of a Matryoshka level, have their common ancestor."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from vlm_sae_lib.arrays import real_array
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.statistics.inputs import top_image_table
from vlm_sae_lib.taxonomy import TaxonPath, as_path

Reduce = Literal["mean", "rounded_mean", "mode"]
REDUCTIONS: tuple[Reduce, ...] = ("mean", "rounded_mean", "mode")
BLOCK = 4096  # neurons whose pair depths are held at once


def neuron_depth(paths_of_top_images: Sequence[str | Sequence[str]], reduce: Reduce = "mean") -> float:
    """Depth of the lowest common ancestor, over all pairs of a neuron's top images (paper v3 App. E.3).

    Args:
        paths_of_top_images: one taxonomy path or iNaturalist folder name per image, most active image first.
        reduce: "mean"; "rounded_mean", the paper's, with halves to the even neighbour; "mode", which takes among ties
            the depth met first when the pairs are gone through as `itertools.combinations` does.

    Returns:
        0 to 7; NaN with fewer than two images.
    """
    codes = _prefix_codes([as_path(path) for path in paths_of_top_images])
    top = np.arange(len(codes))[None]
    return float(_reduce_depths(_pair_depths(top, codes), reduce)[0])


def level_depth(
    top_images: Int[np.ndarray, "n_neurons k"],
    folders: Sequence[str | None],
    group_sizes: Sequence[int],
    *,
    valid: Bool[np.ndarray, " n_neurons"] | None = None,
    reduce: Reduce = "mean",
) -> Float[np.ndarray, " n_groups"]:
    """Mean depth of the neurons of each Matryoshka level (paper v3 Tab. A8).

    Args:
        top_images: image ids per neuron, most active first, -1 where there is none.
        folders: one iNaturalist folder name per image id.
        group_sizes: neurons per level, outermost level first.
        valid: which neurons count; by default those with a full row of images ("fewer_than_16_images" is left out).
        reduce: how the pairs of one neuron become its depth, as in `neuron_depth`.

    Returns:
        (n_groups,); NaN for a level without a valid neuron.
    """
    top = top_image_table(top_images)
    depths = neuron_depths(top, folders, reduce=reduce)
    given = real_array(group_sizes, "The group sizes")
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise UserError(f"The group sizes {given.tolist()} are no list of whole numbers; give the neurons per level.")
    sizes = given.tolist()
    if sum(sizes) != len(top) or min(sizes, default=1) < 0:
        raise UserError(f"The groups {sizes} hold {sum(sizes)} neurons, but there are top images of {len(top)}.")
    counted = (top >= 0).all(axis=1) if valid is None else real_array(valid, "The truth values of valid")
    if not np.isin(counted, (0, 1)).all():
        raise UserError("valid holds more than True and False; give one truth value for each neuron.")
    counted = counted.astype(bool)
    if counted.shape != (len(top),):
        raise UserError(f"valid has shape {counted.shape}; give one truth value for each of the {len(top)} neurons.")
    depths = np.where(counted, depths, np.nan)
    groups = np.split(depths, np.cumsum(sizes)[:-1]) if sizes else []
    kept = [group[~np.isnan(group)] for group in groups]
    return np.array([group.mean() if len(group) else np.nan for group in kept])


def neuron_depths(
    top_images: Int[np.ndarray, "n_neurons k"], folders: Sequence[str | None], *, reduce: Reduce = "mean"
) -> Float[np.ndarray, " n_neurons"]:
    """`neuron_depth` of every neuron; pairs with a missing image (-1) are left out, NaN where none is left."""
    top, folders = top_image_table(top_images), list(folders)
    used = np.unique(top[top >= 0])
    if len(used) and used[-1] >= len(folders):
        raise UserError(f"Image id {used[-1]} has no folder name; there are only {len(folders)} of them.")
    nameless = [int(i) for i in used if not isinstance(folders[i], Sequence)]  # pandas writes a missing one as NaN
    if nameless:
        raise UserError(f"Image {nameless[0]} lies in no taxonomy folder; give pictures in iNaturalist folders.")
    codes = _prefix_codes([as_path(folders[i]) for i in used])
    places = np.where(top >= 0, np.searchsorted(used, top), -1)
    blocks = [places[start : start + BLOCK] for start in range(0, len(places), BLOCK)]
    return np.concatenate([np.empty(0), *(_reduce_depths(_pair_depths(block, codes), reduce) for block in blocks)])


def _prefix_codes(paths: Sequence[TaxonPath]) -> Int[np.ndarray, "n_images ranks"]:
    """One number for each prefix of each path, so that equal numbers mean a common ancestor; -1 past a path's end."""
    known: dict[TaxonPath, int] = {}
    codes = np.full((len(paths), max(map(len, paths), default=0)), -1)
    for row, path in enumerate(paths):
        for rank in range(len(path)):
            codes[row, rank] = known.setdefault(path[: rank + 1], len(known))
    return codes


def _pair_depths(places: Int[np.ndarray, "f k"], codes: Int[np.ndarray, "n r"]) -> Int[np.ndarray, "f pairs"]:
    """Depth of each pair in the order of `itertools.combinations`; -1 where an image is missing."""
    first, second = np.triu_indices(places.shape[1], 1)
    depths = np.zeros((len(places), len(first)), dtype=np.int64)
    for codes_of_rank in codes.T:
        at = codes_of_rank[places]
        depths += (at[:, first] == at[:, second]) & (at[:, first] >= 0)
    missing = places < 0
    depths[missing[:, first] | missing[:, second]] = -1
    return depths


def _reduce_depths(depths: Int[np.ndarray, "f pairs"], reduce: Reduce) -> Float[np.ndarray, " f"]:
    if reduce not in REDUCTIONS:
        raise UserError(f"There is no reduction {reduce!r}; take one of {', '.join(REDUCTIONS)}.")
    there = depths >= 0
    pairs = there.sum(axis=1)
    result = np.full(len(depths), np.nan)
    some = pairs > 0
    if reduce == "mode":
        counts = np.stack([(depths == depth).sum(axis=1) for depth in range(depths.max(initial=0) + 1)], axis=1)
        tied = counts == counts.max(axis=1, keepdims=True)
        leads = np.take_along_axis(tied, np.maximum(depths, 0), axis=1) & there
        result[some] = np.take_along_axis(depths, leads.argmax(axis=1)[:, None], axis=1)[some, 0] if some.any() else []
        return result
    result[some] = np.where(there, depths, 0).sum(axis=1)[some] / pairs[some]
    return np.round(result) if reduce == "rounded_mean" else result
