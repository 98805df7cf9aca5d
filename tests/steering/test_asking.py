"""What is asked about pictures of each kind, and what is known of them in the words of the questions."""

import numpy as np
import pandas as pd
import pytest
from tiny_vlm import TinySae, shared_vlm, tiny_pictures

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pocket import language
from vlm_sae_lib.pocket.world import pocket_pictures
from vlm_sae_lib.steering import asking, experiment
from vlm_sae_lib.steering.concepts import Gallery, list_concepts
from vlm_sae_lib.steering.reading import FILLERS, says, tidy
from vlm_sae_lib.steering.sweep import SteeringBench
from vlm_sae_lib.taxonomy import RANKS

INATURALIST = """
animalia actinopterygii amphibia anthozoa arachnida ascidiacea asteroidea aves bivalvia cephalopoda chilopoda clitellata
animalia diplopoda echinoidea elasmobranchii entognatha gastropoda gymnolaemata holothuroidea hydrozoa insecta
animalia malacostraca mammalia merostomata ophiuroidea polychaeta polyplacophora reptilia scyphozoa thecostraca
plantae bryopsida cycadopsida florideophyceae ginkgoopsida gnetopsida jungermanniopsida liliopsida lycopodiopsida
plantae magnoliopsida marchantiopsida pinopsida polypodiopsida polytrichopsida sphagnopsida ulvophyceae
fungi agaricomycetes dacrymycetes lecanoromycetes leotiomycetes pezizomycetes sordariomycetes tremellomycetes
chromista phaeophyceae bacillariophyceae
protozoa myxomycetes
"""
"""Kingdoms and classes of iNaturalist 2021's kind; the last two kingdoms other sets of iNaturalist have."""


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


def test_classes_get_the_words_that_a_model_would_use_and_others_none():
    found = asking.in_words(pd.concat([nature("aves", "polychaeta"), nature("bryopsida", kingdom="plantae")]))
    assert found["group"].tolist()[0] == "bird" and found["group"].isna().tolist() == [False, True, True]
    assert found["realm"].tolist() == ["animal", "animal", "plant"]
    assert set(asking.NATURE.kinds) <= set(found.columns)
    pocket = pocket_pictures(3, 0).factors
    assert asking.in_words(pocket) is pocket  # its ranks are words already


def test_a_concept_is_an_answer_that_its_question_offers():
    lines = INATURALIST.strip().splitlines()
    every = pd.concat([nature(*classes, kingdom=kingdom) for kingdom, *classes in map(str.split, lines)] * 6)
    factors = asking.in_words(every.reset_index(drop=True))
    found = list_concepts(factors, asking.NATURE.kinds, 99, min_pictures=6, seed=0)
    for about, concepts in found.groupby("about")["concept"]:
        assert set(concepts) == set(asking.NATURE.offered[about])  # each is somewhere, and there is no other
        question = asking.NATURE.questions[about].removeprefix("Which of these is shown: ").split("? ")[0]
        assert set(concepts) <= set(question.split(", "))
    assert set(found["about"]) == set(asking.NATURE.kinds) == set(asking.NATURE.offered)
    assert set(asking.look_for(asking.NATURE, factors, 99).values()) == {
        ("group", word) for word in asking.NATURE.offered["group"]
    }


def test_pictures_without_a_concept_are_told():
    factors = asking.in_words(nature("bivalvia", "polychaeta"))
    with pytest.raises(UserError, match="None of these 2 pictures has a known group"):
        asking.look_for(asking.NATURE, factors)
    with pytest.raises(UserError, match="No group is shown by 6 of the 2 choosing pictures"):
        list_concepts(factors, ["group"], 3, min_pictures=6, seed=0)


def test_a_concept_of_the_island_is_a_word_of_its_language():
    island, factors = asking.island(), pocket_pictures(60, 0).factors
    words = set(language.vocabulary())
    assert all(set(str(value).split()) <= words for about in island.kinds for value in factors[about])


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
    first = tidy(" ".join(texts[0, :, 0]), FILLERS)[0]
    named = experiment.Setting(experiment.BARE_SAE, "colour", first, 0, experiment.UNSTEERED, 0.0)
    questions = {"colour": prompts[0], "place": prompts[1]}
    scores = experiment.score_settings(
        shared_vlm(), TinySae(), [absent, named], Gallery(images, factors.assign(colour="?")), questions, study
    )
    said = says(pd.Series(texts[0, :, 0]), first, "word")
    kept = [bool(tidy(text)) for text in texts[0, :, 1]]  # an answer without a word is right about nothing
    assert scores["success"].tolist()[1] == pytest.approx(np.mean(said))
    assert scores["rest"].tolist()[1] == pytest.approx(np.mean(kept)) and any(kept)
