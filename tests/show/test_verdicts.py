"""What a notebook says of a claim is what the plan gives, read where the claims page reads it."""

import pytest

from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.show import verdicts


@pytest.mark.parametrize("word", Verdict)
def test_the_word_is_the_plans(monkeypatch, word):
    asked = []
    monkeypatch.setattr(verdicts, "word_of_claim", lambda beginning: asked.append(beginning) or word)
    text = verdicts.by_plan("Matryoshka autoencoders pay", "pocket")
    assert f"**{word.value}**" in text and asked == ["Matryoshka autoencoders pay"]
    assert "over ten trainings of each autoencoder" in text and "pocket world" not in text
    assert "](../book/analysis_plan.html)" in text and "](../book/claims.html)" in text


def test_elsewhere_it_says_which_world_was_judged(monkeypatch):
    monkeypatch.setattr(verdicts, "word_of_claim", lambda beginning: Verdict.HOLDS)
    text = verdicts.by_plan("Concepts", "light", over="concepts")
    assert "in the pocket world, over concepts" in text


def test_an_unknown_claim_is_one_sentence():
    with pytest.raises(UserError, match="0 claims begin"):
        verdicts.by_plan("Autoencoders fly", "pocket")
