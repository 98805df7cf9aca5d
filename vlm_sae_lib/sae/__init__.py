"""Sparse autoencoders: the frozen artefact, its file formats, and its training."""

from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.config import KINDS, SaeConfig
from vlm_sae_lib.sae.training import train_sae, train_saes

__all__ = ["KINDS", "SaeConfig", "SparseAutoencoder", "train_sae", "train_saes"]
