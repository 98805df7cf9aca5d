"""The same bytes for any number of threads: no sum over everything is left to torch, which parts it among them."""

import numpy as np
import pytest
import torch

from vlm_sae_lib.machine.compiled import one_thread
from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.sae.training import train_sae
from vlm_sae_lib.sae.training.clipping import clip


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def rows():
    """Activations that leave some latents dead, and long enough that the first gradients are clipped."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((40, 128)) * rng.exponential(3, (40, 1))
    return (centres[rng.integers(40, size=4096)] + 0.3 * rng.standard_normal((4096, 128))).astype(np.float32)


@pytest.mark.parametrize("kind", ["batch_top_k", "top_k", "relu"])
def test_training_leaves_the_same_bytes_for_one_thread_and_two(kind, rows, threads):
    config = SaeConfig(kind=kind, expansion=4, k=10, steps=6, batch_size=1024, lr=2e-3, seed=0)
    saes = []
    for number in (1, 2):
        threads(number)
        saes.append(train_sae(rows, config))
    one, two = saes
    for name in ("w_enc", "b_enc", "w_dec", "b_dec"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
    assert one.hash == two.hash


def test_clipping_is_torchs_but_for_the_order_of_the_sum():
    generator = torch.Generator().manual_seed(0)
    shapes = ((300, 128), (4173,), (128,), (7, 3, 5), ())
    for longest in (1.0, 1e6):
        ours, theirs = (
            [torch.zeros(shape, requires_grad=True) for shape in shapes] + [torch.zeros(2, requires_grad=True)]
            for _ in range(2)
        )
        for a, b in zip(ours[:-1], theirs[:-1], strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        clip(ours, longest)
        torch.nn.utils.clip_grad_norm_(theirs, longest)
        for a, b in zip(ours[:-1], theirs[:-1], strict=True):
            torch.testing.assert_close(a.grad, b.grad)
        assert ours[-1].grad is None
    clip([torch.zeros(2, requires_grad=True)], 1.0)  # nothing to clip


def test_a_clipped_gradient_has_the_same_bits_for_any_number_of_threads(threads):
    gradient = torch.randn(2048, 128, generator=torch.Generator().manual_seed(0))
    clipped = []
    for number in (1, 2, 3):
        threads(number)
        weight = torch.zeros(2048, 128, requires_grad=True)
        weight.grad = gradient.clone()
        clip([weight], 1.0)
        clipped.append(weight.grad)
    assert torch.equal(clipped[0], clipped[1]) and torch.equal(clipped[0], clipped[2])


def test_one_thread_gives_the_others_back_even_after_a_mistake(threads):
    threads(2)
    with pytest.raises(ZeroDivisionError), one_thread():
        assert torch.get_num_threads() == 1
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == 2
