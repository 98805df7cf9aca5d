"""When an answer counts as naming its truth."""

import pandas as pd
import pytest

from vlm_sae_lib import wordnet
from vlm_sae_lib.steering.reading import says, tidy

GROUPS = ("insect", "bird", "mushroom", "grass", "fungus")


def named(answer: str, truth: str, reading: str = "word", shown: str | None = None, **options) -> bool:
    views = None if shown is None else pd.Series([shown])
    found = says(pd.Series([answer], index=[3]), truth, reading, shown=views, **options)
    assert found.index.tolist() == [3] and found.dtype == bool
    other = says(pd.Series([answer]), pd.Series([truth], index=[7]), reading, shown=views, **options)
    assert other.tolist() == found.tolist()
    return bool(found.iloc[0])


def test_an_exact_answer_is_the_very_text():
    answers, truth = pd.Series(["red", "Red", "red red"]), pd.Series(["red", "red", "red"])
    assert says(answers, truth, "exact").tolist() == [True, False, False]


@pytest.mark.parametrize(
    "answer, truth, right",
    [
        ("Bird.", "bird", True),
        ("A bird", "bird", True),
        ("The bird is red", "bird", True),
        ("", "bird", False),
        ("...", "bird", False),
        ("It's a bird", "bird", True),
        ("The animal is a bird", "bird", True),  # "animal" was not on offer
        ("red birds", "bird", True),
        ("insect, bird, mushroom", "bird", False),  # who repeats the question has not answered it …
        ("insect, bird, mushroom", "insect", True),  # … but for the first word
        ("feather", "bird", False),
        ("grasses", "grass", True),
        ("Mushrooms", "mushroom", True),
        ("fungi", "fungus", True),
    ],
)
def test_of_the_words_on_offer_the_first_one_counts(answer, truth, right):
    assert named(answer, truth, offered=GROUPS) is right


@pytest.mark.parametrize(
    "answer, unsteered, same",
    [
        ("Green", "green.", True),
        ("Green", "Dark green", True),
        ("It's red", "It's green", False),
        ("The background is red", "The background is green", False),
        ("The main colour is green", "Green", True),
        ("Blurred", "The background is blurred", True),
        ("The background of the", "The background of the image", True),
        ("", "Green", False),
    ],
)
def test_an_answer_to_an_open_question_is_held_against_the_unsteered_one(answer, unsteered, same):
    assert named(answer, unsteered) is same


@pytest.mark.parametrize(
    "answer, truth, right",
    [
        ("Stork", "black stork", True),
        ("black", "black stork", False),
        ("Black storks", "black stork", True),
        ("wading bird", "black stork", True),
        ("It's a bird.", "black stork", True),
        ("a red bird", "black stork", True),
        ("Ciconia nigra", "black stork", True),
        ("white stork", "black stork", False),  # another species, not its kind
        ("animal", "black stork", False),  # says too little
        ("vertebrate", "black stork", False),
        ("dog", "golden retriever", True),
        ("Dogs", "golden retriever", True),
        ("hot dog", "golden retriever", False),
        ("golden", "golden retriever", False),
        ("mammal", "golden retriever", False),
        ("device", "soap dispenser", False),
        ("dispenser", "soap dispenser", True),
        ("soap", "soap dispenser", False),
        ("teddy bear", "teddy", True),
        ("magpies", "magpie", True),
        ("crane", "crane (wading bird)", True),
        ("bird", "crane (lifting device)", False),
        ("", "black stork", False),
        ("hen", "chicken", False),  # the folder's word, which WordNet's part does not hold
    ],
)
def test_a_class_is_named_by_its_names_and_by_what_it_is_a_kind_of(answer, truth, right):
    assert named(answer, truth, "class") is right


def test_a_kind_of_both_is_no_sign_of_the_one_that_is_not_there():
    assert named("bird", "black stork", "class", shown="guitar")
    assert not named("bird", "black stork", "class", shown="goldfinch")
    assert named("stork", "black stork", "class", shown="goldfinch")
    assert not named("stork", "black stork", "class", shown="white stork")
    assert named("black stork", "black stork", "class", shown="white stork")
    assert named("bird", "black stork", "class", shown="nothing")


@pytest.mark.parametrize(
    "answer, truth, right",
    [
        ("standard poodle", "Dogs", True),  # which is one
        ("poodle", "Dogs", True),
        ("cat", "Dogs", False),
        ("dog", "Dogs", True),
        ("red", "red_mug_of_mine", False),
        ("mine", "red_mug_of_mine", True),
        ("cup", "my cup", True),
        ("tench", "tench, Tinca tinca", True),
        ("fish", "tench, Tinca tinca", True),
        ("7", "7", False),
    ],
)
def test_classes_of_other_folders(answer, truth, right):
    assert named(answer, truth, "class") is right


def test_every_class_is_named_by_its_own_title_and_by_no_word_for_everything():
    titles = list(wordnet.titles().values())
    bare = pd.Series([title.split(" (")[0] for title in titles])
    assert says(bare, pd.Series(titles), "class").all()
    for word in ("thing", "object", "animal", "artifact", "entity", "whole", "it"):
        assert not says(pd.Series([word] * len(titles)), pd.Series(titles), "class").any(), word


def test_one_and_many_are_one_word():
    for one, many in (
        ("finch", "finches"), ("fox", "foxes"), ("butterfly", "butterflies"), ("collie", "collies"), ("pie", "pies"),
        ("grass", "grasses"), ("wolf", "wolves"), ("woman", "women"), ("bird", "birds"), ("walrus", "walrus"),
    ):  # fmt: skip
        assert tidy(one) == tidy(many), one
    assert tidy("The black-and-white Bird, a 2nd one!") == ["black", "and", "white", "bird", "nd", "one"]
