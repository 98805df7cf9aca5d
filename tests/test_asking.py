"""What is asked about pictures of each kind, and when an answer counts as naming its truth."""

import numpy as np
import pandas as pd
import pytest
from tiny_vlm import TinySae, shared_vlm, tiny_pictures

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pocket.world import pocket_pictures
from vlm_sae_lib.steering import asking, experiment
from vlm_sae_lib.steering.concepts import Gallery
from vlm_sae_lib.steering.sweep import SteeringBench
from vlm_sae_lib.taxonomy import RANKS


def nature(*classes: str, kingdom: str = "animalia") -> pd.DataFrame:
    rows = [dict.fromkeys(RANKS, "x") | {"kingdom": kingdom, "class": name} for name in classes]
    return pd.DataFrame(rows)


def test_what_is_known_decides_what_is_asked():
    assert asking.asking_of(pocket_pictures(2, 0).factors).trial == "order"
    assert asking.asking_of(nature("aves")) is asking.NATURE
    assert asking.asking_of(pd.DataFrame({"class": ["hen"]})) is asking.OBJECTS
    for nothing in (None, pd.DataFrame({"size": [1]})):
        with pytest.raises(UserError, match="one folder per class"):
            asking.asking_of(nothing)


@pytest.mark.parametrize("one", [asking.NATURE, asking.OBJECTS, asking.island()])
def test_everything_that_a_study_asks_has_a_question(one):
    assert {*one.kinds, *one.rest, one.trial} <= set(one.questions) and set(one.own) <= set(one.rest)
    assert len(set(one.questions.values())) == len(one.questions)


def test_classes_get_the_words_that_a_model_would_use():
    found = asking.in_words(pd.concat([nature("aves", "polychaeta"), nature("bryopsida", kingdom="plantae")]))
    assert found["group"].tolist() == ["bird", "animal", "plant"]
    assert found["realm"].tolist() == ["animal", "animal", "plant"]
    assert set(asking.NATURE.kinds) <= set(found.columns)
    pocket = pocket_pictures(3, 0).factors
    assert asking.in_words(pocket) is pocket  # its ranks are words already


@pytest.mark.parametrize(
    "answer, truth, named",
    [
        ("Bird.", "bird", True),
        ("A bird", "bird", True),
        ("birds", "bird", True),
        ("The bird is red", "bird", True),
        ("red bird", "bird", False),  # the question asked for one word, and its first one is another
        ("", "bird", False),
        ("...", "bird", False),
        ("grass", "grass", True),
        ("terrier", "Scottish terrier", True),
        ("hen", "chicken", False),
    ],
)
def test_an_answer_is_read_for_its_first_word(answer, truth, named):
    assert asking.says(pd.Series([answer]), truth, "word").tolist() == [named]
    assert asking.says(pd.Series([answer]), pd.Series([truth], index=[7]), "word").tolist() == [named]


def test_an_exact_answer_is_the_very_text():
    answers, truth = pd.Series(["red", "Red", "red red"]), pd.Series(["red", "red", "red"])
    assert asking.says(answers, truth, "exact").tolist() == [True, False, False]


def test_frequent_values_are_looked_for_where_none_is_wanted():
    factors = pd.DataFrame({"group": ["fish", "bird", "bird", "fern", "fish", "crab"]})
    assert asking.look_for(asking.NATURE, factors, 3) == {
        "group bird": ("group", "bird"), "group fish": ("group", "fish"), "group crab": ("group", "crab"),
    }  # fmt: skip
    assert ("order", "finch") in asking.look_for(asking.island(), factors).values()


def test_own_answers_stand_in_for_a_truth_that_nobody_knows():
    images = tiny_pictures(3)
    found = asking.own_answers(shared_vlm(), asking.NATURE, images, pd.DataFrame({"group": ["bird"] * 3}))
    for about in asking.NATURE.own:
        assert found[about].tolist() == shared_vlm().answers(images, asking.NATURE.questions[about], max_new_tokens=5)
    assert asking.own_answers(shared_vlm(), asking.island(), images, found).equals(found)


def test_a_study_that_reads_words_asks_as_many_tokens_as_a_word_needs():
    images, prompts = tiny_pictures(4), ["what colour is it ?", "where is it ?"]
    bench = SteeringBench(shared_vlm(), TinySae(), images)
    texts = bench.texts([experiment.UNSTEERED], prompts, max_new_tokens=3)
    assert texts.shape == (1, 4, 2)
    for i, prompt in enumerate(prompts):
        assert texts[0, :, i].tolist() == bench.captions([experiment.UNSTEERED], prompt, max_new_tokens=3)[0].tolist()
    assert max(len(text.split()) for text in texts.ravel()) > 1  # or the single-token answers would have done

    factors = pd.DataFrame({"colour": texts[0, :, 0], "place": texts[0, :, 1]})
    study = experiment.SteeringStudy(rest=("place",), n_test=4, reading="word", max_new_tokens=3)
    absent = experiment.Setting(experiment.BARE_SAE, "colour", "?", 0, experiment.UNSTEERED, 0.0)
    first = asking.tidy(texts[0, 0, 0])[0]
    named = experiment.Setting(experiment.BARE_SAE, "colour", first, 0, experiment.UNSTEERED, 0.0)
    questions = {"colour": prompts[0], "place": prompts[1]}
    scores = experiment.score_settings(
        shared_vlm(), TinySae(), [absent, named], Gallery(images, factors.assign(colour="?")), questions, study
    )
    said = [bool(tidied) and tidied[0] == first for tidied in map(asking.tidy, texts[0, :, 0])]
    assert scores["success"].tolist()[1] == pytest.approx(np.mean(said)) and scores["rest"].tolist()[1] == 1.0
