"""What is taken out of activations: latents, by the definition of an intervention; stand-ins; directions."""

import numpy as np
import oracles
import pytest
import torch
from random_saes import DIM, make_sae

from vlm_sae_lib.controls.erasure import as_busy, contribution, of_length, others_that_fire, project_out


def test_taking_off_what_latents_add_is_decoding_without_them_with_the_error_kept():
    sae = make_sae("batch_top_k")
    x = 2 * torch.randn(5, DIM, generator=torch.Generator().manual_seed(1))
    code = sae.encode(x).numpy()
    assert code[:, [2, 5]].any()
    off = contribution(code, sae.w_dec.numpy(), np.array([[2, 5, -1]] * 5))
    slow = oracles.steered_states(x[:, None], sae.encode, sae.decode, {2: 0.0, 5: 0.0}, keep_error=True)
    assert np.allclose(x.numpy() - off, slow[:, 0].numpy(), atol=1e-5)
    assert not contribution(code, sae.w_dec.numpy(), np.full((5, 2), -1)).any()


def test_others_fire_on_the_picture_are_as_many_and_none_of_the_given():
    rng = np.random.default_rng(0)
    code = np.maximum(rng.normal(size=(400, 12)), 0)
    latents = np.where(rng.random((400, 3)) < 0.2, -1, np.stack([rng.permutation(12)[:3] for _ in range(400)]))
    drawn = others_that_fire(code, latents, rng)
    for row, given, others in zip(code, latents, drawn, strict=True):
        fires = {j for j in given if j >= 0 and row[j] > 0}
        free = {j for j in range(12) if row[j] > 0} - set(given)
        had = [j for j in others if j >= 0]
        assert len(had) == len(set(had)) == min(len(fires), len(free)) and set(had) <= free
    often = np.bincount(drawn[drawn >= 0], minlength=12)
    assert often.min() > 0.6 * often.max()  # each as likely


def test_on_a_silent_picture_nothing_stands_in():
    drawn = others_that_fire(np.array([[0, 0, 1.0], [0, 0, 0]]), np.array([[0, 1], [0, 1]]), np.random.default_rng(0))
    assert (drawn == -1).all()


def test_pushes_are_made_as_long_and_none_stays_none():
    made = of_length(np.array([[3.0, 4], [0, 0], [1, 0]]), np.array([[0.0, 1], [2, 0], [0, 0]]))
    assert made == pytest.approx(np.array([[0.6, 0.8], [0, 0], [0, 0]]))


def test_projected_rows_have_the_means_part_along_each_direction_and_keep_all_else():
    rng = np.random.default_rng(0)
    rows, directions, mean = rng.normal(size=(20, 5)), rng.normal(size=(2, 5)), rng.normal(size=5)
    kept = project_out(rows, directions, mean)
    assert kept @ directions.T == pytest.approx(np.tile(mean @ directions.T, (20, 1)))
    across = np.linalg.svd(directions)[2][2:]
    assert kept @ across.T == pytest.approx(rows @ across.T)


def test_stand_ins_are_as_busy_and_nobody_stands_in_twice():
    rates = np.arange(100.0)
    latents = np.array([10, 50, 99])
    drawn = [as_busy(rates, latents, rates > 5, np.random.default_rng(seed)) for seed in range(200)]
    for some in drawn:
        assert len(set(some)) == 3 and not set(some) & set(latents) and (some > 5).all()
        assert np.abs(np.sort(rates[some]) - latents).max() <= 5
    assert len({tuple(some) for some in drawn}) > 50
    assert len(as_busy(rates[:4], np.array([0, 1, 2]), np.ones(4, dtype=bool), np.random.default_rng(0))) == 1
