"""Activations on disk: the store, and how it is filled."""

from vlm_sae_lib.activations.collect import collect_activations, collect_together
from vlm_sae_lib.activations.store import ActivationStore

__all__ = ["ActivationStore", "collect_activations", "collect_together"]
