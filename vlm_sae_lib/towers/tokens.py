"""Token rules: which of a hook point's tokens are kept.

``cls``: the class token; ``mean``: the mean over all tokens; ``all``: every token; ``random:<k>``: k tokens drawn
uniformly with replacement from all of them, class token included (the paper's choice for steering, §4.4, k = 2).
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vlm_sae_lib.errors import UserError

KNOWN_RULES = '"cls", "mean", "all", "random:<k>"'


def check_rule(rule: str, where: str, *, has_cls: bool) -> str:
    """The rule in its one spelling (``random:02`` becomes ``random:2``).

    Raises:
        UserError: an unknown rule, or ``cls`` where the tower has no class token.
    """
    if isinstance(rule, str) and rule.startswith("random:"):
        count = rule.removeprefix("random:")
        if count.isdecimal() and int(count) > 0:
            return f"random:{int(count)}"
    if rule not in ("cls", "mean", "all"):
        raise UserError(f"Unknown token rule {rule!r}: known are {KNOWN_RULES}.")
    if rule == "cls" and not has_cls:
        raise UserError(f'{where} has no class token, so "cls" selects nothing: use "mean", "all" or "random:<k>".')
    return rule


def token_indices(rule: str, n_tokens: int, image_ids: np.ndarray, seed: int) -> np.ndarray | None:
    """Indices (n, k) of the tokens a rule keeps for each image, or None for ``mean``.

    A random draw depends on ``(seed, image_id)`` alone, so neither batching nor resuming changes it.
    """
    n = len(image_ids)
    if rule == "cls":
        return np.zeros((n, 1), dtype=np.int64)
    if rule == "all":
        return np.tile(np.arange(n_tokens, dtype=np.int64), (n, 1))
    if rule == "mean":
        return None
    k = int(rule.removeprefix("random:"))
    draws = [np.random.default_rng([seed, int(i)]).integers(0, n_tokens, k) for i in image_ids]
    return np.array(draws, dtype=np.int64).reshape(n, k)


def select_tokens(
    hidden: Float[Tensor, "n tokens d"], rule: str, image_ids: np.ndarray, seed: int
) -> Float[Tensor, "n *kept d"]:
    """The tokens a rule keeps, in float32: (n, d) for ``cls`` and ``mean``, (n, k, d) otherwise."""
    if rule == "mean":
        return hidden.float().mean(1)
    if rule == "cls":
        return hidden[:, 0].clone().float()
    if rule == "all":
        return hidden.contiguous().float()
    chosen = torch.from_numpy(token_indices(rule, hidden.shape[1], image_ids, seed)).to(hidden.device)
    return hidden[torch.arange(len(hidden), device=hidden.device)[:, None], chosen].float()
