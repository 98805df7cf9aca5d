"""Learned edits for a few concepts: what they learn from, and where nothing is learned."""

from dataclasses import replace

import pandas as pd
import torch
from tiny_vlm import PROMPTS, TinySae, shared_vlm, tiny_pictures

from vlm_sae_lib.steering import teaching
from vlm_sae_lib.steering.arms import Lesson
from vlm_sae_lib.steering.asking import NATURE, island
from vlm_sae_lib.steering.concepts import Gallery
from vlm_sae_lib.steering.following import Following

TRUTH = pd.DataFrame({"order": ["fern", "moss", "fern", "daisy", "moss"],
                      "colour": ["red", "blue", "red", "red", "blue"],
                      "pattern": ["plain"] * 5, "habitat": ["cave", "shore", "shore", "cave", "cave"]})  # fmt: skip
ASKING = replace(island(), questions=dict(zip(("order", "colour", "pattern", "habitat"), PROMPTS * 4, strict=False)))
CONCEPT = ("order", "fern")


def test_only_pictures_that_lack_the_concept_teach_it():
    vlm = shared_vlm()
    states = vlm.states(tiny_pictures(5))
    taught = teaching.lessons_for(vlm, states, TRUTH, CONCEPT, ASKING.questions, ["colour"])
    assert torch.equal(taught.states, states[[1, 3, 4]]) and taught.now.shape == (3, 2)


def test_a_learned_change_makes_its_word_likelier_and_is_the_same_again():
    vlm, sae, images = shared_vlm(), TinySae(), tiny_pictures(5)
    lesson = Lesson(steps=40, batch=3)
    one, again = (
        teaching.learned_latents(vlm, sae, Gallery(images, TRUTH), [CONCEPT], ASKING, lesson)[CONCEPT] for _ in range(2)
    )
    assert torch.equal(one.raised, again.raised) and torch.equal(one.kept, again.kept)
    states = vlm.states(images)
    taught = teaching.lessons_for(vlm, states, TRUTH, CONCEPT, ASKING.questions, [])
    follow = Following(vlm, [ASKING.questions["order"]])
    with torch.no_grad():
        before, after = (follow.scores(s)[:, 0].log_softmax(-1)[:, taught.word].mean()
                         for s in (states, states + one(states)))  # fmt: skip
    assert after > before + 0.1


def test_where_an_answer_is_more_than_a_word_of_the_island_nothing_is_learned():
    assert teaching.learned_latents(None, None, None, [CONCEPT], NATURE) == {}
