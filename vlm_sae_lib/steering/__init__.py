"""Steering: overwrite a latent in a vision-language model's tower, and see what it says."""

from vlm_sae_lib.steering.intervention import pushed, random_directions, steered

__all__ = ["pushed", "random_directions", "steered"]
