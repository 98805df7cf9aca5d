"""The pictures that the pocket models learn from, painted once, with their facts."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import whole_file
from vlm_sae_lib.pocket import world
from vlm_sae_lib.pocket.islands import HOME, Island
from vlm_sae_lib.progress import progress
from vlm_sae_lib.towers.pocket_models import MEAN, STD

EMPTY_EVERY = 33  # one picture in 33 shows a habitat with nobody in it
CHUNK = 1000


@dataclass(frozen=True)
class TrainingPictures:
    """Painted pictures (n, 64, 64, 3) with their facts; ``empty[i]`` says that nobody is in picture i."""

    pixels: UInt8[np.ndarray, "n 64 64 3"]
    facts: list[dict]
    empty: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)


def _paint_chunk(seed: int, start: int, stop: int, empty_every: int, island: Island) -> np.ndarray:
    pictures = world.PocketPictures(stop, seed, range(start, stop), island)
    return np.stack(
        [np.asarray(pictures.picture(i, empty=bool(empty_every) and i % empty_every == 0)) for i in range(start, stop)]
    )


def paint_training_pictures(
    n: int, seed: int, cache: Path | None = None, *, with_empty=True, island: Island = HOME
) -> TrainingPictures:
    """Paint ``n`` pictures of the world ``seed`` on all cores; kept in ``cache`` if named."""
    every = EMPTY_EVERY if with_empty else 0
    elsewhere = "" if island.same_pictures else f"_{island.name}"
    path = cache / f"pictures_v{world.WORLD_VERSION}_{n}_{seed}_{every}{elsewhere}.npy" if cache else None
    if path and path.exists():
        try:
            pixels = np.load(path)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"The painted pictures {path} are damaged: delete them; they are painted anew.") from error
    else:
        starts = range(0, n, CHUNK)
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            jobs = [pool.submit(_paint_chunk, seed, s, min(s + CHUNK, n), every, island) for s in starts]
            pixels = np.concatenate([job.result() for job in progress(jobs, "painting", unit="thousand")])
        if path:
            with whole_file(path) as file:
                np.save(file, pixels)
    facts = [world.sample_factors(seed, i, island) for i in range(n)]
    empty = np.array([bool(every) and i % every == 0 for i in range(n)])
    return TrainingPictures(pixels, facts, empty)


def to_tensor(pixels: UInt8[np.ndarray, "n h w 3"], device="cpu") -> Float[Tensor, "n 3 h w"]:
    """Pixels as the pocket models read them: (value / 255 − 0.5) / 0.3, channels first."""
    batch = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(0, 3, 1, 2).float()
    return (batch / 255 - MEAN) / STD
