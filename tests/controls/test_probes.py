"""Probes that are told the truth: the least-squares direction of each value, on pictures they never saw."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from vlm_sae_lib.controls.probes import LinearProbes
from vlm_sae_lib.errors import UserError


def test_each_direction_is_that_of_a_linear_discriminant():
    rng = np.random.default_rng(0)
    rows = rng.normal(0, [1, 10, 0.1], (2000, 3))
    truth = np.stack([rows[:, 0] + rows[:, 1] > 0, rows[:, 2] > 0.1], axis=1)
    probes = LinearProbes.fit(rows, truth)
    assert probes.n_latents == 2 and probes.encode_sparse(rows).shape == (2000, 2)
    for value in range(2):
        there = LinearDiscriminantAnalysis().fit(rows, truth[:, value]).coef_[0]
        ours = probes.weights[:, value]
        assert ours @ there / np.linalg.norm(ours) / np.linalg.norm(there) == pytest.approx(1, abs=1e-4)


def test_one_value_a_constant_neuron_and_a_value_that_no_picture_has():
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(50, 2)), np.ones((50, 1))], axis=1)
    probes = LinearProbes.fit(rows, np.zeros((50, 1), dtype=bool))
    assert np.isfinite(probes.weights).all() and np.allclose(probes.encode_sparse(rows).toarray(), 0)


def test_a_truth_of_other_pictures_is_refused():
    with pytest.raises(UserError, match="truth of 3"):
        LinearProbes.fit(np.zeros((4, 2)), np.zeros((3, 1), dtype=bool))
