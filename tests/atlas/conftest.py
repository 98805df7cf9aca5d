"""A small world for the atlas: an SAE of four levels on random activations of pocket pictures, some latents dead."""

import numpy as np
import pytest
import torch
from stores import make_store

from vlm_sae_lib.pocket.world import pocket_pictures
from vlm_sae_lib.sae.artefact import SparseAutoencoder

N, DIM, LATENTS = 120, 6, 70


def make_sae(latents=LATENTS, groups=(10, 60), seed=0):
    generator = torch.Generator().manual_seed(seed)
    decoder = torch.nn.functional.normalize(torch.randn(latents, DIM, generator=generator), dim=1)
    bias = torch.zeros(latents)
    bias[-1] = -100  # it never fires
    return SparseAutoencoder(
        kind="matryoshka_batch_top_k" if len(groups) > 1 else "batch_top_k", w_enc=decoder.T, b_enc=bias, w_dec=decoder,
        b_dec=torch.zeros(DIM), k=3, threshold=torch.tensor(0.9), group_sizes=groups,
    )  # fmt: skip


def stores(folder, pictures, n=N):
    rng, print_ = np.random.default_rng(0), pictures.fingerprint
    ids = np.asarray(pictures.ids)
    activations = make_store(folder / "activations", rng.normal(size=(n, DIM)), ids, fingerprint=print_)
    embeddings = make_store(folder / "embeddings", rng.normal(size=(n, 4)), ids, fingerprint=print_)
    return activations, embeddings


@pytest.fixture
def pictures():
    return pocket_pictures(N, 3)


@pytest.fixture
def world(tmp_path, pictures):
    """A folder with the stores ``activations`` and ``embeddings`` and the SAE ``sae``, all on disk."""
    activations, embeddings = stores(tmp_path, pictures)
    sae = make_sae()
    sae.save(tmp_path / "sae")
    return tmp_path, activations, embeddings, sae
