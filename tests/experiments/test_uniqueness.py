"""Uniqueness: the three chances, what is counted, what is said, and a slow second look."""

from collections import Counter
from copy import deepcopy
from itertools import combinations

import numpy as np
import oracles
import pytest
import scipy.sparse as sp
from toy_bench import ToyBench

from vlm_sae_lib import Workbench, load_profile
from vlm_sae_lib.claims import uniqueness as claims
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.experiments import running, uniqueness
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.scores.uniqueness import uniqueness as compare
from vlm_sae_lib.show.experiments.uniqueness import FIGURES


@pytest.fixture(scope="module")
def toy():
    found = Findings("uniqueness", "pocket")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uniqueness, "SAMPLE", 60)
        uniqueness.run(ToyBench(400), found)
    return found


def test_a_new_dealing_keeps_every_picture_as_popular():
    rng = np.random.default_rng(0)
    sets = np.stack([rng.choice(30, 6, replace=False, p=np.arange(1, 31) / 465) for _ in range(40)])
    dealt = uniqueness.deal_again(sets, rng)
    assert Counter(dealt.ravel().tolist()) == Counter(sets.ravel().tolist()) and (dealt != sets).any()
    assert all(len(set(row)) == 6 for row in dealt.tolist())
    assert uniqueness.deal_again(np.empty((0, 6), dtype=int), rng).shape == (0, 6)


def test_pictures_shared_and_twins_are_what_counting_gives():
    rng = np.random.default_rng(1)
    sets = np.stack([rng.choice(60, 16, replace=False) for _ in range(12)])
    sets[3, :14] = sets[7, :14]
    sets[3, 14:] = [i for i in range(60) if i not in sets[3, :14]][:2]
    report = compare(sets, most_similar=uniqueness.EVERY_PAIR)
    common = [len(set(a) & set(b)) for a, b in combinations(sets.tolist(), 2)]
    assert uniqueness.shared(report) == pytest.approx(np.mean(common))
    assert uniqueness.with_twin(report) == pytest.approx(2 / 12)


def test_without_neurons_nothing_is_said():
    report = compare(np.full((3, 16), -1))
    assert np.isnan([uniqueness.shared(report), uniqueness.with_twin(report), uniqueness.share_above(report, 0)]).all()


def test_a_neuron_of_fifteen_pictures_is_left_out():
    code = np.zeros((40, 2))
    code[:16, 0], code[:15, 1] = np.arange(1, 17), 1
    top, last = uniqueness.top_pictures(sp.csr_matrix(code), np.arange(40))
    assert last.tolist() == [1, 0] and compare(top, last).neurons.tolist() == [0]
    assert top[0].tolist() == list(range(15, -1, -1))


def test_blind_dealings_meet_as_often_as_they_must(toy):
    for name in ("share of pairs above 0", "shared pictures per pair"):
        row, exact = toy.results[f"{name}/blind sets"], toy.value(f"{name}/blind sets, exact")
        assert row["value"] == pytest.approx(exact, rel=0.15)
    same = (toy.value(f"shared pictures per pair{end}") for end in ("", "/equally popular pictures"))
    assert next(same) == pytest.approx(next(same))


def test_verdicts_follow_the_numbers(toy):
    changed = deepcopy(toy)
    changed.results["share of pairs above 0.5"] |= {"value": 0.0001, "ci_low": 0.0, "ci_high": 0.0005}
    changed.results["neurons with a twin"] |= {"value": 0.9, "ci_low": 0.8, "ci_high": 1.0}
    changed.results["neurons with a twin/random directions"] |= {"value": 0.1, "ci_low": 0.0, "ci_high": 0.2}
    lines = claims.conclude(changed)
    assert lines[0].verdict is Verdict.HOLDS and lines[-1].verdict is Verdict.FAILS
    changed.results["share of pairs above 0.5"]["ci_high"] = 0.1
    changed.results["neurons with a twin/random directions"]["ci_low"] = 1.1
    lines = claims.conclude(changed)
    assert lines[0].verdict is Verdict.FAILS and lines[-1].verdict is Verdict.HOLDS


def test_figures_can_be_drawn(toy):
    for draw in FIGURES.values():
        assert draw(toy).get_axes()


def test_the_published_sample_by_sets():
    found = Findings.read(running.published("uniqueness"))
    bench = Workbench(load_profile("pocket", test_pictures=f"pocket:{uniqueness.SAMPLE}:13"))
    sae = bench.shown("main_matryoshka")
    code = sae.encode_sparse(bench.activations("test", bench.profile.main_hook_point)).toarray()
    assert found.inputs["sae/main_matryoshka"] == sae.hash
    sample = found.frame("sample")
    for row in sample.itertuples():
        ours, other = (oracles.top_images(code[:, i], range(len(code)), 16)[0] for i in (row.latent, row.other))
        assert oracles.jaccard(ours, other) == pytest.approx(row.jaccard)
