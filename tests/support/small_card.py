"""A workbench on which a scorecard is made in seconds: some hundred pictures, trainings of a few steps."""

import torch

from vlm_sae_lib.controls.reconstruction import untrained_sae
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.scorecard.place import Place, final_bench

PROFILE = load_profile(
    "pocket", steps=15, batch_size=100, k=6, train_pictures="pocket:200:11", choosing_pictures="pocket:120:12"
)
PLACE = Place("block_5")


def bench(final="pocket:90:13", place=PLACE):
    """Its models are the published ones; what it makes lies where ``VLM_SAE_RUNS`` says."""
    return final_bench(PROFILE, place.hook_point, final)


def sae_on(material, seed=0, l0=6):
    """An SAE of half as many latents as dimensions that never learned."""
    return untrained_sae(material.splits.train, 64, l0, seed=seed)


def dead_sae():
    """One that never fires."""
    directions = torch.nn.functional.normalize(torch.randn(64, 128, generator=torch.Generator().manual_seed(1)), dim=1)
    return SparseAutoencoder(
        kind="batch_top_k", w_enc=directions.T, b_enc=torch.full((64,), -1e6), w_dec=directions, b_dec=torch.zeros(128),
        k=3, threshold=torch.tensor(0.5),
    )  # fmt: skip
