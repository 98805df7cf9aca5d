"""Other towers and encoders: who scores whom, against what, and what is said of it."""

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import oracles
import pytest

from vlm_sae_lib import Workbench, load_profile
from vlm_sae_lib.claims import towers as claims
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.experiments import running, towers
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.pocket.world import pocket_pictures
from vlm_sae_lib.scores.comparison import Scored
from vlm_sae_lib.show.experiments.towers import FIGURES
from vlm_sae_lib.towers import load_tower


@pytest.fixture
def published():
    return Findings.read(running.published("towers"))


@pytest.mark.parametrize("profile", ["pocket", "colab"])
def test_no_tower_is_scored_by_itself(profile):
    profile = load_profile(profile)
    benches = towers.explained(profile)
    specs = {profile.tower, *dict(profile.scoring_towers).values()}
    assert {bench.profile.tower for bench in benches.values()} == specs
    for bench in benches.values():
        scoring = [spec for _, spec in bench.profile.scoring_towers]
        assert bench.profile.tower not in scoring and {*scoring, bench.profile.tower} == specs
    assert benches[towers.FIRST].scoring_names == Workbench(profile).scoring_names


def test_blocks_are_read_where_there_is_a_class_token():
    def bench(has_cls, points, block="block_5"):
        tower = SimpleNamespace(has_cls=has_cls, hook_points=points)
        return SimpleNamespace(tower=lambda: tower, profile=SimpleNamespace(main_hook_point=block))

    assert towers.hook_points(bench(True, ("block_5", "projection"))) == ["projection", "block_5"]
    assert towers.hook_points(bench(False, ("block_5", "projection"))) == ["projection"]
    assert towers.hook_points(bench(True, ("block_0", "projection"))) == ["projection"]
    assert towers.hook_points(bench(True, ("projection",), "projection")) == ["projection"]


def test_papers_numbers_stand_beside_their_counterparts():
    mean = towers._paper("first CLIP/projection/self-supervised", "Matryoshka ×4", "mean")
    assert mean == {"paper_value": 0.23, "source": "v3 Table A2"}
    assert towers._paper("first CLIP/block_5/second CLIP", "raw", "mean")["paper_value"] == 0.4814
    assert towers._paper("second CLIP/projection/first CLIP", "BatchTopK ×1", "best")["paper_value"] == 0.83
    assert towers._paper("self-supervised/projection/second CLIP", "Matryoshka ×1", "best")["paper_value"] == 0.79
    assert towers._paper("first CLIP/projection/self-supervised", "rectified, cut", "mean") == {}
    assert towers._paper("second CLIP/block_5/first CLIP", "raw", "mean") == {}


def scored(*means, neurons=12, draws=20):
    rng = np.random.default_rng(1)
    runs = []
    for mean in means:
        ms = mean + 0.02 * rng.standard_normal(neurons)
        moved = ms + 0.01 * rng.standard_normal((draws, neurons))
        runs.append(Scored(ms, moved, np.full(neurons, 30)))
    return runs


def toy_parts(**changed):
    means = {
        "raw": [0.0], "rectified, cut": [0.1], "Matryoshka ×1": [0.3] * 3, "Matryoshka ×4": [0.4, 0.42, 0.38],
        "random for Matryoshka ×4": [0.2] * 3,
    }  # fmt: skip
    return {what: scored(*values) for what, values in (means | changed).items()}


def test_every_number_stands_beside_its_controls():
    found = Findings("towers", "pocket")
    rows = towers._record_means(found, "first CLIP/projection/self-supervised", toy_parts())
    assert [row["what"] for row in rows] == list(toy_parts())
    name = "first CLIP/projection/self-supervised/mean/Matryoshka ×4"
    assert found.results[name]["n"] == 36 and found.results[name]["seeds"] == [0, 1, 2]
    assert set(found.results[name]["controls"]) == {"raw", "rectified, cut", "random directions"}
    assert all(c in found.results for row in found.results.values() for c in row["controls"].values())
    gap = found.results["first CLIP/projection/self-supervised/Matryoshka ×4 minus raw"]
    assert gap["ci_low"] > 0.3 and gap["value"] == pytest.approx(0.4, abs=0.03)


def test_published_verdicts_turn_with_the_numbers(published):
    before = {line.claim: line for line in claims.conclude(published)}
    for line in before.values():
        assert all(name in published.results for name in line.rests_on)
    for control in claims.CONTROLS:
        changed = deepcopy(published)
        claim = next(claim for claim in before if claim.endswith(f"above {claims.CONTROLS[control]}."))
        for name in before[claim].rests_on:
            changed.results[name] |= {"ci_low": -0.1, "value": -0.05, "ci_high": 0.0}
        after = {line.claim: line.verdict for line in claims.conclude(changed)}
        assert after[claim] is Verdict.FAILS
        changed.results[before[claim].rests_on[0]] |= {"ci_low": 0.1, "value": 0.2, "ci_high": 0.3}
        assert {line.claim: line.verdict for line in claims.conclude(changed)}[claim] is Verdict.IN_PART


def test_a_sample_agrees_with_the_slow_definition(published):
    pictures = pocket_pictures(towers.SAMPLE, 13).images
    raw, embeddings = (load_tower(spec).activations(pictures, "projection").numpy()
                       for spec in ("pocket:second_clip", "pocket:self_supervised"))  # fmt: skip
    sample = published.frame("sample")
    assert sample["neuron"].tolist() == towers.SAMPLED
    for neuron, ms in zip(sample["neuron"], sample["MS"], strict=True):
        assert ms == pytest.approx(oracles.monosemanticity(raw[:, neuron], embeddings), abs=2e-4)


@pytest.mark.parametrize("name", FIGURES)
def test_figures_fit_a_phone(published, name):
    figure = FIGURES[name](published)
    assert figure.get_size_inches()[0] <= 6.4 and figure.axes[0].get_xlabel()
