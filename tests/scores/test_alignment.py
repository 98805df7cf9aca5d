"""Alignment by bins, and observers who know the truth, against plain Python."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from vlm_sae_lib.controls import observers
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.scores import alignment
from vlm_sae_lib.statistics.intervals import spearman, spearman_draws

FACTORS = pd.DataFrame({"shape": list("aabbccaabb"), "colour": list("rrrrrrrgbb")})
TOP = np.array([[0, 1, 6, 7], [2, 4, 6, 9], [8, 9, -1, -1], [3, -1, -1, -1], [-1, -1, -1, -1]])


def test_factor_agreement_is_the_share_over_all_pairs():
    found = observers.factor_agreement(TOP, FACTORS, ["shape", "colour"])
    for neuron, top in enumerate(TOP):
        pairs = list(itertools.combinations([i for i in top if i >= 0], 2))
        same = [FACTORS[c][a] == FACTORS[c][b] for a, b in pairs for c in FACTORS]
        assert found[neuron] == pytest.approx(np.mean(same)) if pairs else math.isnan(found[neuron])


def test_most_shared_and_surprise_by_hand():
    shared = observers.most_shared(TOP, FACTORS, ["shape", "colour"])
    assert shared[0] == pytest.approx(1.0)  # all four are "a"
    assert shared[1] == pytest.approx(max((0.5 - 0.4) / 0.6, (0.75 - 0.7) / 0.3))
    assert shared[2] == 1.0 and shared[3] == 1.0 and math.isnan(shared[4])
    surprise = observers.surprise(TOP, FACTORS, ["shape", "colour"])
    assert surprise[0] == pytest.approx(-math.log10(0.4**4))
    assert surprise[2] == pytest.approx(-math.log10(0.2**2))
    assert math.isnan(surprise[4])
    with pytest.raises(UserError, match="Image id 9 has no factors"):
        observers.surprise(TOP, FACTORS[:9], ["shape"])


def test_a_tie_goes_to_the_second():
    x, y = np.array([1.0, 2.0, 1.0]), np.array([1.0, 1.0, 2.0])
    assert alignment.prefers_first(x, y).tolist() == [False, True, False]


def test_bins_begin_where_the_paper_says_and_nan_has_none():
    x = np.array([0.0, 0.3, 0.7, 0.95, np.nan, 0.1 + 0.2])
    assert alignment.bin_of(x, np.zeros(6)).tolist() == [0, 3, 7, 9, -1, 3]


def test_by_bin_counts_and_the_headline_weighs_bins_alike():
    aligned = np.array([True] * 9 + [False] * 3 + [True] * 10 + [False])
    bins = np.array([0] * 12 + [4] * 10 + [6])
    table = alignment.by_bin(aligned, bins)
    assert table["pairs"].tolist() == [12, 10, 1] and table["aligned"].tolist() == [9, 10, 0]
    assert alignment.uniform_alignment(table) == pytest.approx((0.75 + 1) / 2)  # one pair makes no bin
    assert alignment.shares_by_bin(aligned, bins) == {0: 0.75, 4: 1.0, 6: 0.0}
    assert alignment.shares_by_bin(aligned, bins, 10) == {0: 0.75, 4: 1.0}
    assert alignment.uniform_share(aligned, bins) == pytest.approx(0.875)


def test_pairs_without_a_bin_count_nowhere_and_no_bin_gives_nothing():
    aligned, bins = np.array([True, False, True]), np.array([-1, -1, 2])
    assert alignment.shares_by_bin(aligned, bins) == {2: 1.0}
    assert math.isnan(alignment.uniform_share(aligned, bins))
    assert alignment.shares_by_bin(aligned[:2], bins[:2]) == {}


def test_balanced_pairs_are_different_known_and_balanced():
    scores = np.concatenate([np.full(40, 0.01), np.linspace(0, 0.45, 20), [np.nan]])
    pairs = alignment.balanced_pairs(scores, 200, seed=1)
    assert pairs.shape == (200, 2) and (pairs[:, 0] != pairs[:, 1]).all() and pairs.max() < 60
    assert len({tuple(sorted(pair)) for pair in pairs.tolist()}) == 200
    sizes = np.bincount(alignment.bin_of(*scores[pairs.T]))
    assert sizes.max() - sizes.min() <= 1 and sizes.sum() == 200
    assert 0.3 < (pairs[:, 0] < pairs[:, 1]).mean() < 0.7
    with pytest.raises(UserError, match="draw no more than those, not 4000"):
        alignment.balanced_pairs(scores, 4000)


def test_draws_of_spearman_belong_to_its_value():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 40))
    a[3] = np.nan
    value, draws = spearman_draws(a, a + b, n_resamples=300)
    estimate = spearman(a, a + b)
    assert value == estimate.value and draws.shape == (300,)
    assert np.quantile(draws, 0.5) == pytest.approx(value, abs=0.08)
    assert math.isnan(spearman_draws(a[:1], b[:1])[0])
