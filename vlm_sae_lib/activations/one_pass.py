"""One pass over the pictures, which fills any number of stores side by side.

Each picture is read once and goes through the tower once. A store comes out byte for byte as if it had been alone:
batches are counted from the source's first candidate, wherever a pass begins, and shards may end within one.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlm_sae_lib.activations.store import DTYPES
from vlm_sae_lib.activations.writing import StoreWriter
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.hooks import PROJECTION
from vlm_sae_lib.machine.devices import out_of_memory
from vlm_sae_lib.pictures import PictureSource
from vlm_sae_lib.progress import progress
from vlm_sae_lib.towers import Tower
from vlm_sae_lib.towers.tokens import token_indices


def fill(
    tower: Tower, pictures: PictureSource, writers: Mapping[tuple[str, str], StoreWriter], batch_size: int
) -> None:
    """Take every picture that some store lacks through the tower, for those stores alone, and finish all of them.

    Args:
        writers: by hook point and token rule; all of one seed.

    Raises:
        UserError: a store cannot be written; an activation is not finite (names the picture).
    """
    ids = getattr(pictures, "ids", None)  # a source without is taken to be numbered from 0 without gaps
    place: Callable[[Any], Any] = (lambda of: of) if ids is None else (lambda of: np.searchsorted(ids, of))
    first = min(writer.first for writer in writers.values())
    begin = int(place(first)) // batch_size * batch_size  # the batch is computed whole in which something is lacking
    if ids is None or begin < len(ids):
        first = min(first, begin if ids is None else int(ids[begin]))
    what = " and ".join(dict.fromkeys(hook_point for hook_point, _ in writers))
    todo = progress(_pixels(tower, pictures, first), f"{tower.name} {what}", unit="pictures",
                    total=None if begin else len(pictures))  # fmt: skip
    for number, batch in groupby(todo, lambda item: place(item[0]) // batch_size):
        batch_ids, pixels = zip(*batch, strict=True)
        image_ids = np.array(batch_ids, dtype=np.int64)
        lacking = {point: writer for point, writer in writers.items() if image_ids[-1] >= writer.first}
        for writer, rows in _computed(tower, pictures, lacking, image_ids, torch.stack(pixels)):
            writer.add(image_ids, place(image_ids), rows, upto=(number + 1) * batch_size)
    for writer in writers.values():
        writer.finish()


def _pixels(tower: Tower, pictures: PictureSource, first: int) -> Iterator[tuple[int, Tensor]]:
    """(image id, preprocessed pixels) of the readable pictures from an id on."""
    if hasattr(pictures, "iterate"):
        yield from pictures.iterate(first, tower.preprocess)
    else:
        yield from ((image_id, tower.preprocess(picture)) for image_id, picture in pictures if image_id >= first)


def _computed(
    tower: Tower,
    pictures: PictureSource,
    writers: Mapping[tuple[str, str], StoreWriter],
    image_ids: np.ndarray,
    pixels: Tensor,
) -> Iterator[tuple[StoreWriter, dict[str, np.ndarray]]]:
    """Each store with its rows of one batch."""
    seed = next((writer.metadata["seed"] for writer in writers.values()), 0)
    try:
        found = tower.activations_at(pixels, list(writers), seed=seed, image_ids=image_ids)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise UserError(
            f"{tower.name} finds too little memory for {len(pixels)} pictures at once: take a smaller batch, or close "
            "what else runs. What was collected is kept, and the same call goes on from there."
        ) from error
    for writer, acts in zip(writers.values(), found, strict=True):
        yield writer, _rows(tower, pictures, writer.metadata, image_ids, acts)


def _rows(
    tower: Tower, pictures: PictureSource, metadata: dict[str, Any], image_ids: np.ndarray, acts: Tensor
) -> dict[str, np.ndarray]:
    """One batch as a store takes it: ``activations`` (n, k, d) and ``token`` (n, k)."""
    hook_point, rule, seed = metadata["hook_point"], metadata["tokens"], metadata["seed"]
    stored = acts.to(DTYPES[metadata["dtype"]])
    finite = torch.isfinite(stored).flatten(1).all(1).numpy()
    if not finite.all():
        bad = int(image_ids[~finite][0])
        name = pictures.names[bad] if hasattr(pictures, "names") else f"picture {bad}"
        if torch.isfinite(acts).all():
            raise UserError(f"An activation of {name} is too large for float16: collect into a float32 store.")
        mend = "check its weights" if tower.precision == "float32" else "load the tower in float32"
        raise UserError(f"{tower.name} {hook_point} in {tower.precision} is not finite for {name}: {mend}.")
    indices = None if hook_point == PROJECTION else token_indices(rule, tower.tokens(hook_point), image_ids, seed)
    token = np.full((len(image_ids), 1), -1, dtype=np.int64) if indices is None else indices
    return {"activations": stored.reshape(*token.shape, stored.shape[-1]).numpy(), "token": token}
