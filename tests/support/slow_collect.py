"""Run as a process to kill: collects slowly. Arguments: pictures, seconds per block, and for each store its hook point,
its token rule and its folder."""

import sys

from tiny_towers import toy_tower

from vlm_sae_lib.activations import collect_together

if __name__ == "__main__":
    pictures, delay, *stores = sys.argv[1:]
    outs = {(hook, rule): out for hook, rule, out in zip(stores[::3], stores[1::3], stores[2::3], strict=True)}
    collect_together(toy_tower(delay=float(delay)), pictures, outs, batch_size=2, pictures_per_shard=3)
