"""How an SAE learns: start, losses, one learner, several of them in one pass over the data."""

from vlm_sae_lib.sae.training.run import train_sae, train_saes

__all__ = ["train_sae", "train_saes"]
