"""The batch at which a tower is quickest, found on a tower whose time is made up."""

import pytest
import torch

from vlm_sae_lib.cluster import batches
from vlm_sae_lib.pocket.world import pocket_pictures
from vlm_sae_lib.towers import load_tower


class Slow:
    """Takes a second for each batch and ``of_each`` for each picture; above ``room`` pictures it finds no memory."""

    def __init__(self, of_each, room=10**9):
        self.of_each, self.room, self.now = of_each, room, 0.0

    def preprocess(self, picture):
        return torch.zeros(3, 4, 4)

    def activations_at(self, pixels, points):
        if len(pixels) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        self.now += 1 + self.of_each * len(pixels)


@pytest.mark.parametrize(
    ("of_each", "room", "size"),
    [(0.0, 10**9, 4096), (1.0, 10**9, 64), (1 / 256, 10**9, 4096), (1 / 64, 10**9, 1024), (0.0, 300, 256),
     (0.0, 10, 64)],
)  # fmt: skip
def test_twice_the_size_as_long_as_it_gains_and_finds_room(of_each, room, size, monkeypatch):
    tower = Slow(of_each, room)
    monkeypatch.setattr(batches.time, "perf_counter", lambda: tower.now)
    assert batches.quickest_batch(tower, pocket_pictures(3, 1), "block_1", "cls") == size


def test_an_error_that_is_no_want_of_memory_stays_one():
    tower = Slow(0.0)
    tower.activations_at = lambda pixels, points: torch.zeros(2) @ torch.zeros(3)
    with pytest.raises(RuntimeError, match="inconsistent|size"):
        batches.quickest_batch(tower, pocket_pictures(3, 1), "block_1", "cls")


def test_without_a_picture_it_stays_as_it_is():
    assert batches.quickest_batch(Slow(0.0), [], "block_1", "cls") == 64


def test_a_real_tower(monkeypatch):
    monkeypatch.setattr(batches, "MOST", 128)
    tower = load_tower("pocket", device="cpu")
    assert batches.quickest_batch(tower, pocket_pictures(3, 1), "projection", "cls") in (64, 128)
