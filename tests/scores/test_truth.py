"""Neurons against known factors."""

import numpy as np
import oracles
import pandas as pd
import pytest
import scipy.sparse as sp

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.scores import truth as module
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.scores.truth import (
    best_neurons,
    detection_scores,
    factor_embeddings,
    name_neurons,
    top_image_precision,
)
from vlm_sae_lib.statistics.neurons import NeuronStatistics

COLUMNS = ["order", "colour"]


def world(n=50, seed=0):
    rng = np.random.default_rng(seed)
    factors = pd.DataFrame(
        {"order": rng.choice(["beetle", "finch", "fern"], n), "colour": rng.choice(["red", "blue"], n)}
    )
    factors["size"] = rng.random(n)
    beetle = np.where(factors["order"] == "beetle", 1 + rng.random(n), 0)
    return factors, np.stack(
        [beetle, np.maximum(rng.normal(size=n) - 0.5, 0), rng.normal(size=n), rng.integers(0, 3, n), np.zeros(n)],
        axis=1,
    )


def test_cosine_of_factor_embeddings_is_the_share_of_agreeing_factors():
    factors, _ = world()
    embeddings = factor_embeddings(factors, COLUMNS)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    for a, b in [(0, 1), (2, 9), (5, 5), (7, 30)]:
        share = np.mean([factors[column][a] == factors[column][b] for column in COLUMNS])
        assert unit[a] @ unit[b] == pytest.approx(share)
    pure = (factors[COLUMNS].to_numpy() == ["beetle", "red"]).all(axis=1).astype(float)[:, None]
    assert monosemanticity_score(pure, embeddings) == pytest.approx([1])


@pytest.mark.parametrize("sparse", [False, True])
def test_detection_scores_are_their_definitions(monkeypatch, sparse):
    monkeypatch.setattr(module, "BLOCK", 2)
    factors, activations = world()
    scores = detection_scores(sp.csr_matrix(activations) if sparse else activations, factors, COLUMNS)
    assert len(scores) == 5 * 5
    for row in scores.itertuples():
        column, said_truth = activations[:, row.neuron], (factors[row.factor] == row.value).to_numpy()
        fires = column > min(0, column.min())
        hits = (fires & said_truth).sum()
        assert row.best_f1 == pytest.approx(oracles.best_threshold_f1(column, said_truth))
        assert row.auroc == pytest.approx(oracles.auroc(column, said_truth))
        assert row.recall == pytest.approx(hits / said_truth.sum())
        assert row.f1 == pytest.approx(2 * hits / (fires.sum() + said_truth.sum()))
        assert np.isnan(row.precision) if not fires.any() else row.precision == pytest.approx(hits / fires.sum())
        assert row.best_f1 >= row.f1


def test_naming_by_truth():
    factors, activations = world()
    scores = detection_scores(activations, factors, COLUMNS)
    named = name_neurons(scores)
    assert (
        named["neuron"].tolist() == list(range(5)) and (named.loc[0, ["factor", "value"]] == ["order", "beetle"]).all()
    )
    assert named.loc[0, "best_f1"] == named.loc[0, "auroc"] == 1
    assert name_neurons(scores, "precision")["neuron"].tolist() == [0, 1, 2, 3]  # the dead neuron has no precision
    best = best_neurons(scores).set_index(["factor", "value"])
    assert len(best) == 5 and best.loc[("order", "beetle"), "neuron"] == 0
    with pytest.raises(UserError, match="no score 'luck'"):
        name_neurons(scores, "luck")


def test_what_the_top_images_share():
    factors, activations = world()
    statistics = NeuronStatistics(5, 5, 4)
    statistics.update(activations, factor_embeddings(factors, COLUMNS), np.arange(50))
    top = statistics.top_images()
    shared = top_image_precision(top, factors, COLUMNS).set_index(["neuron", "factor"])
    assert shared.loc[(0, "order"), "value"] == "beetle" and shared.loc[(0, "order"), "precision"] == 1
    assert shared.loc[(0, "order"), "base_rate"] == (factors["order"] == "beetle").mean()
    for neuron in range(4):
        for column in COLUMNS:
            counts = factors[column][top[neuron]].value_counts()
            assert shared.loc[(neuron, column), "precision"] == counts.max() / 4
    assert shared.loc[(4, "order"), ["value", "precision", "base_rate"]].isna().all()


def test_mistakes_are_one_sentence():
    factors, activations = world()
    with pytest.raises(UserError, match="no factor 'genus'; the factors are order, colour, size"):
        factor_embeddings(factors, ["genus"])
    with pytest.raises(UserError, match="49 rows of activations but factors of 50"):
        detection_scores(activations[1:], factors, COLUMNS)
    with pytest.raises(UserError, match="Image id 50 has no factors"):
        top_image_precision(np.array([[50]]), factors, COLUMNS)
    with pytest.raises(UserError, match="missing on 1 of 50 pictures, the first of them with the id 0; leave"):
        factor_embeddings(factors.assign(colour=[None, *factors["colour"][1:]]), COLUMNS)
