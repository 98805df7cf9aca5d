"""An autoencoder among bad numbers: shapes and widths, rows that know nothing of one another, its files."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from bad_numbers import AROUND, assert_same, refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from random_saes import make_sae

from vlm_sae_lib.sae import KINDS, SparseAutoencoder

WHAT = "bad numbers and shapes"
DIM, WIDTH = 6, 20
SAES = {kind: make_sae(kind) for kind in KINDS}
ROWS = np.random.default_rng(1).standard_normal((5, DIM)).astype(np.float32)
SINGLE = arrays(np.float32, st.tuples(st.integers(0, 6), st.just(DIM)),
                elements=st.floats(width=32, allow_nan=True, allow_infinity=True))  # fmt: skip
QUIET = {"deadline": None, "derandomize": True, "database": None, "suppress_health_check": list(HealthCheck)}


def by_definition(sae, x):
    """φ, row by row in float64: the slow way, and no row knows another."""
    weights = [part.numpy().astype(np.float64) for part in (sae.w_enc, sae.b_enc, sae.b_dec)]
    rows = []
    for row in x.astype(np.float64):
        positive = np.maximum((row - weights[2]) @ weights[0] + weights[1], 0)
        if sae.kind == "top_k":
            positive[np.argsort(-positive, kind="stable")[sae.k :]] = 0
        elif sae.threshold is not None:
            positive = positive * (positive > sae.threshold.numpy().astype(np.float64))
        rows.append(positive)
    return np.array(rows).reshape(len(x), sae.n_latents)


@pytest.mark.faults
@pytest.mark.parametrize("kind", KINDS)
def test_any_float32_gives_the_definition_or_what_is_not_finite(kind, tried):
    sae = SAES[kind]

    @settings(max_examples=150, **QUIET)
    @given(SINGLE)
    def hold(x):
        found = sae.encode(x).numpy()
        assert found.shape == (len(x), WIDTH)
        for row, latents in zip(x, found, strict=True):
            size = np.abs(row).max()
            if np.isnan(row).any():
                assert np.isnan(latents).any()
            elif size < 1e30:
                expected = by_definition(sae, row[None])[0]
                near = np.abs(expected - latents) <= 1e-4 * (1 + size)
                edge = (expected == 0) != (latents == 0)  # at a threshold, rounding decides
                assert (near | edge).all()
            tried(WHAT)
        alone = [sae.encode(row).numpy() for row in x]
        for row, latents in zip(alone, found, strict=True):
            np.testing.assert_allclose(row, latents, 1e-4, 1e-4)

    hold()


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_is_not_finite_reaches_no_other_row(kind, tried):
    sae, wrong = SAES[kind], ROWS.copy()
    wrong[2] = np.nan
    for batch in (wrong, torch.tensor(wrong), torch.tensor(wrong, dtype=torch.float64)):
        found, right = sae.encode(batch), sae.encode(ROWS)
        others = [0, 1, 3, 4]
        assert_same(found[others], right[others])
        assert found[2].isnan().any() and sae.decode(found)[2].isnan().all()
        assert_same(sae.decode(found)[others], sae.decode(right)[others])
        tried(WHAT)
    assert "row 2" in refused(lambda: sae.encode_sparse(wrong)), "what is stored and counted must be finite"


@pytest.mark.parametrize("shape", [(0, DIM), (DIM,), (2, 3, DIM), (0, 3, DIM), (1, 1, 1, DIM)])
def test_leading_dimensions_stay_and_may_be_empty(shape, tried):
    x = np.ones(shape, dtype=np.float32)
    for sae in SAES.values():
        assert sae.encode(x).shape == (*shape[:-1], WIDTH)
        assert sae.decode(sae.encode(x)).shape == shape
        tried(WHAT)


@pytest.mark.parametrize("shape", [(), (0,), (DIM, 3), (2, 0), (4, DIM + 1), (3, WIDTH)])
def test_another_width_is_refused(shape, tried):
    for sae in SAES.values():
        assert "wide" in refused(lambda sae=sae: sae.encode(np.ones(shape)))
        assert refused(lambda sae=sae: sae.encode_sparse(np.ones(shape)))
        if shape[-1:] != (WIDTH,):
            assert "wide" in refused(lambda sae=sae: sae.decode(np.ones(shape)))
        tried(WHAT)


def test_sparse_latents_of_any_make_are_decoded(tried):
    sae, latents = SAES["relu"], SAES["relu"].encode(ROWS)
    expected = sae.decode(latents)
    dense = latents.numpy()
    for z in (sp.csr_matrix(dense), sp.csc_matrix(dense), sp.coo_matrix(dense), sp.csr_array(dense.astype(np.float64)),
              latents.to_sparse(), latents.to_sparse_csr()):  # fmt: skip
        assert_same(sae.decode(z), expected)
        tried(WHAT)
    assert "wide" in refused(lambda: sae.decode(sp.csr_matrix(dense[:, :-1])))
    assert sae.decode(sp.csr_matrix((0, WIDTH))).shape == (0, DIM)


@pytest.mark.parametrize("size", [0, -1, 1.5, float("nan"), None, True, "3"])
def test_batches_have_a_whole_number_of_rows(size, tried):
    assert refused(lambda: SAES["relu"].encode_sparse(ROWS, size))
    tried(WHAT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("around", AROUND)
def test_what_is_switched_around_its_files_changes_no_byte(kind, around, tmp_path, tried):
    sae = SAES[kind]
    sae.save(tmp_path / "before")
    with AROUND[around]():
        read = SparseAutoencoder.load(tmp_path / "before", device="cpu")
        read.save(tmp_path / "after")
        latents = read.encode(ROWS)
        assert latents.dtype == torch.float32 and latents.device.type == "cpu"
        assert_same(read.decode(latents), sae.decode(latents), 0, 0)
    assert read.hash == sae.hash
    assert_same(latents, sae.encode(ROWS), 0, 0)
    for file in (tmp_path / "before").iterdir():
        assert file.read_bytes() == (tmp_path / "after" / file.name).read_bytes()
    tried(WHAT)


WRONG = {
    "NaN": {"w_enc": torch.full((DIM, WIDTH), float("nan"))}, "infinity": {"b_dec": torch.full((DIM,), float("inf"))},
    "a width": {"w_dec": torch.ones(WIDTH, DIM + 1)}, "a vector": {"w_enc": torch.ones(DIM)},
    "k of none": {"k": 0}, "k of more": {"k": WIDTH + 1}, "no k": {"k": None}, "groups": {"group_sizes": (3, 4)},
    "float64 beyond float32": {"w_dec": torch.full((WIDTH, DIM), 1e39, dtype=torch.float64)},
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_tensors_that_make_no_autoencoder_are_refused(name, tried):
    assert refused(lambda: make_sae("top_k", **WRONG[name]))
    tried(WHAT)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64])
def test_tensors_of_another_type_become_float32(dtype, tried):
    weights = {"w_enc": torch.ones(DIM, WIDTH, dtype=dtype), "b_enc": torch.zeros(WIDTH, dtype=dtype)}
    assert_same(make_sae("relu", **weights).encode(ROWS), make_sae("relu", **{n: w.float() for n, w in weights.items()})
                .encode(ROWS))  # fmt: skip
    tried(WHAT)


def test_a_gradient_goes_through(tried):
    x = torch.tensor(ROWS, requires_grad=True)
    for sae in SAES.values():
        (gradient,) = torch.autograd.grad(sae.decode(sae.encode(x)).sum(), x)
        assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0
        tried(WHAT)
