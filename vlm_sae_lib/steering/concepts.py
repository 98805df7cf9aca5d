"""Which latents stand for which concept: candidates by F1 on pictures whose truth is known.

A concept is a value of something that can be asked about a picture: colour "red", order "beetle". Its candidates are
the latents that, read as a detector ("the latent, pooled over the picture's tokens, exceeds t"), reach the highest F1
over all thresholds t. No answer of the model has a say in this; what a candidate *does* is found out by steering.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.progress import progress
from vlm_sae_lib.steering.intervention import ENCODED_BYTES, Sae, check_latents, for_sae
from vlm_sae_lib.vlms.vlm import Vlm


@dataclass(frozen=True)
class Gallery:
    """Pictures with their truth: one row of ``factors`` per picture, a column for everything that is asked about."""

    images: Sequence[Image.Image]
    factors: pd.DataFrame

    def __post_init__(self) -> None:
        if len(self.images) != len(self.factors):
            raise ValueError(f"{len(self.images)} pictures need as many rows of factors, not {len(self.factors)}")


@dataclass(frozen=True)
class PooledLatents:
    """Latents of a picture's tokens, pooled after encoding (paper §6.2): the largest and the mean of each."""

    largest: Float[np.ndarray, "n n_latents"]
    mean: Float[np.ndarray, "n n_latents"]

    @property
    def maximum(self) -> Float[np.ndarray, " n_latents"]:
        """The largest value of each latent on any token of any picture: the unit in which strengths are stated."""
        return self.largest.max(0)

    def live(self, min_pictures: int = 10) -> np.ndarray:
        """Indices of the latents that fire on at least so many pictures."""
        return np.flatnonzero((self.largest > 0).sum(0) >= min_pictures)


@torch.no_grad()
def pool_latents(vlm: Vlm, sae: Sae, images: Sequence[Image.Image], *, batch_size: int = 64) -> PooledLatents:
    """Encode every token at the hook point, CLS included, and pool by picture.

    batch_size: of how many pictures the states are held; the tower takes them in as many passes as memory asks for. Of
    a batch no more tokens are encoded at once than give ``ENCODED_BYTES`` of latents, and fewer where memory is short.
    Raises: UserError for a wrong width, and where memory is too short for a single picture.
    """
    check_latents(vlm, sae, {})
    at_once = max(1, ENCODED_BYTES // (4 * sae.n_latents))

    def pool(x: Float[Tensor, "pictures tokens d"]) -> tuple[np.ndarray, np.ndarray]:
        pooled = [(z.amax(1), z.mean(1), z.shape[1]) for z in map(sae.encode, x.split(at_once, dim=1))]
        largest = torch.stack([of_part for of_part, _, _ in pooled]).amax(0)
        mean = reduce(torch.add, (of_part * (n / x.shape[1]) for _, of_part, n in pooled))
        return largest.cpu().numpy(), mean.cpu().numpy()

    done: list[tuple[np.ndarray, np.ndarray]] = []
    for start in progress(range(0, len(images), batch_size), "latents of the tokens"):
        states = for_sae(sae, vlm.states(images[start : start + batch_size]))
        tokens = states.shape[1]
        fit, a_picture = max(1, at_once // tokens), 4 * sae.n_latents * min(tokens, at_once)
        done += vlm.room.run(pool, states, a_picture, at_once=fit, what="pictures")
    return PooledLatents(*(np.concatenate(parts) for parts in zip(*done, strict=True)))


def best_f1(
    values: Float[np.ndarray, "n n_latents"], labels: Bool[np.ndarray, "n n_concepts"]
) -> Float[np.ndarray, "n_latents n_concepts"]:
    """The best F1 = 2·TP / (predicted + positives) of each latent for each concept, over all thresholds ≥ 0."""
    order = np.argsort(-values, axis=0, kind="stable")
    ranked = np.take_along_axis(values, order, axis=0)
    # A cut after rank i is a threshold only where the value falls there: equal values stay together.
    is_cut = (ranked > 0) & (ranked > np.vstack([ranked[1:], np.full((1, values.shape[1]), -np.inf)]))
    predicted = np.arange(1, len(values) + 1)[:, None]
    scores = np.zeros((values.shape[1], labels.shape[1]))
    for concept, label in enumerate(labels.T):
        f1 = 2 * np.cumsum(label[order], axis=0) / (predicted + label.sum())
        scores[:, concept] = np.where(is_cut, f1, 0).max(0)
    return scores


def list_concepts(
    factors: pd.DataFrame,
    about: Sequence[str],
    per_about: int,
    *,
    min_pictures: int,
    seed: int,
    scored: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Concepts to study (columns about, concept, pictures): drawn at random where there are more than ``per_about``.

    Args:
        factors: the choosing pictures', of which ``min_pictures`` must show a concept.
        scored: the test pictures', where one of them must, too.

    Raises:
        UserError: not one concept is left.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for name in about:
        counts = factors[name].value_counts()
        values = sorted(counts.index[counts >= min_pictures])
        if scored is not None:
            values = [value for value in values if (scored[name] == value).any()]
        if len(values) > per_about:
            values = sorted(rng.choice(values, per_about, replace=False).tolist())
        rows += [(name, value, int(counts[value])) for value in values]
    if not rows:
        beside = "" if scored is None else " and one of those to score on"
        raise UserError(
            f"No {' or '.join(about)} is shown by {min_pictures} of the {len(factors)} choosing pictures{beside}, so "
            "there is no concept to steer: take more pictures, or set steering.min_pictures to less."
        )
    return pd.DataFrame(rows, columns=["about", "concept", "pictures"])


def candidate_latents(
    pooled: PooledLatents,
    factors: pd.DataFrame,
    concepts: pd.DataFrame,
    *,
    n_candidates: int = 3,
    min_pictures: int = 10,
) -> pd.DataFrame:
    """The best latents of each concept by F1, the largest or the mean over the tokens, whichever serves the latent.

    Columns: about, concept, rank (0 the best), latent, f1, maximum (of the latent, on these pictures). Only latents
    that fire on ``min_pictures`` pictures are considered; equal F1 goes to the smaller index.

    Raises:
        UserError: no latent fires on so many pictures, or there is no concept.
    """
    live = pooled.live(min_pictures)
    if not len(live) or not len(concepts):
        raise UserError(
            f"There are {len(concepts)} concepts, and {len(live)} latents that fire on {min_pictures} of the "
            f"{len(factors)} choosing pictures: take more pictures, or another autoencoder."
        )
    pairs = list(zip(concepts["about"], concepts["concept"], strict=True))
    has = np.stack([(factors[about] == concept).to_numpy() for about, concept in pairs], 1)
    f1 = np.maximum(best_f1(pooled.largest[:, live], has), best_f1(pooled.mean[:, live], has))
    best = np.argsort(-f1, axis=0, kind="stable")[:n_candidates]
    maximum = pooled.maximum[live]
    rows = [
        (*pair, rank, int(live[i]), f1[i, j], float(maximum[i]))
        for j, pair in enumerate(pairs)
        for rank, i in enumerate(best[:, j])
    ]
    return pd.DataFrame(rows, columns=["about", "concept", "rank", "latent", "f1", "maximum"])
