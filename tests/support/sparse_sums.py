"""Activations that a short training learns to take apart: sums of few directions."""

import numpy as np

from vlm_sae_lib.sae import SaeConfig

DIM = 24
SHORT = SaeConfig(expansion=2, k=4, steps=40, batch_size=64, lr=3e-3)


def sparse_data(n: int = 3000, seed: int = 0) -> np.ndarray:
    """Sums of about three of 40 directions, off the origin."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(99).standard_normal((40, DIM))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    factors = (rng.random((n, 40)) < 3 / 40) * rng.uniform(1, 2, (n, 40))
    return (5 * (factors @ directions) + 2 + 0.05 * rng.standard_normal((n, DIM))).astype(np.float32)


DATA = sparse_data()
