"""Fewer rows than a batch, or than latents: what counts samples counts those that a step really takes."""

import dataclasses

import numpy as np
import pytest

from vlm_sae_lib.sae import KINDS, SaeConfig
from vlm_sae_lib.sae.training import train_sae

FEW = np.random.default_rng(0).standard_normal((24, 12)).astype(np.float32)
CONFIG = SaeConfig(expansion=8, k=3, steps=100, batch_size=1024, lr=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_all_rows_is_what_asking_for_as_many_gives(kind):
    larger = dataclasses.replace(CONFIG, kind=kind)
    exact = dataclasses.replace(larger, batch_size=len(FEW))
    asked, taken = (train_sae(FEW, config) for config in (larger, exact))
    assert asked.metadata["schedule"] == taken.metadata["schedule"] and asked.metadata["log"] == taken.metadata["log"]
    assert asked.hash == taken.hash


def test_latents_that_never_fire_are_dead_and_the_auxiliary_loss_acts():
    sae = train_sae(FEW, CONFIG)
    never = int((~(sae.encode(FEW) > 0).any(dim=0)).sum())
    log = sae.metadata["log"]
    assert sae.metadata["schedule"]["dead_window"] == 5 * len(FEW)
    assert never > 30 and abs(log["dead"][-1] - never) < 10
    assert max(log["auxiliary"]) > 0 and np.isfinite(log["loss"]).all()


def test_as_many_rows_as_a_batch_change_nothing():
    alone = CONFIG.schedule(12)
    assert alone == CONFIG.schedule(12, 1024) == CONFIG.schedule(12, 10**9) and alone.dead_window == 5 * 1024
    fewer = CONFIG.schedule(12, 60)
    assert fewer == dataclasses.replace(alone, dead_window=5 * 60)
    chosen = dataclasses.replace(CONFIG, dead_window=77)
    assert chosen.schedule(12, 60).dead_window == 77


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [np.ones((1, 6), np.float32), np.ones((5, 6), np.float32)])
def test_one_row_alone_or_again_and_again_is_learned(kind, rows):
    sae = train_sae(rows, SaeConfig(kind=kind, expansion=0.5, k=2, steps=30, l1_coefficient=0.0))
    assert sae.n_latents == 3 and np.isfinite(sae.decode(sae.encode(rows)).numpy()).all()
    assert sae.metadata["log"]["r2"][-1] is None  # of what does not vary no share is explained
