"""Steering by a difference of means: nothing at strength 0, restored on leaving, on the bench as by the hook."""

import numpy as np
import pytest
import torch
from packaging.version import Version
from random_saes import inputs, make_sae
from tiny_vlm import DIM, PROMPTS, TinySae, shared_vlm, tiny_pictures
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.steering.diff_mean import Contrast, Erasure, Shift, contrast
from vlm_sae_lib.steering.latent_edits import LatentEdit, scaled, shifted, some_scaled, strongest_scaled
from vlm_sae_lib.steering.rates import trade_off_area
from vlm_sae_lib.steering.sweep import SteeringBench


def a_contrast(seed=0):
    draw = torch.Generator().manual_seed(seed)
    return Contrast(torch.randn(DIM, generator=draw), torch.randn(DIM, generator=draw))


def test_the_means_and_what_has_none():
    rng = np.random.default_rng(0)
    states, shows = rng.normal(size=(20, 5)).astype(np.float32), np.arange(20) % 3 == 0
    found = contrast(states, shows)
    slow = np.mean(states[[0, 3, 6, 9, 12, 15, 18]], 0) - np.mean([states[i] for i in range(20) if i % 3], 0)
    np.testing.assert_allclose(found.direction.numpy(), slow, atol=1e-6)
    for bad in (np.zeros(20, bool), np.ones(20, bool)):
        with pytest.raises(UserError, match="pictures that show the concept"):
            contrast(states, bad)
    with pytest.raises(UserError, match="no direction"):
        contrast(np.ones((4, 3), np.float32), np.array([True, True, False, False]))


@pytest.mark.parametrize("make", [lambda s: Shift(a_contrast().direction, s), lambda s: Erasure(a_contrast(), s)])
def test_strength_zero_is_the_identity_and_leaving_restores(make):
    vlm, image = shared_vlm(), tiny_pictures(1)[0]
    before = vlm.logits(image, PROMPTS[0])
    with vlm.edited(make(0.0).edit):
        assert torch.equal(vlm.logits(image, PROMPTS[0]), before)
    with vlm.edited(make(3.0).edit):
        assert not torch.equal(vlm.logits(image, PROMPTS[0]), before)
    assert torch.equal(vlm.logits(image, PROMPTS[0]), before)


def test_an_erasure_at_one_brings_every_token_to_the_mean_without_the_concept():
    pair, x = a_contrast(), torch.randn(3, 7, DIM)
    erased = Erasure(pair, 1.0).edit(x)
    unit = pair.direction / pair.direction.norm()
    torch.testing.assert_close(erased @ unit, (pair.absent @ unit).expand(3, 7), rtol=1e-4, atol=1e-4)
    rest = x - (x @ unit)[..., None] * unit
    torch.testing.assert_close(erased - (erased @ unit)[..., None] * unit, rest, rtol=1e-4, atol=1e-4)


def edits(sae):
    by = torch.linspace(-1, 1, sae.n_latents)
    return [
        Shift(a_contrast().direction, 2.0),
        Erasure(a_contrast(), 1.5),
        LatentEdit(sae, lambda z: z, 1.0, keep_error=False),
        LatentEdit(sae, scaled(torch.tensor([1, 5]), 3.0), 3.0),
        LatentEdit(sae, shifted(by, 2.0), 2.0),
        LatentEdit(sae, strongest_scaled(4, 2.0, torch.ones(sae.n_latents)), 2.0),
        LatentEdit(sae, some_scaled(4, 0.0, 7), 0.0),
    ]


def test_on_the_bench_as_by_the_hook():
    vlm, sae, images = shared_vlm(), TinySae(), tiny_pictures(3)
    bench = SteeringBench(vlm, sae, images, keep_error=True, batch_size=2)
    for what in edits(sae):
        fast = bench.logits(what, PROMPTS)
        for image, row in zip(images, fast, strict=True):
            with vlm.edited(lambda x, what=what: torch.stack([what.edit(one) for one in x])):
                expected = torch.stack([vlm.logits(image, p) for p in PROMPTS])
            torch.testing.assert_close(row, expected, rtol=0, atol=2e-4)


def test_changes_of_many_latents():
    z = torch.tensor([[0.0, 2.0, 1.0, 0.0], [0.0, 4.0, 0.0, 3.0]])
    assert scaled(torch.tensor([1]), 0.0)(z)[:, 1].tolist() == [0, 0]
    assert strongest_scaled(1, 2.0, torch.ones(4))(z)[:, 1].tolist() == [4, 8]
    assert strongest_scaled(1, 2.0, torch.tensor([1.0, 100.0, 1.0, 1.0]))(z)[:, 3].tolist() == [0, 6]
    assert shifted(torch.full((4,), -1.5), 1.0)(z).tolist() == [[0, 0.5, 0, 0], [0, 2.5, 0, 1.5]]
    drawn = some_scaled(2, 0.0, 3)(z)
    assert int((drawn.sum(0) != z.sum(0)).sum()) == 2 and drawn[:, 0].tolist() == [0, 0]
    assert z[0].tolist() == [0, 2, 1, 0]  # what is changed is a copy


def test_a_control_moves_a_picture_as_far_and_a_change_of_nothing_moves_it_nowhere():
    sae, x = make_sae("relu", dim=DIM), inputs(5, DIM)
    far = LatentEdit(sae, scaled(torch.arange(8), 3.0), 3.0)
    for control in (some_scaled(2, 0.0, 1), some_scaled(3, 2.0, 2)):
        moved = LatentEdit(sae, control, 1.0, as_far_as=far.change).edit(x) - x
        torch.testing.assert_close(moved.norm(), (far.edit(x) - x).norm())
        assert not torch.allclose(moved, far.edit(x) - x, atol=1e-2)
    still = LatentEdit(sae, lambda z: z, 1.0, as_far_as=far.change).edit(x)
    torch.testing.assert_close(still, x)


def test_the_area_below_the_trade_off():
    start = np.array([1.0, 0.0])
    assert trade_off_area(np.array([[1.0, 1.0]]), start) == 1
    assert trade_off_area(np.array([[0.0, 1.0]]), start) == pytest.approx(0.5)
    assert trade_off_area(np.array([[0.2, 1.0], [0.5, 0.5]]), start) == pytest.approx(0.125 + 0.225 + 0.2)
    assert trade_off_area(np.array([[0.5, 0.5], [0.4, 0.4]]), start) == pytest.approx(0.125 + 0.25)
    assert trade_off_area(np.empty((0, 2)), start) == 0
    assert np.isnan(trade_off_area(np.array([[np.nan, 1.0]]), start))


@pytest.mark.skipif(Version(torch.__version__) < Version("2.7"), reason="its fake tensors ask for a GPU's driver")
@pytest.mark.parametrize("change", ["scaled", "strongest_scaled", "some_scaled", "shifted"])
def test_edits_made_on_the_cpu_apply_to_latents_on_a_gpu(change):
    made = {
        "scaled": scaled(torch.tensor([3, 5]), 0.5),
        "strongest_scaled": strongest_scaled(2, 1.5, torch.ones(40)),
        "some_scaled": some_scaled(2, 1.5, 0),
        "shifted": shifted(torch.ones(40), 0.5),
    }
    with FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv()):  # devices without memory, and as strict
        changed = made[change](torch.rand(17, 40, device="cuda"))
    assert changed.device.type == "cuda" and changed.shape == (17, 40)
