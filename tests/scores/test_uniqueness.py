"""Uniqueness against Jaccard similarities of Python sets and against the authors' code."""

import itertools
import json

import data_files
import numpy as np
import oracles
import pytest

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.scores import uniqueness as module
from vlm_sae_lib.scores.uniqueness import uniqueness

REFERENCE = json.loads((data_files.REFERENCE / "hierarchy_and_uniqueness.json").read_text())


def test_agrees_with_the_authors_code():
    report = uniqueness(np.array(REFERENCE["top_images"]), np.array(REFERENCE["sixteenth_activation"]))
    truth = REFERENCE["uniqueness"]
    assert (report.neurons_kept, report.pairs) == (truth["neurons_kept"], truth["pairs"])
    assert {t: report.pairs_above(float(t)) for t in truth["pairs_above"]} == truth["pairs_above"]
    assert report.mean == pytest.approx(truth["mean"], rel=1e-12)


@pytest.mark.parametrize("images", [12, 40, 300])
def test_is_the_jaccard_of_sets(monkeypatch, images):
    monkeypatch.setattr(module, "BLOCK", 5)
    rng = np.random.default_rng(images)
    top = np.array([rng.choice(images, size=6, replace=False) for _ in range(23)])
    top[7] = top[3][::-1]
    report = uniqueness(top, most_similar=4)
    truth = {(a, b): oracles.jaccard(top[a], top[b]) for a, b in itertools.combinations(range(23), 2)}
    for threshold in (0.0, 0.1, 0.2, 0.5, 0.99, 1.0):
        assert report.pairs_above(threshold) == sum(value > threshold for value in truth.values())
    assert report.mean == pytest.approx(np.mean(list(truth.values())), rel=1e-12)
    ranked = sorted(truth.items(), key=lambda item: (-item[1], item[0]))[:4]
    assert report.most_similar == tuple((a, b, s) for (a, b), s in ranked if s > 0)
    assert report.most_similar[0] == (3, 7, 1.0)


def test_who_is_left_out():
    top = np.array([[1, 2, 3], [1, 2, -1], [1, 2, 4], [1, 2, 3]])
    assert uniqueness(top).neurons.tolist() == [0, 2, 3]
    report = uniqueness(top, np.array([1.0, 1.0, 0.0, 0.5]))
    assert report.neurons.tolist() == [0, 3] and report.pairs_above(0.9) == 1 and report.mean == 1


@pytest.mark.parametrize("top", [np.full((3, 4), -1), np.array([[1, 2]]), np.empty((0, 16), dtype=int)])
def test_without_a_pair_there_is_no_mean(top):
    report = uniqueness(top)
    assert report.pairs == 0 and report.pairs_above(0) == 0 and np.isnan(report.mean) and report.most_similar == ()


def test_mistakes_are_one_sentence():
    with pytest.raises(UserError, match="n_neurons, k"):
        uniqueness(np.ones(3, dtype=int))
    with pytest.raises(UserError, match="last activations"):
        uniqueness(np.ones((3, 2), dtype=int), np.ones(2))
    with pytest.raises(UserError, match="threshold is -1"):
        uniqueness(np.ones((3, 2), dtype=int)).pairs_above(-1)
