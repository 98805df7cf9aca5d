"""What a latent would do to an answer, to first order: its effect, not what it detects (arXiv 2505.20063).

    attribution(k) = mean over pictures of Σ_tokens (∂ lead / ∂ x_t · d_k) · (aim_k − z_tk)

The lead is the score of the concept's word minus that of the word that is said now. One pass backward tells it for all
latents at once. What the same change does to the other answers is told beside it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_sae_lib.steering.following import Lessons
from vlm_sae_lib.steering.intervention import Sae, decoder_vectors, for_sae


@dataclass(frozen=True, eq=False)
class Attribution:
    """Of every latent: what overwriting it with its aim on every token (``on``) or switching it off (``off``) adds.

    ``lead`` is that of the concept over the word said now; ``rest`` the log-probability of the other answers as they
    are, summed over the questions.
    """

    on_lead: Float[Tensor, " n_latents"]
    off_lead: Float[Tensor, " n_latents"]
    on_rest: Float[Tensor, " n_latents"]
    off_rest: Float[Tensor, " n_latents"]

    @property
    def on(self) -> Float[Tensor, " n_latents"]:
        """What counts is the lead and the rest together: both are natural logarithms of odds."""
        return self.on_lead + self.on_rest

    @property
    def off(self) -> Float[Tensor, " n_latents"]:
        return self.off_lead + self.off_rest


def attribute(
    lessons: Lessons, sae: Sae, aims: Float[Tensor, " n_latents"], *, batch_size: int = 16
) -> Attribution:
    """Attributions of all latents over the pictures of some lessons. aims: a strength for each latent."""
    decoder = decoder_vectors(sae, list(range(sae.n_latents)))
    totals = torch.zeros(4, sae.n_latents)
    for start in range(0, len(lessons.states), batch_size):
        part = slice(start, start + batch_size)
        z = sae.encode(for_sae(sae, lessons.states[part]))
        for row, gradient in enumerate(_gradients(lessons, part)):
            along = gradient @ decoder.T
            totals[2 * row] += (along * (aims - z)).sum((0, 1))
            totals[2 * row + 1] -= (along * z).sum((0, 1))
    on_lead, off_lead, on_rest, off_rest = totals / len(lessons.states)
    return Attribution(on_lead, off_lead, on_rest, off_rest)


def lead_and_rest(
    lessons: Lessons, states: Float[Tensor, "n tokens d"], part: slice = slice(None)
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """The concept's lead in its question, and the log-probability of the other answers, of each picture."""
    scores, now = lessons.follow.scores(states), lessons.now[part]
    first = scores[:, 0]
    lead = first[:, lessons.word] - first.gather(1, now[:, :1])[:, 0]
    rest = scores[:, 1:].log_softmax(-1).gather(-1, now[:, 1:, None])[..., 0].sum(1)
    return lead, rest


def _gradients(lessons: Lessons, part: slice) -> list[Float[Tensor, "n tokens d"]]:
    states = lessons.states[part].clone().requires_grad_()
    lead, rest = lead_and_rest(lessons, states, part)
    return [torch.autograd.grad(what.sum(), states, retain_graph=what is lead)[0] for what in (lead, rest)]
