"""Sparsity: every K and its controls on a toy workbench, MS at equal R², and what is said."""

from copy import deepcopy

import numpy as np
import pytest
from toy_bench import ToyBench

from vlm_sae_lib.claims import sparsity as claims
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.experiments import measure, running, sparsity
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.records.results import published
from vlm_sae_lib.show.experiments.sparsity import FIGURES

FIRST = "self-supervised"


@pytest.fixture(scope="module")
def toy():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "RESAMPLES", 8)
        patch.setattr(sparsity, "every_k", lambda width: [1, 2, 3, 10])
        patch.setattr(sparsity, "paper_value", lambda k, width, **where: {"paper_value": 0.5, "source": "toy"})
        found = Findings("sparsity", "pocket")
        sparsity.run(ToyBench(), found)
    return found


def test_the_papers_k_and_the_same_shares_of_our_width():
    assert sparsity.every_k(128) == [1, 2, 3, 8, 10, 20, 50]
    assert sparsity.every_k(768) == [1, 10, 20, 50]
    assert sparsity.every_k(16) == [1, 10]
    here = {"statistic": "mean", "scoring_encoder": "DINOv2 ViT-B"}
    assert sparsity.paper_value(10, 128, **here) == {"paper_value": 0.19, "source": "v3 Table A11"}
    shared = sparsity.paper_value(2, 128, **here)
    assert shared["paper_value"] == published("sparsity", k=10, **here) and "K = 10 of 768" in shared["source"]


def test_a_value_at_equal_r2_lies_on_the_line_between_its_neighbours():
    path = [(0.4, (0.3, np.array([0.2, 0.4]))), (0.8, (0.1, np.array([0.1, 0.1])))]
    value, draws = sparsity.at_r2(path, 0.5)
    assert value == pytest.approx(0.25) and draws == pytest.approx([0.175, 0.325])
    assert sparsity.at_r2(path, 0.4)[0] == pytest.approx(0.3) and sparsity.at_r2(path, 0.8)[0] == pytest.approx(0.1)
    assert np.isnan(sparsity.at_r2(path, 0.39)[0]) and np.isnan(sparsity.at_r2(path, 0.81)[1]).all()


def test_every_k_has_its_controls(toy):
    for k in (1, 2, 3, 10):
        row = toy.results[f"{FIRST}/Matryoshka/K = {k}/mean"]
        assert set(row["controls"]) == {"random directions", "rectified, cut", "raw"} and row["seeds"] == [0, 1, 2]
    for row in toy.results.values():
        assert set(row["controls"].values()) <= set(toy.results)
    assert toy.value("L0/K = 1") < toy.value("L0/K = 3")


def test_verdicts_follow_the_numbers(toy):
    changed = deepcopy(toy)
    for place, k in enumerate((1, 2, 3, 10)):
        changed.results[f"{FIRST}/Matryoshka/K = {k}/mean"]["value"] = 0.1 * place
        changed.results[f"{FIRST}/K = {k}/Matryoshka minus random directions"] |= {"ci_low": 0.1, "ci_high": 0.2}
    after = {line.claim: line for line in claims.conclude(changed)}
    assert after["The smaller K, the more monosemantic the neurons."].verdict is Verdict.FAILS
    assert next(line for claim, line in after.items() if "random directions" in claim).verdict is Verdict.HOLDS
    for k in (1, 2, 3, 10):
        changed.results[f"{FIRST}/Matryoshka/K = {k}/mean"]["value"] = 1 / k
    assert claims.conclude(changed)[0].verdict is Verdict.HOLDS


def test_without_a_match_in_r2_nothing_is_claimed(toy):
    changed = deepcopy(toy)
    for name in [name for name in changed.results if "at equal R²" in name and "BatchTopK" in name]:
        del changed.results[name]
    changed.results.setdefault(f"{FIRST}/at equal R²/Matryoshka ×1 minus Matryoshka ×4, K = 3", {})
    assert claims.conclude(changed)[-1].verdict is Verdict.UNTESTED


def test_figures_can_be_drawn(toy):
    for draw in FIGURES.values():
        assert draw(toy).get_axes()


def test_published_differences_are_those_of_the_published_means():
    found = Findings.read(running.published("sparsity"))
    for k in sparsity.every_k(128):
        ours = found.value(f"{FIRST}/Matryoshka/K = {k}/mean{sparsity.ENOUGH}")
        for control in sparsity.CONTROLS:
            theirs = found.value(f"{FIRST}/{control}/K = {k}/mean{sparsity.ENOUGH}")
            gap = found.results[f"{FIRST}/K = {k}/Matryoshka minus {control}"]
            assert gap["value"] == pytest.approx(ours - theirs, abs=1e-9) and gap["ci_low"] <= gap["ci_high"]
