"""Where a model's blocks are found."""

import pytest
from torch import nn

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.hooks import find_blocks, find_stages


def test_blocks_are_the_outermost_list_of_the_right_length():
    stage = lambda n: nn.Sequential(*(nn.Linear(2, 2) for _ in range(n)))  # noqa: E731
    stages = nn.ModuleList(stage(3) for _ in range(3))
    nested = nn.ModuleDict({"head": stage(3), "encoder": nn.ModuleDict({"stages": stages})})
    assert find_blocks(nested, 3, "it") == list(stages)
    assert find_blocks(nested, None, "it") == list(stages)
    with pytest.raises(UserError, match="no list of 4 blocks"):
        find_blocks(nested, 4, "it")
    resnet = nn.Sequential()
    resnet.stem, resnet.layer1, resnet.layer2 = nn.Linear(2, 2), stage(3), stage(4)
    assert find_stages(resnet, [3, 4], "it") == [resnet.layer1, resnet.layer2]
    with pytest.raises(UserError, match="no stages"):
        find_stages(resnet, [4, 3], "it")
