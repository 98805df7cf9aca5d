"""What notebooks write down: every control names a result, a verdict says what the intervals say, no name is lost."""

import json

import numpy as np
import pandas as pd
import pytest

from vlm_sae_lib import paths
from vlm_sae_lib.notebook_results import (
    activation_collection,
    llava_steering,
    monosemanticity_score,
    sae_training,
    taxonomy_alignment,
)
from vlm_sae_lib.records.results import Results
from vlm_sae_lib.scores.comparison import score
from vlm_sae_lib.statistics.intervals import Estimate, Interval
from vlm_sae_lib.steering.experiment import METHODS


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("VLM_SAE_RUNS", str(tmp_path))
    made = Results("03_toy", "pocket")
    yield made
    assert json.loads(made.write().read_text())["results"].keys() == made.results.keys()  # every control is a result


def estimate(value: float, reach: float = 0.1) -> Estimate:
    return Estimate(value, Interval(value - reach, value + reach))


def test_an_sae_that_exceeds_no_rival_says_so_and_the_others_have_no_verdict(results):
    rng = np.random.default_rng(0)
    embeddings = np.repeat(np.eye(4), 20, axis=0)
    good = np.repeat(np.eye(4), 20, axis=0) * rng.uniform(1, 2, (80, 1))
    noise = rng.uniform(0, 1, (80, 4))
    parts = {
        kind: score(code, embeddings, resamples=20, seed=0)
        for kind, code in (
            ("raw", noise),
            ("rectified", noise),
            ("batch_top_k", noise),
            ("matryoshka_batch_top_k", good),
        )
    }
    monosemanticity_score.means(results, {"an encoder": parts}, 10, 4, 0)
    found = results.results
    assert found["ms_mean/an encoder/matryoshka_x4"]["verdict"] == "above every control"
    assert found["ms_mean/an encoder/batch_top_k_x4"]["verdict"].startswith("not above: raw")
    assert found["ms_mean/an encoder/rectified"]["verdict"] is None
    assert found["ms_mean/an encoder/matryoshka_x4"]["controls"] == {
        "raw": "ms_mean/an encoder/raw", "rectified": "ms_mean/an encoder/rectified",
    }  # fmt: skip
    assert set(monosemanticity_score.main_comparison({"an encoder": parts}, 4)) - set(found) == {
        f"{prefix}/an encoder/rectified_cut" for prefix in ("ms_mean", "ms_mean_active")
    }


def test_rates_ratios_and_their_controls(results):
    rows = [
        {"about": about, "method": method, "outcome": outcome, "rate": 0.5, "low": 0.4, "high": 0.6, "concepts": 4}
        for about in ("order", "all") for method in METHODS for outcome in ("success", "rest")
    ]  # fmt: skip
    llava_steering.rates(results, {"insertion": pd.DataFrame(rows)}, seed=0)
    found = results.results
    assert found["insertion/all/steered"]["paper_value"] is not None
    assert found["insertion_rest/order/steered"]["paper_value"] is None
    assert set(found["insertion/order/steered"]["controls"]) == set(METHODS[1:])
    ratio = {"value": np.inf, "low": 2.0, "high": np.inf, "best_control": METHODS[1], "concepts": 4}
    llava_steering.ratios(results, {"insertion/all": ratio}, 3, 0)
    row = found["insertion/all/times best control"]
    assert (row["value"], row["ci_low"], row["ci_high"]) == (None, 2.0, None) and "undecided" in row["verdict"]


def test_levels_have_their_controls_and_the_papers_depth(results):
    shown = {kind: [estimate(i) for i in range(2)] for kind in taxonomy_alignment.KEYS}
    taxonomy_alignment.depths(results, shown, shown[taxonomy_alignment.OURS], 1.5, [3, 4], [5, 6],
                              [estimate(0.2)] * 2, 100, 0)  # fmt: skip
    row = results.results["depth_rounded_mean/matryoshka/level_1"]
    assert len(row["controls"]) == 5 and row["paper_value"] is not None and row["n"] == 4
    assert results.results["depth_mean/batch_top_k_by_frequency/level_0"]["n"] == 5
    slopes = {"Matryoshka levels": estimate(1), **{kind: estimate(0.5) for kind in list(taxonomy_alignment.KEYS)[1:3]}}
    nodes = {"batch_top_k": estimate(0), taxonomy_alignment.OURS: estimate(1)}
    taxonomy_alignment.slopes(results, slopes, estimate(0.3), estimate(0.2), nodes, 0)


def test_what_must_hold_and_what_was_set_as_a_bar(results):
    activation_collection.holds(results, "a hook leaves every bit", False, 8)
    assert results.results["a hook leaves every bit"]["verdict"] == "does not hold"
    exam = pd.DataFrame(
        {"accuracy": [0.9, 0.99], "ci_low": [0.8, 0.9], "ci_high": [1.0, 1.0], "guessing": [0.5, 0.1]},
        index=["order", "species"],
    )
    activation_collection.clip_exam(results, exam, 60, {"order": 0.95})
    assert results.results["CLIP zero-shot, order"]["verdict"] == "at least 0.95: no"
    assert results.results["CLIP zero-shot, species"]["verdict"] is None


def test_pushes_stand_beside_that_of_a_random_direction(results):
    kind, control = pd.Series({"red": 0.4, "blue": 0.1}), pd.Series({"red": 0.02, "blue": 0.05})
    sae_training.pushed(results, "red", "red", kind, control, 48)
    assert results.results["push towards red"]["verdict"] == "of its kind, red rises most"
    assert results.results["random push, red"]["value"] == 0.05


@pytest.mark.parametrize("name", [path.stem for path in sorted(paths.notebooks().glob("0*.ipynb"))])
def test_the_published_results_name_no_control_that_is_missing(name):
    found = Results.read(paths.published_results() / f"{name}.json").results
    assert not [other for row in found.values() for other in row["controls"].values() if other not in found]
