"""Records: a run's numbers as a file, and what they were made from."""

from vlm_sae_lib.records.results import Results, published

__all__ = ["Results", "published"]
