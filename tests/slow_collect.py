"""Run by test_collect.py as a process to kill: collects slowly. Arguments: pictures, store, seconds per block."""

import sys

from tiny_towers import toy_tower

from vlm_sae_lib.activations import collect_activations

if __name__ == "__main__":
    pictures, out, delay = sys.argv[1:]
    collect_activations(toy_tower(delay=float(delay)), pictures, "block_1", out, tokens="random:2", batch_size=2,
                        pictures_per_shard=3)
