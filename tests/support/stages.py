"""Calls of the stages on a toy store, small enough to be done many times over."""

from pathlib import Path

import numpy as np
from stores import make_store

from vlm_sae_lib.__main__ import main

STAGES = ("train", "export", "score", "atlas")
SAE = ("--steps=24", "--k=2", "--batch-size=16", "--expansion=2")


def write_stores(folder: Path) -> Path:
    """Activations and embeddings of 60 rows, and an SAE trained on them."""
    draw = np.random.default_rng(0)
    for name, width in (("store", 6), ("embeddings", 4)):
        make_store(folder / name, draw.standard_normal((60, width)), np.arange(60))
    assert main(command("train", folder, folder / "sae")) == 0
    return folder


def command(stage: str, stores: Path, out: Path) -> list[str]:
    """A call of a stage on these stores."""
    activations, embeddings, sae = (
        f"--{name}={stores / there}"
        for name, there in (("activations", "store"), ("embeddings", "embeddings"), ("sae", "sae"))
    )
    call = {
        "train": [activations, *SAE],
        "export": [activations],
        "score": [sae, activations, embeddings, "--resamples=5"],
        "atlas": [sae, activations, embeddings],
    }[stage]  # fmt: skip
    return [stage, *call, f"--out={out}"]
