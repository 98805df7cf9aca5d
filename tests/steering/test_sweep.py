"""The fast path says what the slow path says."""

import numpy as np
import pytest
import torch
from tiny_vlm import DIM, PROMPTS, TinySae, shared_vlm, tiny_pictures

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.steering.intervention import pushed, random_directions, steered
from vlm_sae_lib.steering.sweep import UNSTEERED, Intervention, SteeringBench

INTERVENTIONS = [UNSTEERED, Intervention(3, 2.5), Intervention(4, -3.0), Intervention(3, 0.0), Intervention(3, 2.5, 7)]


def slow(vlm, sae, what, keep_error):
    if what.direction_seed is not None:
        direction = random_directions(1, DIM, what.direction_seed)[0]
        return pushed(vlm, sae, direction, what.latent, what.strength, keep_error=keep_error)
    return steered(vlm, sae, {} if what.latent is None else {what.latent: what.strength}, keep_error=keep_error)


@pytest.mark.parametrize("keep_error", [False, True])
def test_logits_words_and_captions_equal_those_of_the_hook(keep_error):
    vlm, sae, images = shared_vlm(), TinySae(), tiny_pictures(4)
    bench = SteeringBench(vlm, sae, images, keep_error=keep_error, batch_size=3)
    words = bench.answers(INTERVENTIONS, PROMPTS)
    assert words.shape == (5, 4, 3)
    captions = bench.captions(INTERVENTIONS, PROMPTS[2], max_new_tokens=5)
    for i, what in enumerate(INTERVENTIONS):
        fast = bench.logits(what, PROMPTS)
        with slow(vlm, sae, what, keep_error):
            expected = torch.stack([torch.stack([vlm.logits(image, p) for p in PROMPTS]) for image in images])
            first = [[vlm.answer(image, p, max_new_tokens=1) for p in PROMPTS] for image in images]
            whole = vlm.answers(images, PROMPTS[2], max_new_tokens=5)
        torch.testing.assert_close(fast, expected, rtol=0, atol=1e-4)
        assert words[i].tolist() == first
        assert captions[i].tolist() == whole
    assert len(set(captions.ravel())) > 5


def test_one_question_is_answered_as_among_many():
    bench = SteeringBench(shared_vlm(), TinySae(), tiny_pictures(3))
    alone = bench.logits(Intervention(3, 2.5), PROMPTS[1:2])[:, 0]
    torch.testing.assert_close(bench.logits(Intervention(3, 2.5), PROMPTS)[:, 1], alone, rtol=0, atol=1e-5)
    doubled = bench.logits(Intervention(3, 2.5), [PROMPTS[1], PROMPTS[1]])
    torch.testing.assert_close(doubled[:, 1], alone, rtol=0, atol=1e-5)


def test_some_pictures_only_and_none_at_all():
    bench = SteeringBench(shared_vlm(), TinySae(), tiny_pictures(4))
    everything = bench.answers(INTERVENTIONS, PROMPTS)
    assert np.array_equal(bench.answers(INTERVENTIONS, PROMPTS, [3, 1]), everything[:, [3, 1]])
    assert bench.answers([], PROMPTS).shape == (0, 4, 3)
    assert bench.answers(INTERVENTIONS, PROMPTS, []).shape == (5, 0, 3)


def test_the_error_kept_and_nothing_steered_is_the_bare_model():
    vlm, images = shared_vlm(), tiny_pictures(2)
    bench = SteeringBench(vlm, TinySae(), images, keep_error=True)
    expected = torch.stack([vlm.logits(image, PROMPTS[0]) for image in images])
    torch.testing.assert_close(bench.logits(UNSTEERED, PROMPTS[:1])[:, 0], expected, rtol=0, atol=1e-4)


def test_wrong_width_wrong_latent_and_a_template_with_the_picture_last_are_told():
    vlm = shared_vlm()
    with pytest.raises(UserError, match="width 48"):
        SteeringBench(vlm, TinySae(dim=48), tiny_pictures(1))
    bench = SteeringBench(vlm, TinySae(), tiny_pictures(1))
    with pytest.raises(UserError, match="no latent 99"):
        bench.answers([Intervention(99, 1.0)], PROMPTS)


def test_a_template_with_the_picture_last_is_refused(monkeypatch):
    vlm = shared_vlm()
    bench = SteeringBench(vlm, TinySae(), tiny_pictures(1))
    monkeypatch.setattr(type(vlm), "chat", lambda self, prompt: f"<s> USER: {prompt} <image> ASSISTANT:")
    with pytest.raises(UserError, match="picture after the prompt"):
        bench.answers([UNSTEERED], PROMPTS)
