"""Words that pictures move towards, with the pocket CLIP itself."""

import pytest
import torch

from vlm_sae_lib.pocket.world import pocket_pictures
from vlm_sae_lib.steering.words import ABOUT, dictionary, random_direction, words_moved
from vlm_sae_lib.towers import load_tower
from vlm_sae_lib.towers.pocket_models import load_clip


@pytest.fixture(scope="module")
def tower():
    return load_tower("pocket")


@pytest.fixture(scope="module")
def images():
    return pocket_pictures(4, 77).images


@pytest.mark.parametrize("word", ["finch", "red", "cave"])
def test_the_embedding_of_a_word_pushes_towards_that_word(tower, images, word):
    words, texts = dictionary()
    place = [name for _, name in words].index(word)
    norm = tower.activations(images, "projection").norm(dim=1).mean()
    table = words_moved(tower, images, "projection", texts[place] * norm)
    kind = table[table["about"] == words[place][0]]
    assert kind.iloc[0]["word"] == word and kind.iloc[0]["change"] > 0.1


def test_nothing_added_moves_nothing_and_something_does(tower, images):
    still = words_moved(tower, images, "block_4", torch.zeros(128))
    assert still["change"].abs().max() < 1e-6
    pushed = words_moved(tower, images, "block_4", torch.linspace(-20, 20, 128))
    assert pushed["change"].abs().max() > 1e-3
    again = words_moved(tower, images, "block_4", torch.zeros(128))
    assert again["change"].abs().max() < 1e-6  # the tower is left as it was


def test_changes_are_told_beyond_the_mean_of_their_kind(tower, images):
    table = words_moved(tower, images, "block_5", torch.linspace(-5, 5, 128))
    assert set(table["about"]) == set(ABOUT)
    assert table.groupby("about")["change"].mean().abs().max() < 1e-6
    assert table["change"].is_monotonic_decreasing


def test_the_words_are_found_as_clip_s_own_zero_shot_finds_them(tower, images):
    _, texts = dictionary()
    assert torch.allclose(texts.norm(dim=1), torch.ones(len(texts)), atol=1e-5)
    model, _, _ = load_clip("clip")
    assert texts.shape[1] == model.visual.output_dim


def test_a_random_direction_has_the_length_asked_for_and_its_seed():
    like = torch.arange(8.0)
    one, again, other = (random_direction(like, seed) for seed in (0, 0, 1))
    assert one.norm() == pytest.approx(float(like.norm()), rel=1e-5)
    assert torch.equal(one, again) and not torch.equal(one, other)
