"""SAEs of random weights, of every kind, and inputs for them."""

import torch

from vlm_sae_lib.sae import SparseAutoencoder

DIM, WIDTH = 6, 20


def make_sae(base: str, seed: int = 0, dim: int = DIM, width: int = WIDTH, **changes) -> SparseAutoencoder:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    threshold = {"jump_relu": draw(width).abs() * 0.5}.get(base, torch.tensor(0.4) if "batch" in base else None)
    parts = {
        "kind": base,
        "w_enc": draw(dim, width) / dim**0.5,
        "b_enc": 0.1 * draw(width),
        "w_dec": torch.nn.functional.normalize(draw(width, dim), dim=1),
        "b_dec": draw(dim),
        "k": 3,
        "threshold": threshold,
        "group_sizes": (2, 5, width - 7) if "matryoshka" in base else (),
    }
    return SparseAutoencoder(**{**parts, **changes})


def inputs(*shape) -> torch.Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(7))
