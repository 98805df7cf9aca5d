"""Active pairs as single numbers, to be compared with dense definitions."""

import numpy as np

from vlm_sae_lib.sae.kernels.active import Active


def flat(active: Active) -> np.ndarray:
    """sample · F + latent of each pair."""
    return active.samples * active.width + active.latents
