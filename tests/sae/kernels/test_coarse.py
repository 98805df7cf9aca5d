"""Eight bits find what single precision decides: against the plain product, on data that rounding treats badly."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from active_pairs import flat

from vlm_sae_lib.machine import compiled
from vlm_sae_lib.sae import SaeConfig, SparseAutoencoder
from vlm_sae_lib.sae.kernels import coarse, products
from vlm_sae_lib.sae.kernels.active import Active, above_of_coarse, batch_top_k_active, batch_top_k_of_coarse
from vlm_sae_lib.sae.kernels.coarse import Coarse, CoarseEncoder, Rounded
from vlm_sae_lib.sae.training import train_sae
from vlm_sae_lib.sae.training.initialise import initial_weights
from vlm_sae_lib.sae.training.losses import training_latents, training_loss

needs_hardware = pytest.mark.skipif(not coarse.quick(), reason="no exact sums of eight-bit products here")
CASES = ("normal", "large dimensions", "heavy tails", "empty rows", "duplicates", "one value", "large bias", "whole")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def factors(case: str, rows: int = 40, width: int = 300, dim: int = 64) -> tuple[torch.Tensor, ...]:
    """x, encoder, bias."""
    x, encoder, bias = normal(rows, dim), normal(width, dim, seed=1) / dim**0.5, 0.1 * normal(width, seed=2)
    if case == "large dimensions":
        x[:, :3] *= 100
    elif case == "heavy tails":
        x, encoder = x.pow(5), encoder.pow(3)
    elif case == "empty rows":
        x[::3], encoder[::4] = 0, 0
    elif case == "duplicates":
        x[:], encoder[1::2] = x[0].clone(), encoder[0::2].clone()
    elif case == "one value":
        x[:], encoder[:] = 0.3, 0.7
    elif case == "large bias":
        bias *= 1000
    elif case == "whole":
        x, encoder = x.round(), (8 * encoder).round()
    return x, encoder, bias


def candidates(found: Coarse, cut: float, at_most: int) -> tuple[np.ndarray, np.ndarray]:
    bounds, latents, values = found.at_least(cut, at_most)
    return flat(Active(bounds, latents, torch.from_numpy(values), found.shape[1])), values


def exact_product(x, encoder, bias) -> np.ndarray:
    return (x.double() @ encoder.double().T + bias.double()).numpy()


@needs_hardware
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dim", [2, 7, 64, 700])
@pytest.mark.parametrize("tile", [coarse.TILE, 40 * 7, 1])
def test_nothing_that_reaches_a_cut_is_missed(case, dim, tile, monkeypatch):
    monkeypatch.setattr(coarse, "TILE", tile)  # all latents at once, seven, one
    x, encoder, bias = factors(case, dim=dim)
    exact = exact_product(x, encoder, bias)
    found = CoarseEncoder(encoder, bias, like=x)(x)
    for cut in (0.0, *np.quantile(exact, [0.5, 0.9, 0.99, 1])):
        pairs, values = candidates(found, float(np.float32(cut)), exact.size)
        assert (np.diff(pairs) > 0).all()
        slack = 1e-5 * max(1, np.abs(exact).max())
        np.testing.assert_allclose(values, exact.ravel()[pairs], rtol=0, atol=slack)
        assert set(np.flatnonzero(exact.ravel() >= cut + slack)) <= set(pairs)
    assert found.at_least(-np.inf, at_most=exact.size - 1) is None
    some = [0, 5, 250]
    np.testing.assert_allclose(found.columns(torch.tensor(some)), exact[:, some], atol=0.03 * np.abs(exact).max())


@needs_hardware
def test_few_are_looked_at_in_vain():
    x, encoder, bias = factors("large dimensions", rows=200, width=2000, dim=256)
    exact = exact_product(x, encoder, bias)
    cut = float(np.quantile(exact, 0.99))
    pairs, _ = candidates(CoarseEncoder(encoder, bias, like=x)(x), cut, exact.size)
    assert len(pairs) < 2.5 * (exact >= cut).sum()
    # without a sample to balance the dimensions by, the three large ones leave the others no digits
    unbalanced, _ = candidates(CoarseEncoder(encoder, bias, like=torch.ones_like(x))(x), cut, exact.size)
    assert len(unbalanced) > len(pairs)


@needs_hardware
@pytest.mark.parametrize("case", CASES)
def test_the_active_set_is_that_of_the_plain_product(case):
    x, encoder, bias = factors(case)
    pre = torch.from_numpy(exact_product(x, encoder, bias)).float()
    k = 5
    expected = batch_top_k_active(pre, k)
    cut = float(expected.values.min())
    found = CoarseEncoder(encoder, bias, like=x)(x)
    active = batch_top_k_of_coarse(found, k, 0.95 * cut)
    if active is None:  # equal values everywhere: all are candidates
        assert case in ("duplicates", "one value", "large bias")
        return
    assert len(flat(active)) == len(flat(expected))
    other = np.setxor1d(flat(active), flat(expected))
    assert np.allclose(
        pre.numpy().ravel()[other], cut, rtol=1e-5
    )  # only what single precision cannot tell from the cut
    assert case in ("whole", "duplicates", "one value") or not len(other)
    assert batch_top_k_of_coarse(found, k, 1.5 * float(pre.max())) is None


@needs_hardware
def test_a_threshold_keeps_what_lies_above_it():
    x, encoder, bias = factors("normal")
    exact = exact_product(x, encoder, bias)
    active = above_of_coarse(CoarseEncoder(encoder, bias, like=x)(x), 2.6)
    assert flat(active).tolist() == np.flatnonzero(exact > 2.6).tolist()
    assert above_of_coarse(CoarseEncoder(encoder, bias, like=x)(x), 0.1) is None  # nearly half of all


@pytest.mark.parametrize("dim", [1, 3, 100])
def test_rounding_says_what_it_took(dim):
    rows, scale = normal(20, dim).pow(3), np.linspace(0.5, 2, dim, dtype=np.float32)
    rows[4] = 0
    rounded = Rounded.of(rows, scale)
    scaled = rows.double().numpy() * scale
    lost = scaled - rounded.whole.numpy() * rounded.step[:, None].astype(np.float64)
    np.testing.assert_allclose(rounded.norm, np.linalg.norm(scaled, axis=1), rtol=1e-5)
    np.testing.assert_allclose(rounded.lost, np.linalg.norm(lost, axis=1), rtol=1e-3, atol=1e-6)
    assert (np.abs(lost) <= 0.501 * rounded.step[:, None]).all()


@needs_hardware
@pytest.mark.parametrize("few", [products.FEW_DEAD, 0])
def test_gradients_of_dead_latents_hardly_differ(few, monkeypatch):
    monkeypatch.setattr(products, "FEW_DEAD", few)
    width, dim, config = 300, 64, SaeConfig(kind="batch_top_k", k=5, aux_coefficient=0.5)
    x = normal(50, dim) / dim**0.5
    weights = initial_weights(x, width, 0)
    for parameter in weights.named().values():
        parameter.requires_grad_(True)
    dead = torch.arange(width) < 100
    pre = weights.pre_activations(x)
    loss = training_loss(x, pre, training_latents(pre, config), weights, config, (width,), dead, 30)
    loss.total.backward()
    expected = {name: parameter.grad.clone() for name, parameter in weights.named().items()}
    centred = (x - weights.decoder_bias).detach()
    found = CoarseEncoder(weights.encoder, weights.encoder_bias, like=centred)(centred)
    active = batch_top_k_active(pre.detach(), config.k)
    parts = products.write_gradients(weights, x, found, active, (width,), dead, 30, config.aux_coefficient)
    assert parts.auxiliary == pytest.approx(float(loss.auxiliary.detach()), rel=0.01)
    for name, gradient in expected.items():
        difference = (weights.named()[name].grad - gradient).norm() / gradient.norm()
        # Of dead latents that are nearly alike another one may be the k_aux-th: its pair has a derivative of its own.
        assert difference < 0.1, (name, float(difference))


def rows_of_features(n: int = 3000, dim: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    features = torch.nn.functional.normalize(normal(80, dim, seed=4), dim=1)
    strength = torch.rand(n, 80, generator=generator) * (torch.rand(n, 80, generator=generator) < 0.05)
    return strength @ features + 0.01 * normal(n, dim, seed=5)


@needs_hardware
@pytest.mark.parametrize("kind", ["matryoshka_batch_top_k", "batch_top_k"])
def test_training_and_encoding_come_out_the_same(kind, monkeypatch):
    config = SaeConfig(kind=kind, expansion=8, k=4, steps=60, batch_size=256, lr=3e-3, threshold_start=10)
    x = rows_of_features()
    plain = train_sae(x, config)
    taken = []
    monkeypatch.setattr(coarse, "WORTH", 0)
    original = CoarseEncoder.__call__
    monkeypatch.setattr(CoarseEncoder, "__call__", lambda own, rows: taken.append(len(rows)) or original(own, rows))
    found = train_sae(x, config)
    assert len(taken) >= 50
    for name in ("w_enc", "w_dec", "b_enc", "b_dec"):
        # The same pairs were active; last digits aside, which Adam makes steps of where a gradient is all but zero.
        differ = (getattr(found, name) - getattr(plain, name)).abs() > 2e-3
        assert differ.float().mean() < 0.01, name
    taken.clear()
    latents = found.encode_sparse(x, batch_size=500)
    assert len(taken) == 6
    dense = found.encode(x).numpy()
    differ = (latents.toarray() > 0) != (dense > 0)
    assert np.allclose(dense[differ], float(found.threshold), atol=1e-5) and differ.sum() < 5
    np.testing.assert_allclose(latents.toarray()[~differ], dense[~differ], atol=1e-5)


def test_a_processor_without_such_products_takes_the_plain_one(monkeypatch):
    monkeypatch.setattr(coarse, "WORTH", 0)
    monkeypatch.setattr(coarse, "quick", lambda: False)
    monkeypatch.setattr(CoarseEncoder, "__call__", lambda *_: pytest.fail("no such product"))
    sae = train_sae(rows_of_features(600), SaeConfig(expansion=4, k=3, steps=5, batch_size=64))
    assert isinstance(sae, SparseAutoencoder) and sae.encode_sparse(rows_of_features(50)).shape == (50, 128)


@needs_hardware
def test_the_number_of_threads_changes_no_bit(monkeypatch):
    monkeypatch.setattr(coarse, "WORTH", 0)
    monkeypatch.setattr(compiled, "WORTH_HANDING_OVER", 1)
    config = SaeConfig(expansion=8, k=4, steps=12, batch_size=256, dead_window=300)
    before, hashes = torch.get_num_threads(), set()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            x, encoder, bias = factors("normal", rows=300)
            pairs, values = candidates(CoarseEncoder(encoder, bias, like=x)(x), 2.0, 10**6)
            weights = initial_weights(rows_of_features(300), 256, 0)
            hashes.add((pairs.tobytes(), values.tobytes(), kernel_bytes(weights, config)))
    finally:
        torch.set_num_threads(before)
    assert len(hashes) == 1


def kernel_bytes(weights, config: SaeConfig) -> bytes:
    x = rows_of_features(300)
    pre = weights.pre_activations(x)
    active = batch_top_k_active(pre, config.k)
    products.write_gradients(weights, x, pre, active, (64, 192), torch.zeros(256, dtype=torch.bool), 8, 0.0)
    return weights.decoder.grad.numpy().tobytes() + weights.encoder.grad.numpy().tobytes()


def test_one_dimension_is_multiplied_out_in_single_precision(monkeypatch):
    """Of a single dimension torch 2.6 gets the eight-bit product wrong."""
    monkeypatch.setattr(coarse, "quick", lambda: True)
    assert coarse.pays(coarse.WORTH, torch.zeros(1, 2)) and not coarse.pays(coarse.WORTH, torch.zeros(2, 1))



OLDER = {
    "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2", "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "",
}  # fmt: skip


@needs_hardware
def test_a_processor_that_adds_in_sixteen_bits_is_given_smaller_numbers():
    """This whole file again, held to AVX2."""
    told = "from vlm_sae_lib.sae.kernels import coarse; print(coarse.most(), coarse.multiplies_half())"
    env = os.environ | OLDER
    said = subprocess.run([sys.executable, "-c", told], env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert said.split() == [str(coarse.NO_CARRY), "False"]
    again = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "not smaller_numbers"]
    done = subprocess.run(again, env=env, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_largest_numbers_show_how_they_are_summed(monkeypatch):
    product = torch._int_mm

    def in_sixteen_bits(a, b, moved=0):
        """Two neighbouring products added, held to 16 bits, one factor moved up as long as the other."""
        pairs = ((a.int() + moved)[:, None] * b.T.int()[None]).unflatten(2, (-1, 2)).sum(dim=3)
        held = pairs.clamp(-(2**15), 2**15 - 1).sum(dim=2, dtype=torch.int32)
        return held - moved * b.int().sum(dim=0, dtype=torch.int32)

    for moved, largest in ((0, coarse.EIGHT_BITS), (128, coarse.NO_CARRY)):
        monkeypatch.setattr(torch, "_int_mm", lambda a, b, moved=moved: in_sixteen_bits(a, b, moved), raising=False)
        assert coarse.most.__wrapped__() == largest
        assert moved == 0 or not coarse._exact(largest + 1)
    monkeypatch.setattr(torch, "_int_mm", product)
