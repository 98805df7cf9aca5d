"""One small training of each kind, and what came of it as JSON: run by whatever Python and processor.

Alone in its process, so that it can be run by an emulated processor: nothing here needs more than NumPy, SciPy, Numba
and torch.
"""

import json
import platform
import sys

import numpy as np
import torch

from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.sae.kernels import coarse
from vlm_sae_lib.sae.training import train_sae
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score

DIM, ROWS, HELD_OUT = 32, 1200, 300
KINDS = ("matryoshka_batch_top_k", "batch_top_k", "top_k", "relu", "jump_relu")


def rows() -> np.ndarray:
    """Sparse sums of more features than there are dimensions, and a little noise."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(64, DIM))
    amounts = rng.exponential(size=(ROWS, 64)) * (rng.random((ROWS, 64)) < 0.08)
    return (amounts @ features + 0.1 * rng.normal(size=(ROWS, DIM))).astype(np.float32)


def main() -> None:
    x = rows()
    learned, held = torch.from_numpy(x[HELD_OUT:]), torch.from_numpy(x[:HELD_OUT])
    found = {"machine": platform.machine(), "quick": coarse.quick(), "kinds": {}}
    for kind in KINDS:
        more = {"l1_coefficient": 0.01} if kind == "relu" else {}
        sae = train_sae(learned, SaeConfig(kind=kind, expansion=4, k=5, steps=60, batch_size=128, **more), device="cpu")
        latents = sae.encode_sparse(held)
        left = held - torch.from_numpy(np.asarray(latents @ sae.w_dec.numpy())) - sae.b_dec
        spread = (held - held.mean(dim=0)).square().sum()
        dense = torch.relu((held - sae.b_dec) @ sae.w_enc + sae.b_enc)
        ms = monosemanticity_score(latents, x[:HELD_OUT])
        found["kinds"][kind] = {
            "r2": 1 - float(left.square().sum() / spread), "l0": latents.nnz / HELD_OUT,
            "ms": float(np.nanmean(ms)), "largest": float(dense.max()),
            "first": np.flatnonzero(latents[:20].sum(axis=0)).tolist(),
        }  # fmt: skip
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
