"""The scores that the papers define, from statistics: monosemanticity, uniqueness, hierarchy, reconstruction."""

from vlm_sae_lib.scores.hierarchy import level_depth, neuron_depth
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score, ms_bootstrap

__all__ = ["level_depth", "monosemanticity_score", "ms_bootstrap", "neuron_depth"]
