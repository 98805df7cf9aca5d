"""Many interventions on the same pictures, several questions about each, at the price of little more than one.

What an intervention cannot change is computed once: the tower's states at the hook point, and their latents. What it
does change is an affine function of them (see ``intervention.py``), so an edited picture is one scaled vector per
token away. And the questions about one edited picture share its tokens in one pass of the language model: each
question sees the picture and itself, none of the others, and counts its positions from the picture's end. A small
language model is read where the questions end and nowhere else (``vlms/ends.py``).
The answers are those of :func:`~vlm_sae_lib.steering.intervention.steered`; the tests compare them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.steering.intervention import (
    ENCODED_BYTES,
    Sae,
    check_latents,
    decoder_vectors,
    for_sae,
    random_directions,
)
from vlm_sae_lib.vlms.ends import Ends, can_read_ends
from vlm_sae_lib.vlms.memory import prompt_bytes
from vlm_sae_lib.vlms.vlm import Vlm, greedy

AT_MOST = 48
"""Prompts at once where memory has room for more: a larger batch is no quicker."""


@dataclass(frozen=True)
class Intervention:
    """One latent overwritten with ``strength``; with a ``direction_seed``, the push as far along a random direction.

    Without a latent: the SAE in place, unsteered.
    """

    latent: int | None = None
    strength: float = 0.0
    direction_seed: int | None = None


class StateEdit(Protocol):
    """Any other intervention: a function of the states that the bench starts from, token by token.

    It names no latent; ``vlm.edited(what.edit)`` is the same on a bare model, where the bench keeps the error.
    """

    @property
    def latent(self) -> None: ...
    @property
    def strength(self) -> float: ...

    def edit(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]: ...


UNSTEERED = Intervention()
Pair = tuple[Intervention | StateEdit, int]
"""What is done, and to which of the bench's pictures."""


class SteeringBench:
    """Pictures with their states and latents at the hook point, ready for interventions.

    ``latents`` is a CSC matrix (n_pictures · tokens, n_latents), picture by picture; ``tokens`` counts CLS.
    batch_size: how many prompts at once; None: as many as memory holds (``vlms/memory.py``), at most ``AT_MOST``. Where
    there was too little, it is halved. The pictures' states stay on the model's device, in float32.
    Raises: UserError when the SAE's width is not the tower's, and whenever memory is too short for a single prompt.
    """

    def __init__(
        self,
        vlm: Vlm,
        sae: Sae,
        images: Sequence[Image.Image],
        *,
        keep_error: bool = False,
        batch_size: int | None = None,
        description: str = "steering",
    ):
        check_latents(vlm, sae, {})
        self.vlm, self.sae, self.keep_error = vlm, sae, keep_error
        self.batch_size, self.description = batch_size, description
        states = for_sae(sae, vlm.states(images))
        self.n_pictures, self.tokens = states.shape[:2]
        a_picture = 4 * sae.n_latents * self.tokens
        fit = min(batch_size or AT_MOST, max(1, ENCODED_BYTES // a_picture))
        ready = vlm.room.run(self._encoded, states, a_picture, at_once=fit, what="pictures")
        self._start: Float[Tensor, "n tokens d"] = torch.cat([start for start, _ in ready])
        self.latents = scipy.sparse.vstack([latents for _, latents in ready]).tocsc()
        self._parts: dict[int, tuple[Float[Tensor, "n tokens"], Float[Tensor, " d"]]] = {}

    @torch.no_grad()
    def _encoded(self, x: Float[Tensor, "batch tokens d"]) -> tuple[Tensor, scipy.sparse.csr_matrix]:
        """Where interventions on some pictures start from, and their latents."""
        z = self.sae.encode(x)
        start = x if self.keep_error else self.sae.decode(z)
        return start, scipy.sparse.csr_matrix(z.flatten(0, 1).cpu().numpy())

    # ---- answers -------------------------------------------------------------------------------------------------

    def answers(
        self,
        interventions: Sequence[Intervention | StateEdit],
        prompts: Sequence[str],
        pictures: Sequence[int] | None = None,
    ) -> np.ndarray:
        """First words (n_interventions, n_pictures, n_prompts): the likeliest next token, as text.

        pictures: indices into the bench's pictures, all of them unless told.
        """
        pairs, shape = self._pairs(interventions, pictures)
        board = _QuestionBoard(self.vlm, prompts)
        cost = self._cost(board, attention="dense", cache=False)
        tokens = self._run(lambda batch: board.ask(self._edited(batch)).argmax(-1).cpu(), pairs, cost)
        if not tokens:
            return np.empty((*shape, len(prompts)), dtype=object)
        ids, inverse = torch.cat(tokens).unique(return_inverse=True)
        words = np.array(self.vlm.decode(ids[:, None]), dtype=object)
        return words[inverse.numpy()].reshape(*shape, len(prompts))

    def logits(
        self, intervention: Intervention | StateEdit, prompts: Sequence[str], pictures: Sequence[int] | None = None
    ) -> Float[Tensor, "n_pictures n_prompts vocabulary"]:
        """The scores that :meth:`answers` takes the likeliest of, for one intervention."""
        pairs, _ = self._pairs([intervention], pictures)
        board = _QuestionBoard(self.vlm, prompts)
        cost = self._cost(board, attention="dense", cache=False)
        return torch.cat(self._run(lambda batch: board.ask(self._edited(batch)), pairs, cost))

    @torch.no_grad()
    def captions(
        self,
        interventions: Sequence[Intervention | StateEdit],
        prompt: str,
        pictures: Sequence[int] | None = None,
        *,
        max_new_tokens: int = 32,
    ) -> np.ndarray:
        """Whole greedy answers (n_interventions, n_pictures) to one prompt."""
        pairs, shape = self._pairs(interventions, pictures)
        board = _QuestionBoard(self.vlm, [prompt])

        def say(batch: list[Pair]) -> list[str]:
            embeddings = board.embed(self._edited(batch))
            mask = torch.ones(embeddings.shape[:2], dtype=torch.long, device=embeddings.device)
            output = self.vlm.model.generate(inputs_embeds=embeddings, attention_mask=mask, **greedy(max_new_tokens))
            return self.vlm.decode(output)

        texts = self._run(say, pairs, self._cost(board, new_tokens=max_new_tokens))
        return np.array([text for batch in texts for text in batch], dtype=object).reshape(shape)

    def texts(
        self,
        interventions: Sequence[Intervention | StateEdit],
        prompts: Sequence[str],
        pictures: Sequence[int] | None = None,
        *,
        max_new_tokens: int = 5,
    ) -> np.ndarray:
        """As :meth:`answers`, but so many tokens long: a word of a large vocabulary may be several."""
        options = {"max_new_tokens": max_new_tokens}
        return np.stack([self.captions(interventions, prompt, pictures, **options) for prompt in prompts], axis=-1)

    # ---- edited states -------------------------------------------------------------------------------------------

    def states(
        self, intervention: Intervention | StateEdit, pictures: Sequence[int] | None = None
    ) -> Float[Tensor, "n tokens d"]:
        """What the projector would read under an intervention."""
        pairs, _ = self._pairs([intervention], pictures)
        return torch.cat(self._run(self._edited, pairs, 3 * self._start[0].nbytes))

    def _edited(self, pairs: list[Pair]) -> Float[Tensor, "batch tokens d"]:
        return torch.stack([self._one(what, self._start[picture], picture) for what, picture in pairs])

    @torch.no_grad()
    def _one(
        self, what: Intervention | StateEdit, start: Float[Tensor, "tokens d"], picture: int
    ) -> Float[Tensor, "tokens d"]:
        if not isinstance(what, Intervention):
            return what.edit(start)
        if what.latent is None:
            return start
        z, vector = self._part(what.latent)
        amount = what.strength - z[picture]
        if what.direction_seed is not None:
            amount = amount.abs() * vector.norm()
            vector = random_directions(1, self.vlm.dim, what.direction_seed)[0].to(start)
        return start + amount[:, None] * vector

    def _part(self, latent: int) -> tuple[Float[Tensor, "n tokens"], Float[Tensor, " d"]]:
        """A latent's values on every token, and its decoder vector."""
        if latent not in self._parts:
            check_latents(self.vlm, self.sae, {latent: 0.0})
            column = self.latents[:, [latent]].toarray().reshape(self.n_pictures, self.tokens)
            vector = decoder_vectors(self.sae, [latent])[0]
            self._parts[latent] = torch.from_numpy(column).to(self._start), vector.to(self._start)
        return self._parts[latent]

    def _pairs(
        self, interventions: Sequence[Intervention | StateEdit], pictures: Sequence[int] | None
    ) -> tuple[list[Pair], tuple[int, int]]:
        chosen = range(self.n_pictures) if pictures is None else pictures
        return [(i, int(p)) for i in interventions for p in chosen], (len(interventions), len(chosen))

    def _cost(self, board: "_QuestionBoard", *, new_tokens: int = 0, **how: Any) -> int:
        """Bytes of one edited picture and what is asked about it, see ``prompt_bytes``."""
        tokens, dtype = len(board.text) + new_tokens, board.text.dtype
        states = self.tokens * self.vlm.dim
        return prompt_bytes(self.vlm.model.config, tokens, dtype, ends=len(board.ends), states=states, **how)

    def _run(self, work: Callable[[list[Pair]], Any], pairs: list[Pair], cost: int) -> list:
        options: dict[str, Any] = {"at_once": self.batch_size, "at_most": AT_MOST, "description": self.description}
        return self.vlm.room.run(work, pairs, cost, **options)


class _QuestionBoard:
    """Several questions about one picture in one sequence: prefix with the picture, then question after question."""

    def __init__(self, vlm: Vlm, prompts: Sequence[str]):
        self.vlm = vlm
        picture = Image.new("RGB", (64, 64))
        rows = [vlm.inputs([picture], [prompt])["input_ids"][0].tolist() for prompt in prompts]
        shared = _common_prefix(rows)
        image_token = vlm.model.config.image_token_id
        if any(image_token in row[shared:] for row in rows):
            raise UserError("the chat template puts the picture after the prompt: steering by sweep needs it before")
        blocks = [row[shared:] for row in rows]
        ids = torch.tensor(rows[0][:shared] + [token for block in blocks for token in block], device=vlm.device)
        block = torch.tensor([0] * shared + [i + 1 for i, b in enumerate(blocks) for _ in b], device=vlm.device)
        place = torch.tensor([*range(shared), *(shared + j for b in blocks for j in range(len(b)))], device=vlm.device)
        self.positions: Int[Tensor, "1 length"] = place[None]
        self.ends = torch.tensor([len(b) for b in blocks], device=vlm.device).cumsum(0) + shared - 1
        self.is_picture = ids == image_token
        self.begun = int(self.is_picture.nonzero()[0])
        self.text = vlm.model.get_input_embeddings()(ids)
        order = torch.arange(len(ids), device=vlm.device)
        seen = (order[:, None] >= order) & ((block[:, None] == block) | (block == 0))
        hidden = torch.finfo(self.text.dtype).min
        self.mask = torch.zeros(seen.shape, dtype=self.text.dtype, device=vlm.device).masked_fill(~seen, hidden)

    def embed(self, states: Float[Tensor, "batch tokens d"]) -> Float[Tensor, "batch length width"]:
        embeddings = self.text.expand(len(states), -1, -1).clone()
        embeddings[:, self.is_picture] = self.vlm.features(states).to(embeddings.dtype)
        return embeddings

    @torch.no_grad()
    def ask(self, states: Float[Tensor, "batch tokens d"]) -> Float[Tensor, "batch questions vocabulary"]:
        embeddings, reader = self.embed(states), self._reader
        hidden = self._read_whole(embeddings) if reader is None else reader.read(embeddings[:, self.begun :])
        return self.vlm.model.lm_head(hidden).float()

    @cached_property
    def _reader(self) -> Ends | None:
        model = self.vlm.family.language_model
        if not can_read_ends(model):
            return None
        return Ends(model, self.text[: self.begun], self.mask, self.positions[0], self.ends)

    def _read_whole(self, embeddings: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch questions width"]:
        n = len(embeddings)
        hidden = self.vlm.family.language_model(
            inputs_embeds=embeddings,
            attention_mask=self.mask.expand(n, 1, -1, -1),
            position_ids=self.positions.expand(n, -1),
            use_cache=False,
        ).last_hidden_state
        return hidden[:, self.ends]


def _common_prefix(rows: list[list[int]]) -> int:
    # One token of each row is left to its own block, so that even a single question has an end.
    shortest = min(len(row) for row in rows)
    agree = next((i for i in range(shortest) if len({row[i] for row in rows}) > 1), shortest)
    return min(agree, shortest - 1)
