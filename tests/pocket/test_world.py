"""The pocket world: the same bytes from a seed, the truth that it states, its likeness to iNaturalist."""

import re
import time

import numpy as np
import pytest

from vlm_sae_lib.pocket import language, tree, world
from vlm_sae_lib.pretraining.tokenizers import clip_tokenizer, llava_tokenizer
from vlm_sae_lib.taxonomy import RANKS, taxon_path

FROZEN = ("moss-ringspire", "cave", 7)
FROZEN_SCALE = np.float64(0.3330822828294232)


@pytest.fixture(scope="module")
def pictures():
    return world.pocket_pictures(600, 7)


def test_a_seed_gives_the_same_bytes_and_a_longer_list_begins_with_the_shorter():
    few, many = world.pocket_pictures(5, 3), world.pocket_pictures(9, 3)
    assert [a.tobytes() for a in few.images] == [b.tobytes() for b in many.images[:5]]
    assert few.images[0].tobytes() != world.pocket_pictures(1, 4).images[0].tobytes()
    assert few.images[0].size == (64, 64) and few.images[0].mode == "RGB"


def test_the_world_is_frozen():
    # What every published number stands on. Raise WORLD_VERSION and retrain the models if this must change.
    facts = world.sample_factors(7, 0)
    assert world.WORLD_VERSION == 1
    assert (facts["species"], facts["habitat"], facts["pose"]) == FROZEN
    assert facts["scale"] == pytest.approx(FROZEN_SCALE, abs=1e-12)


def test_the_tree_is_a_tree_of_seven_ranks():
    species = tree.all_species()
    assert len(species) >= 72 and len({s.path[-1] for s in species}) == len(species)
    for rank in range(1, 7):
        parents = {}
        for s in species:
            assert parents.setdefault(s.path[rank], s.path[:rank]) == s.path[:rank], "a name has one parent"
    counts = [len(tree.names(rank)) for rank in RANKS]
    assert counts == sorted(counts) and counts[0] == 3


def test_traits_are_handed_down():
    for rank, trait in (("genus", "pattern"), ("family", "family_shape")):
        for name in tree.names(rank):
            assert len({getattr(s, trait) for s in tree.all_species() if s.rank(rank) == name}) == 1
    for genus in tree.names("genus"):
        colours = [s.colour for s in tree.all_species() if s.rank("genus") == genus]
        assert len(set(colours)) == len(colours), "species of a genus differ in colour"


def test_folder_names_are_inaturalists(pictures):
    for image_id, folder in enumerate(pictures.folders[:50]):
        assert re.fullmatch(r"\d{5}(_[A-Z][a-z]+){6}_[a-z]+-[a-z]+", folder)
        path = [name.lower() for name in taxon_path(folder)]
        assert path == [pictures.factors.loc[image_id, rank] for rank in RANKS]


def test_habitat_goes_with_class_but_never_follows_from_it():
    for class_ in tree.names("class"):
        probabilities = np.array(tree.habitat_probabilities(class_))
        assert probabilities.sum() == pytest.approx(1) and probabilities.min() > 0.03 and probabilities.max() < 0.75
    sea = tree.HABITATS.index("sea")
    assert tree.habitat_probabilities("fish")[sea] > 0.5


def test_every_picture_has_its_questions_and_answers(pictures):
    questions = pictures.questions
    assert list(questions.columns) == ["image_id", "about", "question", "answer"]
    assert set(questions["about"]) == {*RANKS, "colour", "pattern", "habitat"}
    assert not questions["answer"].str.contains(" ").any()
    some = questions.iloc[123]
    assert some["answer"] == pictures.factors.loc[some["image_id"], some["about"]]


def test_captions_are_true_and_name_every_rank_about_equally(pictures):
    named = dict.fromkeys(RANKS, 0)
    for caption, facts in zip(pictures.captions, pictures.factors.to_dict("records"), strict=True):
        words = set(language.words(caption))
        for rank in RANKS:
            named[rank] += facts[rank] in words
            others = set(tree.names(rank)) - {facts[rank]}
            assert not others & words, (caption, facts["species"])
    coarse, fine = min(named["kingdom"], named["class"]), named["genus"]
    assert coarse > 0.6 * fine


def test_the_vocabulary_covers_all_that_is_said(pictures):
    for tokenizer in (clip_tokenizer(), llava_tokenizer()):
        known = tokenizer.get_vocab()
        for text in pictures.captions[:200]:
            assert all(word in known for word in language.words(text))
        for prompt, answer in language.answers(pictures.factors.iloc[0]).items():
            assert all(word in known for word in language.words(f"{prompt} {answer}"))
        assert tokenizer.encode("what colour is it?", add_special_tokens=False) == [
            known[word] for word in language.words("What colour is it ?")
        ]


def test_an_empty_scene_is_its_picture_without_the_organism(pictures):
    there = np.asarray(pictures.picture(0)).astype(int)
    empty = np.asarray(pictures.picture(0, empty=True)).astype(int)
    assert 0.02 < (np.abs(there - empty).max(-1) > 60).mean() < 0.6
    assert language.empty_answers(None)[language.ONE_WORD] == language.NOTHING


def test_the_same_scene_prints_larger():
    factors = world.sample_factors(1, 2)
    small = np.asarray(world.paint(factors)).astype(float)
    large = world.paint(factors, 256)
    assert large.size == (256, 256)
    assert np.abs(np.asarray(large.resize((64, 64))).astype(float) - small).mean() < 12


def test_a_subset_keeps_the_ids(pictures):
    some = pictures.subset([5, 17])
    assert [image_id for image_id, _ in some] == [5, 17] and len(some) == 2
    assert some.folders[17] == pictures.folders[17] and list(some.factors.index) == [5, 17]
    assert some.fingerprint != pictures.fingerprint


def test_negative_numbers_are_refused():
    with pytest.raises(ValueError, match="n ≥ 0"):
        world.pocket_pictures(-1, 0)


@pytest.mark.long
def test_a_thousand_pictures_a_second():
    len(world.pocket_pictures(600, 1).images)  # fills the caches
    start = time.perf_counter()
    assert len(world.pocket_pictures(2000, 2).images) == 2000
    assert 2000 / (time.perf_counter() - start) > 1000
