"""Vision towers behind one interface."""

from vlm_sae_lib.towers.load import KNOWN_SPECS, load_tower
from vlm_sae_lib.towers.tower import Tower
from vlm_sae_lib.towers.vlm_towers import tower_of

__all__ = ["KNOWN_SPECS", "Tower", "load_tower", "tower_of"]
