"""How a setting is chosen among tries, and on which pictures: ties by what is measured, and pictures enough."""

import pandas as pd
import pytest
from tiny_vlm import TinySae, shared_vlm, tiny_pictures

from vlm_sae_lib.steering import experiment
from vlm_sae_lib.steering.concepts import Gallery
from vlm_sae_lib.steering.experiment import SteeringStudy, score_settings
from vlm_sae_lib.steering.sweep import SteeringBench

QUESTIONS = {"colour": "what colour is it ?", "order": "what order ?", "habitat": "where is it ?"}


def chosen_of(monkeypatch, rates, study):
    """Which of some tries of one method is chosen, by their (success, rest, both), the mildest first."""
    tries = [
        experiment.Setting("steered", "colour", "red", 0, experiment.Intervention(0, float(m)), m)
        for m in range(len(rates))
    ]
    outcomes = [dict(zip(("success", "rest", "both"), triple, strict=True)) | {"n": 9} for triple in rates]
    monkeypatch.setattr(experiment, "_outcomes", lambda *arguments, **options: outcomes)
    (setting,) = experiment.choose_settings(None, None, tries, None, {}, study)
    return setting.multiple


def test_ties_go_to_the_success_that_is_measured_and_not_to_the_mildest_try(monkeypatch):
    """Where the goal is out of reach of a control, the weakest push would hide its force (issue 14, 2.4)."""
    both = SteeringStudy(goal="both")
    assert chosen_of(monkeypatch, [(0.1, 1, 0), (0.6, 0.2, 0), (0.6, 0.4, 0)], both) == 2
    assert chosen_of(monkeypatch, [(0.1, 1, 0.1), (0.9, 0.2, 0), (0.3, 0.4, 0.1)], both) == 2
    assert chosen_of(monkeypatch, [(0.5, 0.2, 0.1), (0.5, 0.8, 0.3)], SteeringStudy()) == 1
    nan = float("nan")  # nothing else can be asked: success alone decides
    assert chosen_of(monkeypatch, [(0.1, nan, nan), (0.5, nan, nan)], both) == 1


def test_what_ties_in_everything_is_drawn_by_the_seed(monkeypatch):
    even = [(0.5, 0.5, 0.5)] * 3
    drawn = [chosen_of(monkeypatch, even, SteeringStudy(seed=seed)) for seed in range(30)]
    assert set(drawn) == {0, 1, 2}
    assert drawn == [chosen_of(monkeypatch, even, SteeringStudy(seed=seed)) for seed in range(30)]


@pytest.mark.parametrize(("kind", "place"), [("insertion", 0), ("suppression", 1)])
def test_every_concept_has_as_many_pictures_as_asked_for(monkeypatch, kind, place):
    """Also a common one to insert, which half of the first pictures show; and it is asked about no others."""
    factors = pd.DataFrame({"colour": ["red", "blue"] * 12, "order": "fern", "habitat": "snow"})
    settings = [
        experiment.Setting("steered", "colour", c, 0, experiment.Intervention(0, s), 1)
        for c in ("red", "blue", "grey")[: 3 - place] for s in (1.0, 2.0)
    ]  # fmt: skip
    asked = []
    answers = SteeringBench.answers

    def count(bench, interventions, prompts, pictures):
        asked.append(len(interventions) * len(pictures))
        return answers(bench, interventions, prompts, pictures)

    monkeypatch.setattr(SteeringBench, "answers", count)
    study = SteeringStudy(kind=kind, n_test=6, rest=("order", "habitat"))
    scores = score_settings(shared_vlm(), TinySae(), settings, Gallery(tiny_pictures(24), factors), QUESTIONS, study)
    assert scores["n"].tolist() == [6] * len(settings)
    # to insert, one latent is shared: "red" lacks pictures 1, 3 … 11, "blue" 0, 2 … 10, and "grey" the first six
    assert sum(asked) == 2 * 12
