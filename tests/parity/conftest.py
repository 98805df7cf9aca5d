"""Other libraries against ours; they live in an environment of their own (``make test-parity``)."""

from pathlib import Path

import pytest
import torch

from vlm_sae_lib.sae import SparseAutoencoder

DIM, WIDTH, K = 24, 96, 5
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.parity)


@pytest.fixture
def x() -> torch.Tensor:
    return 2 * torch.randn(200, DIM, generator=torch.Generator().manual_seed(7))


@pytest.fixture
def make_sae():
    def make(kind: str) -> SparseAutoencoder:
        generator = torch.Generator().manual_seed(0)

        def draw(*shape):
            return torch.randn(*shape, generator=generator)

        thresholds = {"jump_relu": draw(WIDTH).abs(), "batch_top_k": torch.tensor(0.8)}
        return SparseAutoencoder(
            kind=kind,
            w_enc=draw(DIM, WIDTH) / DIM**0.5,
            b_enc=0.1 * draw(WIDTH),
            w_dec=torch.nn.functional.normalize(draw(WIDTH, DIM), dim=1),
            b_dec=draw(DIM),
            k=K,
            threshold=thresholds.get(kind.removeprefix("matryoshka_")),
            group_sizes=(6, 12, 24, 54) if "matryoshka" in kind else (),
        )

    return make


@pytest.fixture
def randomised():
    """Fill a module's parameters at random; an untrained SAE has zero biases, which hide mistakes."""

    def fill(module: torch.nn.Module) -> torch.nn.Module:
        generator = torch.Generator().manual_seed(1)
        for parameter in module.parameters():
            scale = 0.5 if parameter.ndim == 1 else DIM**-0.5
            parameter.data = scale * torch.randn(parameter.shape, generator=generator)
        return module

    return fill


@pytest.fixture
def agree(x):
    """Same latents, same reconstructions, to 1e-5; ``theirs`` has encode and decode."""

    def compare(ours: SparseAutoencoder, theirs) -> None:
        with torch.no_grad():
            latents = theirs.encode(x)
            assert 0 < (latents != 0).float().mean() < 0.9
            torch.testing.assert_close(ours.encode(x), latents, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(ours.decode(latents), theirs.decode(latents), rtol=1e-5, atol=1e-5)

    return compare
