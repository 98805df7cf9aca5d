"""The loop that others are made of against its definition, on sizes that four does not divide."""

import numpy as np
import pytest

from vlm_sae_lib.machine.loops import add_rows


@pytest.mark.parametrize("count", range(10))
def test_rows_are_added(count):
    rng = np.random.default_rng(count)
    rows, weights = rng.normal(size=(6, 5)).astype(np.float32), rng.random(count)
    pictures, total = rng.integers(6, size=count).astype(np.int32), np.ones(5)
    add_rows(total, rows, pictures, weights, 0, count)
    np.testing.assert_allclose(total, 1 + weights @ rows[pictures].astype(np.float64), rtol=1e-14)
