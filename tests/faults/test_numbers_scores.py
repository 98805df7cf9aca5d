"""Scores of activations that are tiny, huge, constant, alone, or stored in too few bits: as they are defined."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from bad_numbers import EIGHTHS, SPARSE_EIGHTHS, assert_same, directed, matrices, refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import auroc, best_threshold_f1, firing_rate, monosemanticity, top_images
from oracles import r2 as slow_r2
from oracles import r2_paper as slow_r2_paper
from random_saes import make_sae

from vlm_sae_lib.controls.codes import random_directions, shuffled_code
from vlm_sae_lib.scores import monosemanticity_score, ms_bootstrap
from vlm_sae_lib.scores.reconstruction import r2, r2_paper, reconstruction
from vlm_sae_lib.scores.truth import detection_scores
from vlm_sae_lib.statistics import NeuronStatistics
from vlm_sae_lib.statistics.inputs import activation_matrix

WHAT = "bad numbers and shapes"
QUIET = {"deadline": None, "derandomize": True, "database": None, "suppress_health_check": list(HealthCheck)}
SCALES = [2.0**-149, 2.0**-126, 2.0**-60, 1.0, 2.0**60, 2.0**126]
"""From the smallest denormal of float32 to its largest power of two."""


def by_definition(activations, embeddings):
    return np.array([monosemanticity(column, embeddings) for column in activations.T])


def few_numbers(elements, least=1):
    sizes = st.tuples(st.integers(least, 7), st.integers(1, 4), st.integers(1, 3))
    return sizes.flatmap(lambda s: st.tuples(matrices(s[0], s[1], elements), directed(s[0], s[2])))


@pytest.mark.faults
@pytest.mark.parametrize("elements", [EIGHTHS, SPARSE_EIGHTHS], ids=["signed", "sparse"])
@pytest.mark.parametrize("scale", SCALES)
def test_ms_is_its_definition_at_every_size_of_numbers(elements, scale, tried):
    @settings(max_examples=25, **QUIET)
    @given(few_numbers(elements))
    def hold(drawn):
        activations, embeddings = drawn
        expected = by_definition(activations, embeddings)
        scaled = activations.astype(np.float64) * (8 * scale if scale < 2.0**-140 else scale)
        length = embeddings.astype(np.float64) * (scale if 1e-30 < scale < 1e30 else 1)
        for given_ in (scaled, sp.csr_matrix(scaled), scaled.astype(np.float32)):
            np.testing.assert_allclose(monosemanticity_score(given_, length), expected, 1e-9, 1e-9)
            statistics = NeuronStatistics(activations.shape[1], embeddings.shape[1], 3)
            for row in range(len(scaled)):  # one picture at a time
                statistics.update(given_[row : row + 1], length[row : row + 1], [row])
            np.testing.assert_allclose(statistics.monosemanticity(), expected, 1e-9, 1e-9)
            tried(WHAT, 2)
        rates = [firing_rate(column) for column in scaled.T]
        np.testing.assert_allclose(statistics.firing_rate(), rates)
        ids = [top_images(column, range(len(scaled)), 3)[0] for column in scaled.T]
        np.testing.assert_array_equal(statistics.top_images(), ids)

    hold()


@pytest.mark.faults
@pytest.mark.parametrize("scale", SCALES[1:])
def test_r2_is_its_definition_at_every_size_of_numbers(scale, tried):
    @settings(max_examples=40, **QUIET)
    @given(few_numbers(EIGHTHS, least=2), st.integers(0, 99))
    def hold(drawn, seed):
        x = drawn[0].astype(np.float64)
        x_hat = x + np.random.default_rng(seed).integers(-2, 3, x.shape) / 8
        found, paper = r2(x * scale, x_hat * scale), r2_paper(x * scale, x_hat * scale)
        if (x == x[0]).all():
            assert math.isnan(found) and math.isnan(paper)
        else:
            np.testing.assert_allclose((found, paper), (slow_r2(x, x_hat), slow_r2_paper(x, x_hat)), 1e-8, 1e-8)
        tried(WHAT)

    hold()


@pytest.mark.faults
def test_detection_is_its_definition_with_constant_columns_and_one_picture(tried):
    @settings(max_examples=60, **QUIET)
    @given(few_numbers(SPARSE_EIGHTHS), st.lists(st.booleans(), min_size=7, max_size=7))
    def hold(drawn, shown):
        activations, truth = drawn[0], np.array(shown[: len(drawn[0])])
        factors = pd.DataFrame({"it": np.where(truth, "yes", "no")})
        for form in (activations, sp.csr_matrix(activations), activations.astype(np.float16)):
            scores = detection_scores(form, factors, ["it"])
            for row in scores[scores["value"] == "yes"].itertuples():
                column = activations[:, row.neuron].astype(np.float64)
                assert math.isclose(row.best_f1, best_threshold_f1(column, truth), abs_tol=1e-12)
                np.testing.assert_allclose(row.auroc, auroc(column, truth))
            tried(WHAT)

    hold()


def sparse_code(dtype):
    """Fewer than a tenth of the entries: what is turned into a sparse matrix inside."""
    code = np.zeros((40, 12), dtype=dtype)
    code[np.random.default_rng(0).integers(40, size=36), np.tile(np.arange(12), 3)] = 3
    return code


EMBEDDINGS = np.random.default_rng(1).standard_normal((40, 5))


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.uint8, bool, np.int64, ">f4", np.longdouble])
def test_a_code_in_few_bits_is_scored_as_it_is(dtype, tried):
    code = sparse_code(dtype)
    plain = code.astype(np.float64)
    expected = by_definition(plain, EMBEDDINGS)
    np.testing.assert_allclose(monosemanticity_score(code, EMBEDDINGS), expected, 1e-9, 1e-12)
    assert_same(ms_bootstrap(code, EMBEDDINGS, 3), ms_bootstrap(plain, EMBEDDINGS, 3))
    assert_same(shuffled_code(code), shuffled_code(plain))
    tried(WHAT, 3)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
def test_entries_stored_twice_are_added_up_without_running_over(dtype, tried):
    most = np.iinfo(dtype).max
    twice = sp.coo_matrix((np.array([most, most, 1], dtype=dtype), ([0, 0, 1], [0, 0, 1])), shape=(3, 2))
    expected = [[2.0 * most, 0], [0, 1], [0, 0]]
    unsummed = sp.csr_matrix((twice.data, [0, 0, 1], [0, 2, 3, 3]), shape=(3, 2))
    for form in (twice, unsummed, torch.sparse_coo_tensor([[0, 0, 1], [0, 0, 1]], torch.tensor(twice.data), (3, 2))):
        np.testing.assert_array_equal(activation_matrix(form).toarray(), expected)
        tried(WHAT)


def test_a_zero_that_is_stored_does_not_fire(tried):
    code = sparse_code(np.float32)
    stored = sp.csr_matrix(np.ones_like(code))
    stored.data[:] = code.ravel()
    for control in (lambda z: random_directions(EMBEDDINGS, z), shuffled_code):
        assert_same(control(stored), control(sp.csr_matrix(code)))
        tried(WHAT)
    assert refused(lambda: random_directions(EMBEDDINGS[:7], code)), "other pictures"


@pytest.mark.parametrize("shape", [(0, 3, 2), (1, 3, 2), (2, 0, 2), (0, 0, 2), (3, 50, 2), (1, 50, 1), (2, 2, 0)])
def test_no_picture_one_picture_no_neuron_and_more_neurons_than_pictures(shape, tried):
    n, f, d = shape
    a, e = np.arange(n * f, dtype=float).reshape(n, f) % 7, np.ones((n, d))
    if d == 0:
        assert refused(lambda: monosemanticity_score(a, e))
        return
    expected = by_definition(a, e) if n else np.full(f, np.nan)
    for form in (a, sp.csr_matrix(a), torch.tensor(a).to_sparse()):
        np.testing.assert_allclose(monosemanticity_score(form, e), expected)
        assert ms_bootstrap(form, e, 2, per_neuron=True).shape == (2, f)
        tried(WHAT, 2)
    undefined = [math.isnan(score) for score in ms_bootstrap(np.zeros((n, f)), e, 2)]
    assert all(undefined), "constant neurons have no score"


BAD_ROWS = {
    "one axis": np.ones(6), "three axes": np.ones((2, 3, 6)), "width": np.ones((3, 5)), "no row": np.ones((0, 6)),
    "a number": 3.0, "None": None, "NaN": np.full((2, 6), np.nan),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ROWS)
def test_reconstruction_reads_rows_of_the_width(name, tried):
    assert refused(lambda: reconstruction(make_sae("top_k"), BAD_ROWS[name]))
    tried(WHAT)


@pytest.mark.parametrize(
    "other", [np.ones((1, 3)), np.ones(3), 1.0, np.ones((4, 1)), np.ones((3, 3)), np.ones((4, 3, 1))]
)
def test_r2_compares_rows_with_as_many_and_broadcasts_nothing(other, tried):
    x = np.arange(12.0).reshape(4, 3)
    for score in (r2, r2_paper):
        assert refused(lambda score=score: score(x, other))
        assert refused(lambda score=score: score(other, x))
        tried(WHAT, 2)
