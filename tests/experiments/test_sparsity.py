"""Sparsity: every K and its controls on a toy workbench, MS at equal R², and what is said."""

from copy import deepcopy

import numpy as np
import pytest
from toy_bench import ToyBench

from vlm_sae_lib.claims import sparsity as claims
from vlm_sae_lib.controls.codes import random_directions
from vlm_sae_lib.controls.rectify import RectifiedNeurons
from vlm_sae_lib.experiments import measure, running, sparsity
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.records.results import published
from vlm_sae_lib.scores.comparison import pictures_above_minimum
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.scores.reconstruction import reconstruction
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
    r2, values = [0.8, 0.4], [0.1, 0.3]
    assert sparsity.at_r2(r2, values, 0.5) == pytest.approx(0.25)
    assert sparsity.at_r2(r2, values, 0.4) == 0.3 and sparsity.at_r2(r2, values, 0.8) == 0.1
    assert np.isnan(sparsity.at_r2(r2, values, 0.39)) and np.isnan(sparsity.at_r2(r2, values, 0.81))


def test_every_k_has_its_controls(toy):
    for k in (1, 2, 3, 10):
        row = toy.results[f"{FIRST}/Matryoshka/K = {k}/mean"]
        assert set(row["controls"]) == {*sparsity.CONTROLS, "raw"} and len(row["seeds"]) == 10
        assert row["interval"] == measure.OVER_TRAININGS
    for row in toy.results.values():
        assert set(row["controls"].values()) <= set(toy.results)
    assert toy.value("L0/K = 1") < toy.value("L0/K = 3")


@pytest.mark.parametrize(("suffix", "least"), [("", 2), (ENOUGH, 10)])
def test_the_slopes_by_hand(toy, suffix, least):
    """From a line through the means, each of the random directions of the same seed, under either encoder."""
    bench, ks = ToyBench(), (1, 2, 3, 10)
    test = bench.activations("test", "projection")
    net, gross = (toy.effects[f"slope over sparsity{end}{suffix}"] for end in (" beyond random directions", ""))
    assert net.cases == bench.scoring_names and net.values.shape == (10, 2)
    for seed in (1, 9):
        means = {"sae": [], "random": [], "frozen": [], "rectified": []}
        for k in ks:
            sae = bench.saes([bench.config("matryoshka_batch_top_k", 1, k=k, seed=seed)], "projection")[0]
            code = sae.encode_sparse(test)
            config = bench.config("matryoshka_batch_top_k", 1, k=k, seed=seed, frozen="decoder")
            frozen, train = bench.saes([config], "projection")[0], bench.activations("train", "projection")
            raw, l0 = test.array().numpy(), reconstruction(sae, train).l0
            codes = {
                "sae": code, "random": random_directions(raw, code, seed), "frozen": frozen.encode_sparse(test),
                "rectified": RectifiedNeurons.fit(train, l0).encode_sparse(raw),
            }  # fmt: skip
            for who, each in codes.items():
                ms = monosemanticity_score(each, bench.embeddings(name="second CLIP").array())
                means[who].append(np.nanmean(ms[pictures_above_minimum(each) >= least]))
        slopes = {who: np.polyfit([-np.log2(k) for k in ks], each, 1)[0] for who, each in means.items()}
        assert gross.values[seed, 1] == pytest.approx(slopes["sae"])
        assert net.values[seed, 1] == pytest.approx(slopes["sae"] - slopes["random"])
        for end, who in (("a frozen decoder", "frozen"), ("rectified, cut", "rectified")):
            beyond = toy.effects[f"slope over sparsity beyond {end}{suffix}"]
            assert beyond.values[seed, 1] == pytest.approx(slopes["sae"] - slopes[who])


def test_answers_follow_the_numbers_and_carry_no_verdict(toy):
    changed = deepcopy(toy)
    for k in (1, 2, 3, 10):
        name = f"{FIRST}/K = {k}/Matryoshka minus random directions"
        changed.results[name] |= {"value": 0.15, "ci_low": 0.1, "ci_high": 0.2}
    gains = [line for line in claims.observe(changed) if "random directions" in line.question]
    assert "Over all neurons with a score: 4 of 4 lie above zero with their whole interval" in gains[0].answer
    for line in claims.observe(toy):
        assert not hasattr(line, "verdict") and " holds" not in line.answer
        assert set(line.rests_on) <= set(toy.results)


def test_results_in_the_files_order_say_the_same(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("VLM_SAE_RUNS", str(tmp_path))
    assert claims.observe(Findings.read(toy.write())) == claims.observe(toy)


def test_without_a_match_in_r2_that_is_what_is_said(toy):
    changed = deepcopy(toy)
    for name in [name for name in changed.results if "/at equal R²" in name]:
        del changed.results[name]
    assert claims.observe(changed)[-1].answer.count("no BatchTopK SAE's R² lies between") == 2


def test_figures_can_be_drawn(toy):
    for draw in FIGURES.values():
        assert draw(toy).get_axes()


def test_published_differences_are_those_of_the_published_means():
    found = Findings.read(running.published("sparsity"))
    for k in sparsity.every_k(128):
        for suffix in ("", ENOUGH):
            ours = found.value(f"{FIRST}/Matryoshka/K = {k}/mean{suffix}")
            for control in sparsity.CONTROLS:
                theirs = found.value(f"{FIRST}/{control}/K = {k}/mean{suffix}")
                gap = found.results[f"{FIRST}/K = {k}/Matryoshka minus {control}{suffix}"]
                assert gap["value"] == pytest.approx(ours - theirs, abs=1e-9) and gap["ci_low"] <= gap["ci_high"]
