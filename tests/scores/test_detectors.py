"""Detectors against plain definitions: chosen on some pictures, scored on others, and drawn again."""

import numpy as np
import oracles
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.metrics import f1_score, precision_score, roc_auc_score

from vlm_sae_lib.scores.detectors import METRICS, choose_detectors, score_detectors, truth_table


def world(n, seed):
    """Factors, and a code: neuron 0 knows red, neuron 1 is noise, neuron 2 knows birds but is often silent."""
    rng = np.random.default_rng(seed)
    factors = pd.DataFrame({"colour": rng.choice(["blue", "red", "green"], n), "kind": rng.choice(["bird", "fish"], n)})
    red, bird = (factors["colour"] == "red").to_numpy(), (factors["kind"] == "bird").to_numpy()
    code = np.maximum(rng.normal(0, 0.5, (n, 3)), 0)
    code[:, 0] += 2 * red
    code[:, 2] = np.where(bird & (rng.random(n) < 0.5), 1 + rng.random(n), 0)
    return code, factors


def test_chosen_there_and_scored_here_as_scikit_learn_would():
    code, factors = world(300, 0)
    chosen = choose_detectors(code, factors, ["colour", "kind"]).set_index("value")
    assert chosen.loc["red", ["f1", "auroc"]].tolist() == [0, 0] and chosen.loc["bird", "precision"] == 2
    column, truth = code[:, chosen.loc["red", "f1"]], (factors["colour"] == "red").to_numpy()
    best = oracles.best_threshold_f1(column, truth)
    assert f1_score(truth, column > chosen.loc["red", "threshold"]) == pytest.approx(best)

    test, test_factors = world(200, 1)
    found = score_detectors(chosen.reset_index(), sp.csr_matrix(test), test_factors, resamples=3)
    for row, (value, line) in enumerate(chosen.iterrows()):
        truth = (test_factors[line["factor"]] == value).to_numpy()
        expected = {
            "f1": f1_score(truth, test[:, line["f1"]] > line["threshold"]),
            "auroc": roc_auc_score(truth, test[:, line["auroc"]]),
            "precision": precision_score(truth, test[:, line["precision"]] > 0),
        }
        for metric in METRICS:
            assert found.scores[metric][row] == pytest.approx(expected[metric]), (metric, value)


def test_draws_are_those_of_drawn_pictures():
    code, factors = world(300, 0)
    chosen = choose_detectors(code, factors, ["colour"])
    test, test_factors = world(250, 1)
    found = score_detectors(chosen, test, test_factors, resamples=40, seed=3)
    draws = np.random.default_rng(3).multinomial(250, np.full(250, 1 / 250), size=40)
    truth = truth_table(test_factors, chosen)
    for draw in (0, 17):
        rows = np.repeat(np.arange(250), draws[draw])
        for value in range(len(chosen)):
            said = test[rows, chosen["f1"][value]] > chosen["threshold"][value]
            assert found.draws["f1"][draw, value] == pytest.approx(f1_score(truth[rows, value], said))
            area = roc_auc_score(truth[rows, value], test[rows, chosen["auroc"][value]])
            assert found.draws["auroc"][draw, value] == pytest.approx(area, abs=0.005)  # to first order
    assert found.draws["auroc"].std(axis=0) == pytest.approx(
        [np.std([roc_auc_score(truth[r, v], test[r, chosen["auroc"][v]]) for r in
                 (np.repeat(np.arange(250), d) for d in draws)]) for v in range(len(chosen))], rel=0.15)  # fmt: skip


def test_a_value_that_the_test_pictures_lack_is_left_out_of_the_mean():
    code, factors = world(300, 0)
    chosen = choose_detectors(code, factors, ["colour"])
    kept = (factors["colour"] != "green").to_numpy()
    found = score_detectors(chosen, code[kept], factors[kept].reset_index(drop=True), resamples=5)
    green = chosen.index[chosen["value"] == "green"][0]
    assert all(np.isnan(found.scores[metric][green]) for metric in ("f1", "auroc"))
    mean, draws = found.mean("f1", ["colour"])
    assert mean == pytest.approx(np.nanmean(found.scores["f1"])) and not np.isnan(draws).any()


def test_a_lucky_neuron_is_no_precise_one():
    factors = pd.DataFrame({"kind": ["bird"] * 20 + ["fish"] * 20})
    code = np.zeros((40, 2))
    code[:3, 0] = 1  # right three times out of three
    code[:12, 1] = code[20:22, 1] = 1  # right twelve times of fourteen
    assert choose_detectors(code, factors, ["kind"]).set_index("value").loc["bird", "precision"] == 1
    assert choose_detectors(code[:, :1], factors, ["kind"])["precision"].tolist() == [-1, -1]
    none = choose_detectors(code[:, :1], factors, ["kind"])
    assert np.isnan(score_detectors(none, code[:, :1], factors, resamples=2).scores["precision"]).all()
