"""Statistics of neurons from one pass over latents and embeddings; they know no score's verdict."""

from vlm_sae_lib.statistics.neurons import NeuronStatistics

__all__ = ["NeuronStatistics"]
