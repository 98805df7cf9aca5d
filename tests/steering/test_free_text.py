"""The judge of whole texts."""

import pytest

from vlm_sae_lib.pocket import language, world
from vlm_sae_lib.steering.free_text import followed, judge, prompts_with

FACTS = world.sample_factors(3, 5)


@pytest.mark.parametrize("prompt", language.LONG_ANSWERS)
def test_every_right_answer_has_its_form_and_is_right(prompt):
    text = language.answers(FACTS)[prompt]
    slots = followed(text, prompt)
    assert slots and all(FACTS[slot] == word for slot, word in slots.items())
    assert judge(text, prompt, "no-such-word", FACTS, list(slots)) == (False, True, True)
    others = [p for p in language.LONG_ANSWERS if p != prompt]
    assert not any(followed(text, other) for other in others)


def test_a_wrong_word_a_foreign_word_and_a_broken_form():
    prompt, facts = "what is shown in the image?", FACTS | {"colour": "red", "order": "oak", "habitat": "cave"}
    right = language.answers(facts)[prompt]
    blue = right.replace("red", "blue")
    assert judge(blue, prompt, "blue", facts, ["colour", "order"]) == (True, True, False)
    assert judge(blue, prompt, "blue", facts, ["order"]) == (True, True, True)
    assert judge(right.replace("red", "oak"), prompt, "oak", facts, []) == (True, False, False)
    assert judge("blue blue blue", prompt, "blue", facts, []) == (True, False, False)
    assert judge("", prompt, "blue", facts, []) == (False, False, False)


def test_an_article_before_a_vowel_keeps_the_form():
    facts = FACTS | {"size": "medium", "colour": "orange"}
    assert followed("an " + language.answers(facts)[language.DESCRIBE].split(" ", 1)[1], language.DESCRIBE)


def test_prompts_by_slot():
    assert prompts_with("class") == ["write a field note."]
    assert language.DESCRIBE in prompts_with("order") and prompts_with("no such slot") == []
