"""The proof that the first notebook gives of resuming."""

import numpy as np
import pytest
from tiny_towers import noise, toy_tower

from vlm_sae_lib.activations import one_pass
from vlm_sae_lib.activations.resuming import resumes_to_the_same_bytes
from vlm_sae_lib.errors import UserError


def test_a_resumed_store_equals_a_whole_one():
    assert resumes_to_the_same_bytes(toy_tower(), noise(7), "block_1", pictures_per_shard=3)


def test_the_proof_can_fail(monkeypatch):
    """A collection that gives other numbers when it goes on is found out."""
    rows, calls = one_pass._rows, []

    def drifting(*arguments):
        calls.append(None)
        made = rows(*arguments)
        return made | {"activations": made["activations"] + np.float32(len(calls) > 1)}

    monkeypatch.setattr(one_pass, "_rows", drifting)
    assert not resumes_to_the_same_bytes(toy_tower(), noise(7), "block_1", pictures_per_shard=3)


def test_one_shard_cannot_be_interrupted():
    with pytest.raises(UserError, match="at least two shards"):
        resumes_to_the_same_bytes(toy_tower(), noise(3), "block_1", pictures_per_shard=10)
