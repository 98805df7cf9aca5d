"""Steering: overwrite a latent in a vision-language model's tower, and see what it says."""

from vlm_sae_lib.steering.intervention import pushed, random_directions, steered
from vlm_sae_lib.steering.load import load_vlm
from vlm_sae_lib.steering.vlm import Vlm

__all__ = ["Vlm", "load_vlm", "pushed", "random_directions", "steered"]
