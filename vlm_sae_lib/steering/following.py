"""The scores of answers as a function of the tower's states that gradients can follow, through the frozen model.

A sweep (``sweep.py``) asks what is said; attribution and learned edits ask how that would change. The questions about
one picture share its tokens in one pass, as in a sweep, and the tests hold the two to each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from vlm_sae_lib.steering.sweep import _QuestionBoard
from vlm_sae_lib.vlms.vlm import Vlm


class Following:
    """Several questions about pictures, with the scores of the next word as a differentiable function of the states."""

    def __init__(self, vlm: Vlm, prompts: Sequence[str]):
        self.vlm, self._board = vlm, _QuestionBoard(vlm, prompts)

    def scores(self, states: Float[Tensor, "n tokens d"]) -> Float[Tensor, "n questions vocabulary"]:
        """Scores of every word as the answer to each question; autograd reaches the states."""
        board = self._board
        return self.vlm.model.lm_head(board._read_whole(board.embed(states))).float()

    @torch.no_grad()
    def said(self, states: Float[Tensor, "n tokens d"], batch_size: int = 32) -> Int[Tensor, "n questions"]:
        """The likeliest word of each answer, as a token."""
        return torch.cat([self._board.ask(part).argmax(-1) for part in states.split(batch_size)])


@dataclass(frozen=True, eq=False)
class Lessons:
    """Pictures that lack a concept, and the answers an edit should lead to.

    The concept's own question comes first and wants the concept; every other wants what the model says unedited, so
    that no truth of the other factors is needed.
    """

    follow: Following
    states: Float[Tensor, "n tokens d"]
    now: Int[Tensor, "n questions"]
    word: int

    @property
    def wanted(self) -> Int[Tensor, "n questions"]:
        wanted = self.now.clone()
        wanted[:, 0] = self.word
        return wanted


def lessons(
    vlm: Vlm, images: Sequence[Image.Image], prompts: Sequence[str], concept: str, states: Tensor | None = None
) -> Lessons:
    """Lessons for one concept. prompts: its own question first; states: of the pictures, where they are known."""
    follow = Following(vlm, prompts)
    states = vlm.states(images) if states is None else states
    return Lessons(follow, states, follow.said(states), word_token(vlm, concept))


def word_token(vlm: Vlm, word: str) -> int:
    """The token with which an answer of this word begins."""
    return int(vlm.processor.tokenizer(word, add_special_tokens=False)["input_ids"][0])
