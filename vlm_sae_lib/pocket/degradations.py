"""Pictures made worse in three ways, each the same for the same picture and seed."""

import numpy as np
from PIL import Image

DEGRADATIONS = ("noise", "dark", "occluded")


def degrade(image: Image.Image, how: str, seed: int) -> Image.Image:
    """The picture under grain (sd 38 of 255), at half of its light, or behind a grey square of 0.35 of its side.

    Raises: ValueError for another name.
    """
    rng = np.random.default_rng([seed, DEGRADATIONS.index(how) if how in DEGRADATIONS else 99])
    pixels: np.ndarray = np.asarray(image.convert("RGB"), dtype=np.float32)
    if how == "noise":
        pixels = pixels + rng.normal(0, 38, pixels.shape)
    elif how == "dark":
        pixels = pixels * 0.5
    elif how == "occluded":
        pixels, side = pixels.copy(), round(0.35 * pixels.shape[0])
        top, left = (int(rng.integers(0.15 * n, 0.85 * n - side)) for n in pixels.shape[:2])
        pixels[top : top + side, left : left + side] = 128
    else:
        raise ValueError(f"There is no degradation {how!r}; there are {', '.join(DEGRADATIONS)}.")
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
