"""Codes that are as sparse as an SAE's latents, latent by latent, against the plain definition."""

import numpy as np
import oracles
import pytest
import torch

from vlm_sae_lib.controls import directions
from vlm_sae_lib.controls.codes import at_rates, before_the_cut
from vlm_sae_lib.controls.reconstruction import untrained_sae
from vlm_sae_lib.controls.rectify import RectifiedNeurons
from vlm_sae_lib.errors import UserError

ROWS = np.random.default_rng(0).standard_normal((40, 5)) + 1
FIRES = np.array([0, 3, 17, 1, 40, 2, 8, 8, 5])


@pytest.mark.parametrize("width", [1, 2, 4, 9, 12])
@pytest.mark.parametrize("scale", ["alike", "very different"])
def test_rates_are_handed_out_by_rank_as_by_the_slow_definition(width, scale):
    rng = np.random.default_rng(width)
    values = rng.standard_normal((40, width)) * (1 if scale == "alike" else np.geomspace(0.1, 10, width))
    code = at_rates(values, FIRES)
    kept = [set(np.flatnonzero(column)) for column in code.toarray().T]
    assert kept == oracles.at_rates(values.tolist(), FIRES)
    assert (code.toarray()[code.toarray() > 0] == values[code.toarray() > 0]).all()


def test_the_busiest_gets_the_rate_of_the_busiest_and_the_rarest_that_of_the_rarest():
    values = np.abs(np.random.default_rng(1).standard_normal((40, 1))) * np.arange(1, 10)  # the last is the strongest
    fires = at_rates(values, FIRES).getnnz(axis=0)
    assert sorted(fires) == sorted(FIRES) and fires.tolist() == sorted(fires)
    few = at_rates(values[:, :3], FIRES).getnnz(axis=0)
    assert few.tolist() == [0, 5, 40]  # the first, the middle and the last of the latents in order of their rate


def test_directions_of_little_variance_fire_too():
    """Under one cut for all, the old comparison, they are silent, and a mean of scores is one over fewer neurons."""
    rows, rates = ROWS * np.array([30, 20, 10, 1, 0.1]), np.array([4, 3, 3, 2, 2, 2, 1, 1, 1, 1])
    pca = directions.principal(rows).cut(rows, 0.5)
    assert (pca.encode_sparse(rows).getnnz(axis=0) == 0).sum() >= 4
    assert sorted(at_rates(before_the_cut(pca, rows), rates).getnnz(axis=0)) == sorted(rates)


def test_what_lies_below_zero_never_fires():
    values = np.array([[1.0, -1], [-2, -3], [3, -1]])
    assert at_rates(values, np.array([3, 3])).toarray().tolist() == [[1, 0], [0, 0], [3, 0]]
    assert at_rates(values, np.array([0, 0])).nnz == 0


def test_rates_of_nobody_and_rates_above_one_are_refused():
    with pytest.raises(UserError, match="Firing rates of latents are needed"):
        at_rates(np.ones((3, 2)), np.array([], dtype=int))
    with pytest.raises(UserError, match="at most these 3 pictures"):
        at_rates(np.ones((3, 2)), np.array([4]))


def test_before_the_cut_is_what_a_dictionary_gives_without_its_threshold():
    rows = ROWS.astype(np.float32)
    sae = untrained_sae(rows, 7, 2.0)
    whole = torch.relu((torch.from_numpy(rows) - sae.b_dec) @ sae.w_enc + sae.b_enc)
    np.testing.assert_allclose(before_the_cut(sae, rows), whole, atol=1e-6)
    for cut, fitted in (
        (directions.random(ROWS, 7).cut(ROWS, 2), directions.random(ROWS, 7)),
        (RectifiedNeurons.fit(ROWS, 2), RectifiedNeurons.fit(ROWS)),
    ):
        np.testing.assert_array_equal(before_the_cut(cut, ROWS), fitted.encode(ROWS))
    for coder in (sae, directions.random(ROWS, 7).cut(ROWS, 2)):
        code, whole = coder.encode_sparse(rows).toarray(), before_the_cut(coder, rows)
        np.testing.assert_allclose(code[code > 0], whole[code > 0], atol=1e-5)
        assert np.count_nonzero(whole) > np.count_nonzero(code)
