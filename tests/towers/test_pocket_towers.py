"""The pocket towers: their hook points and the tokens there."""

from pathlib import Path

import pytest
import torch
from tiny_towers import noise

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.towers import load_tower

POCKET = [spec for spec, folder in (("pocket", "clip"), ("pocket:second_clip", "second_clip"),
                                    ("pocket:self_supervised", "self_supervised"))
          if Path(paths.pocket() / folder).is_dir()]


@pytest.mark.parametrize("spec", POCKET)
def test_the_pocket_towers(spec):
    tower = load_tower(spec, device="cpu")
    pixels = torch.stack([tower.preprocess(picture) for picture in noise(2, size=(64, 64))])
    assert pixels.shape == (2, 3, 64, 64)
    assert tower.name == spec and tower.hook_points[-1] == "projection"
    acts = tower.activations(pixels, "block_0", "all")
    assert acts.shape == (2, tower.tokens("block_0"), tower.dim("block_0"))
    if spec == "pocket:self_supervised":
        assert tower.dim("projection") == 64
        with pytest.raises(UserError, match="no class token"):
            tower.activations(pixels, "block_0", "cls")
    else:
        assert acts.shape == (2, 65, 128) and len(tower.hook_points) == 7
