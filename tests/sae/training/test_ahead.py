"""Batches read a step ahead are those that were asked for, and an error is told at the step that it belongs to."""

import pytest
import torch

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae.training.ahead import Ahead


class Gpu:
    """What ``Ahead`` knows of a device; tensors stay where they are."""

    type = "cuda"


def numbered(key, step):
    if step == 4:
        raise UserError("step 4 is damaged")
    return torch.tensor([*key, step])


@pytest.mark.parametrize("device", [torch.device("cpu"), Gpu()])
def test_each_step_gets_its_batch(device, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "to", lambda batch, *where, **how: batch)
    read = []
    ahead = Ahead(lambda key, step: read.append(step) or numbered(key, step), 4, device)
    for step in (0, 1, 2, 3):
        for key in ((0, 8), (1, 8)):
            assert ahead(key, step).tolist() == [*key, step]
    ahead.close()
    assert sorted(read) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_an_error_waits_for_its_step(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "to", lambda batch, *where, **how: batch)
    ahead = Ahead(numbered, 9, Gpu())
    assert ahead((0, 8), 3).tolist() == [0, 8, 3]
    with pytest.raises(UserError, match="step 4 is damaged"):
        ahead((0, 8), 4)
    ahead.close()
