"""The sparse autoencoder: the frozen artefact, and the settings that it is trained with."""

from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.config import KINDS, SaeConfig

__all__ = ["KINDS", "SaeConfig", "SparseAutoencoder"]
