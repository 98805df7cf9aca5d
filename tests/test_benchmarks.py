"""What the benchmarks time on the other side computes the same, or its time would say nothing."""

import mmap
import time

import numpy as np
import pytest
import torch

from benchmarks import scoring, similarity
from benchmarks.timing import Row, peak_gib, side_by_side
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.scores.uniqueness import uniqueness


def test_the_pair_loop_and_the_dense_form_are_the_score():
    code, unit = scoring.sparse_code(230, 40, 4), scoring.unit_rows(230, 12)
    ours = monosemanticity_score(code, unit)
    dense, units = torch.from_numpy(code.toarray()), torch.from_numpy(unit)
    total, weight = scoring.pair_loop(dense, units, len(code.toarray()))
    np.testing.assert_allclose((total / weight).numpy(), ours, atol=1e-4)
    np.testing.assert_allclose(scoring.dense_linear(dense, units).numpy(), ours, atol=1e-3)


def test_a_code_has_k_latents_a_picture_at_most_and_frequent_ones_come_first():
    code = scoring.sparse_code(500, 60, 5)
    assert code.shape == (500, 60) and np.diff(code.indptr).max() <= 5 and code.data.min() > 0
    rates = np.diff(code.tocsc().indptr)
    assert rates[:10].sum() > 2 * rates[-10:].sum()


def test_sets_count_the_pairs_that_we_count():
    top = np.random.default_rng(0).integers(200, size=(50, 16))
    assert similarity.by_sets(top) == uniqueness(top).pairs_above(0)


def test_both_sides_run_in_turns_and_a_part_is_scaled():
    calls = []
    ours, theirs = side_by_side(lambda: calls.append("ours"), lambda: calls.append("theirs"), runs=3, scale=1000)
    assert calls == ["ours", "theirs"] * 4 and len(ours) == len(theirs) == 3
    row = Row("s", "w", [1.0, 2.0, 4.0], "peer", [10.0, 10.0, 10.0], wanted=4)
    found = row.as_dict()
    assert (found["ratio"], found["ratio_low"], found["ratio_high"]) == pytest.approx((5, 2.5, 10))
    assert "× 5.0 [2.5, 10.0]" in str(row) and "ratio" not in Row("s", "w", [1.0]).as_dict()


def test_the_peak_is_seen_while_it_lasts():
    def work():
        held = mmap.mmap(-1, 2**28)  # the allocator may have as much left from other tests
        np.frombuffer(held, dtype=np.uint8)[:] = 1
        time.sleep(0.05)

    assert 0.2 < peak_gib(work) < 0.4  # 0.25 GiB
