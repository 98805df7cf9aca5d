"""Vision-language models: loading, families, what the projector reads, how much of one a machine can hold."""

from vlm_sae_lib.vlms.load import load_vlm
from vlm_sae_lib.vlms.vlm import Vlm

__all__ = ["Vlm", "load_vlm"]
