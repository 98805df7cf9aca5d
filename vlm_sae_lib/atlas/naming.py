"""A name for each latent: the word that a CLIP's text half finds nearest to the mean of its strongest pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.naming import TOP, Vocabulary, pocket_vocabulary
from vlm_sae_lib.hooks import PROJECTION
from vlm_sae_lib.pocket.islands import of_kind
from vlm_sae_lib.towers import Tower
from vlm_sae_lib.towers.texts import text_part

SCALE = 100.0
"""CLIP's temperature, where a tower does not tell its own."""
BATCH = 64


@dataclass(frozen=True, eq=False)
class Names:
    """Of each latent the nearest word, and what it is chosen by.

    Attributes:
        words: (what it is about, word).
        word: number of the latent's word; -1 where it fires on no picture that names are chosen on.
        confidence: softmax of the scaled cosines at that word; NaN where there is none.
        pictures: on how many pictures, 16 at most, the name rests.
        source: which pictures those are, in words.
    """

    words: tuple[tuple[str, str], ...]
    word: Int[np.ndarray, " n_latents"]
    confidence: Float[np.ndarray, " n_latents"]
    pictures: Int[np.ndarray, " n_latents"]
    source: str


def names_of(code: sp.csr_matrix, images: Float[np.ndarray, "n d"], vocabulary: Vocabulary, source: str) -> Names:
    """Name every latent that fires.

    Args:
        code: (n, n_latents), none below zero.
        images: embeddings of the same pictures where the vocabulary's texts lie.
    """
    columns, images = sp.csc_matrix(code), np.asarray(images, dtype=np.float64)
    n_latents = columns.shape[1]
    vectors, pictures = np.zeros((n_latents, images.shape[1])), np.zeros(n_latents, dtype=np.int64)
    for latent in range(n_latents):
        part = slice(columns.indptr[latent], columns.indptr[latent + 1])
        rows, values = columns.indices[part], columns.data[part]
        top = rows[np.lexsort((rows, -values))[: min(TOP, int((values > 0).sum()))]]
        pictures[latent] = len(top)
        if len(top):
            vectors[latent] = images[top].mean(axis=0)
    word, confidence = np.full(n_latents, -1), np.full(n_latents, np.nan)
    some = np.flatnonzero(pictures)
    if len(some):
        word[some], confidence[some] = vocabulary.name(vectors[some])
    return Names(tuple(vocabulary.words), word, confidence, pictures, source)


def vocabulary_of(tower: Tower, words: Sequence[tuple[str, str]]) -> Vocabulary:
    """The words that a tower chooses from: of an island's CLIP all of the island's, of another one ``words``.

    Raises:
        UserError: the tower has no text half, or there are no words.
    """
    island = of_kind(tower.spec.partition(":")[0])
    if island is not None:
        return pocket_vocabulary(island)
    if (embed := text_part(tower)) is None:
        raise UserError(f"{tower.spec} has no text half that could name latents: give a CLIP.")
    if not words:
        raise UserError("Nothing is known of the pictures, so there are no words to choose names from.")
    texts = embed([f"a photo of a {word}" for _, word in words]).numpy().astype(np.float64)
    scale = getattr(tower.model, "logit_scale", None)
    scale = float(scale.detach().exp()) if isinstance(scale, torch.Tensor) else SCALE
    return Vocabulary(list(words), texts / np.linalg.norm(texts, axis=1, keepdims=True), scale)


def embedded(tower: Tower, pictures: Any) -> Float[np.ndarray, "n d"]:
    """Pictures where the tower's texts lie, in the order of the source."""
    waiting, parts = iter(picture for _, picture in pictures), []
    while batch := list(islice(waiting, BATCH)):
        parts.append(tower.activations(batch, PROJECTION).reshape(len(batch), -1))
    return torch.cat(parts).float().cpu().numpy()
