"""R², L0 and rectified raw neurons."""

import numpy as np
import oracles
import pytest
import torch

from vlm_sae_lib.controls.rectify import RectifiedNeurons
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.scores import reconstruction as module
from vlm_sae_lib.scores.reconstruction import r2, r2_paper, reconstruction


class HalvedPositives:
    """Stands for an SAE: latents are the positive and negative parts, the last latent never fires."""

    n_latents = 7

    def encode(self, x):
        return torch.cat([torch.relu(x), torch.relu(-x), torch.zeros(len(x), 1)], dim=1)

    def decode(self, z):
        return 0.9 * z[:, :3] - 0.8 * z[:, 3:6] + 0.05


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(module, "PAPER_BATCH", 40)
    monkeypatch.setattr(module, "ENCODE_BATCH", 16)


def activations(n, seed=0, offset=0.0):
    return (np.random.default_rng(seed).normal(size=(n, 3)) * [1, 2, 3] + offset).astype(np.float32)


@pytest.mark.parametrize("n", [5, 40, 79, 80, 130])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_reconstruction_is_its_definition(small_batches, n, offset):
    x = activations(n, offset=offset)
    sae = HalvedPositives()
    latents = sae.encode(torch.from_numpy(x))
    x64, x_hat = x.astype(np.float64), sae.decode(latents).numpy().astype(np.float64)
    report = reconstruction(sae, x)
    assert report.r2 == pytest.approx(oracles.r2(x64, x_hat), rel=1e-9)
    assert report.r2_paper == pytest.approx(oracles.r2_paper(x64, x_hat, batch=40), rel=1e-9)
    assert report.l0 == pytest.approx((latents != 0).sum(dim=1).float().mean().item())
    assert report.never_fired == int((latents == 0).all(dim=0).sum()) and report.rows == n
    assert r2(x, x_hat) == pytest.approx(report.r2, rel=1e-9)
    assert r2_paper(x, x_hat) == pytest.approx(report.r2_paper, rel=1e-9)
    assert reconstruction(sae, torch.from_numpy(x)) == report


def test_the_short_last_batch_is_dropped_and_its_size_is_the_papers():
    assert module.PAPER_BATCH == 4096
    x = activations(4200)
    x_hat = x * 0.5
    x_hat[4096:] = 100 * np.random.default_rng(1).normal(size=(104, 3))
    assert r2_paper(x, x_hat) == pytest.approx(0.75, abs=1e-6)
    assert r2(x, x_hat) < -10
    assert r2_paper(x[4096:], x_hat[4096:]) < -10  # the only batch counts, however short


def test_only_the_papers_form_forgives_a_constant_error():
    x = activations(300)
    assert r2_paper(x, x + 5) == pytest.approx(1)
    assert r2(x, x + 5) < -3
    assert r2(x, x) == r2_paper(x, x) == 1


@pytest.mark.parametrize("x", [np.ones((4, 2)), np.full((1, 2), 0.1), np.full((3, 1), 0.1)])
def test_without_variance_nothing_is_explained(x):
    assert np.isnan(r2(x, x * 0.5)) and np.isnan(r2_paper(x, x * 0.5))


def test_no_rows_is_one_sentence():
    with pytest.raises(UserError, match="no activations"):
        reconstruction(HalvedPositives(), np.empty((0, 3), dtype=np.float32))


def test_rectified_neurons_are_both_sides_about_the_training_mean():
    training, held_out = activations(200, 0, offset=5), activations(30, 1, offset=5)
    neurons = RectifiedNeurons.fit(training)
    encoded = neurons.encode(held_out)
    mean = training.astype(np.float64).mean(axis=0)
    assert neurons.n_latents == encoded.shape[1] == 6 and (encoded >= 0).all()
    np.testing.assert_allclose(encoded[:, :3], np.maximum(held_out - mean, 0))
    np.testing.assert_allclose(encoded[:, 3:], np.maximum(mean - held_out, 0))
    np.testing.assert_allclose(encoded[:, :3] - encoded[:, 3:] + mean, held_out)
    assert (neurons.encode_sparse(held_out).toarray() == encoded).all()
    assert (neurons.encode(torch.from_numpy(held_out)) == encoded).all()


@pytest.mark.parametrize("l0", [0.5, 1, 1.37, 2, 2.99])
def test_the_cut_keeps_the_largest_values_at_the_given_l0(l0):
    training = activations(200)
    neurons, whole = RectifiedNeurons.fit(training, l0), RectifiedNeurons.fit(training).encode(training)
    cut = neurons.encode(training)
    kept = round(200 * l0)
    assert (cut > 0).sum() == kept
    assert cut[cut > 0].min() > np.sort(whole.ravel())[-kept - 1] == neurons.threshold
    assert (cut[cut > 0] == whole[cut > 0]).all()  # gated, not shifted


def test_a_cut_beyond_what_is_there_cuts_nothing_and_ties_go_together():
    training = activations(50)
    assert RectifiedNeurons.fit(training, 3).threshold == RectifiedNeurons.fit(training, 99).threshold == 0
    tied = np.repeat([[1.0, -1.0]], 4, axis=0) * np.array([[1], [1], [-1], [-1]])
    assert RectifiedNeurons.fit(tied, 1.5).encode(tied).sum() == 0


def test_mistakes_are_one_sentence():
    with pytest.raises(UserError, match="L0 to cut to is 0"):
        RectifiedNeurons.fit(activations(5), 0)
    with pytest.raises(UserError, match="2 columns, the training mean has 3"):
        RectifiedNeurons.fit(activations(5)).encode(np.ones((2, 2)))
    with pytest.raises(UserError, match="no training activations"):
        RectifiedNeurons.fit(np.empty((0, 3)))
