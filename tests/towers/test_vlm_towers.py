"""The tower inside the pocket VLM, which is the tower that the pocket SAEs were trained for."""

import torch
from tiny_vlm import tiny_pictures

from vlm_sae_lib.towers import load_tower
from vlm_sae_lib.vlms import load_vlm


def test_the_pocket_vlms_tower_comes_without_the_rest():
    pictures = tiny_pictures(3)
    vlm, tower = load_vlm("pocket", device="cpu"), load_tower("vlm:pocket", device="cpu")
    states = tower.activations(pictures, vlm.hook_point, "all")
    torch.testing.assert_close(states, vlm.states(pictures), rtol=0, atol=1e-5)
    assert (tower.name, tower.has_cls, tower.tokens("block_0")) == ("vlm:pocket", True, vlm.tower_tokens)
