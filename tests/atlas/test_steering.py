"""What the atlas tells of steering is what the hook does."""

import numpy as np
import pandas as pd
import pytest
from tiny_vlm import PROMPTS, TinySae, shared_vlm, tiny_pictures

from vlm_sae_lib.atlas.known import Factor, Known
from vlm_sae_lib.atlas.steering import AT_LEAST, DOSES, steer_all
from vlm_sae_lib.steering.asking import Asking
from vlm_sae_lib.steering.concepts import Gallery, pool_latents
from vlm_sae_lib.steering.intervention import steered

ASKING = Asking(
    columns=("colour", "order"), kinds=("colour",), questions={"colour": PROMPTS[0], "order": PROMPTS[1]},
    rest=("colour", "order"), ranks=("order",), describe=PROMPTS[2], one_word=PROMPTS[2], trial="colour",
    variety="colour", label="{colour}", reading="exact",
)  # fmt: skip


TOKENS = 3


@pytest.fixture(scope="module", autouse=True)
def few_words():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vlm_sae_lib.atlas.steering.MAX_NEW_TOKENS", TOKENS)
        yield


@pytest.fixture(scope="module")
def found(few_words):
    vlm, sae, images = shared_vlm(), TinySae(), tiny_pictures(30)
    pooled = pool_latents(vlm, sae, images)
    live = pooled.live(AT_LEAST)
    # what the model answers when a latent is turned up is a value of the factor, so that some curve is not flat
    with steered(vlm, sae, {int(live[0]): float(DOSES[-1] * pooled.maximum[live[0]])}):
        word = vlm.answer(images[0], PROMPTS[0], max_new_tokens=1)
    strong = pooled.largest[:, live[0]] > np.median(pooled.largest[:, live[0]])
    known = Known(np.arange(30), (Factor("colour", ("other", word), strong.astype(int)),), (), ("",) * 30)
    factors = pd.DataFrame({"colour": ["other", word, "other", "other"], "order": "beetle"})
    gallery = Gallery(images[:4], factors)
    return vlm, sae, pooled, gallery, steer_all(vlm, sae, pooled, known, gallery, ASKING), known


def test_curves_and_captions_are_those_of_the_hook(found):
    vlm, sae, pooled, gallery, told, _ = found
    assert set(told.latents) <= set(pooled.live(AT_LEAST)) and len(told.latents) > 20 and told.looked_at == 30
    moved = 0
    for row in (0, len(told.latents) - 1):
        latent, concept = int(told.latents[row]), told.concept[row]
        lacking = np.flatnonzero(gallery.factors["colour"] != concept)
        images = [gallery.images[i] for i in lacking]
        with steered(vlm, sae, {}):
            rest_before = vlm.answers(images, PROMPTS[1], max_new_tokens=1)
            assert list(told.before) == vlm.answers(gallery.images[:3], PROMPTS[2], max_new_tokens=TOKENS)
        assert told.lacking[row] == len(lacking) and told.maximum[row] == pytest.approx(pooled.maximum[latent])
        for place, dose in ((0, DOSES[0]), (len(DOSES) - 1, DOSES[-1])):
            with steered(vlm, sae, {latent: dose * told.maximum[row]}):
                said = vlm.answers(images, PROMPTS[0], max_new_tokens=1)
                rest = vlm.answers(images, PROMPTS[1], max_new_tokens=1)
                captions = vlm.answers(gallery.images[:3], PROMPTS[2], max_new_tokens=TOKENS)
            assert told.said[row, place] == np.mean([answer == concept for answer in said])
            assert told.kept[row, place] == np.mean([a == b for a, b in zip(rest, rest_before, strict=True)])
            assert told.captions[row, place].tolist() == captions
            moved += told.said[row, place] > 0
    assert moved and (told.random >= 0).all() and (told.random <= 1).all()


def test_only_so_many_are_tried_and_those_fire_most_often(found):
    vlm, sae, pooled, gallery, _, known = found
    few = steer_all(vlm, sae, pooled, known, gallery, ASKING, at_most=2)
    others = np.setdiff1d(pooled.live(AT_LEAST), few.latents)
    assert len(few.latents) == 2 and few.fires[few.latents].min() >= few.fires[others].max()


def test_nothing_to_ask_means_nothing_tried(found):
    vlm, sae, pooled, gallery, _, _ = found
    none = steer_all(vlm, sae, pooled, Known(np.arange(30)), gallery, ASKING)
    assert none.said.shape == (0, len(DOSES)) and none.captions.shape[0] == 0 and len(none.before) == 3
