"""The paper's measure of steering (§6.3, Tab. 3): how close is the answer's word to the pictures a latent likes best?

    similarity(latent, word) = cos( mean of the unnormalised CLIP embeddings of its top-16 pictures, CLIP(word) )

The word goes to the text tower bare, without a template. The CLIP is not the one that is steered.
"""

import string
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from PIL import Image

from vlm_sae_lib.hooks import PROJECTION
from vlm_sae_lib.progress import progress
from vlm_sae_lib.statistics.intervals import bootstrap_mean
from vlm_sae_lib.steering.concepts import PooledLatents
from vlm_sae_lib.steering.experiment import STEERED, Setting
from vlm_sae_lib.steering.intervention import Sae
from vlm_sae_lib.steering.sweep import UNSTEERED, SteeringBench
from vlm_sae_lib.towers import Tower
from vlm_sae_lib.towers.texts import TextPart, text_part
from vlm_sae_lib.vlms.vlm import Vlm

TOP_K = 16
BARE = "bare model"


class WordAndPicture:
    """A CLIP as the judge, see ``judge_of``. Word embeddings are kept, for the same words come again and again."""

    def __init__(self, tower: Tower, embed: TextPart):
        self.name, self._tower, self._embed = tower.name, tower, embed
        self._known: dict[str, np.ndarray] = {}

    def pictures(self, images: Sequence[Image.Image], batch_size: int = 128) -> Float[np.ndarray, "n d"]:
        """Embeddings of pictures, not normalised."""
        starts = progress(range(0, len(images), batch_size), "embeddings of pictures")
        parts = [self._tower.activations(images[start : start + batch_size], PROJECTION) for start in starts]
        return torch.cat(parts).numpy()

    @torch.no_grad()
    def words(self, words: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """Embeddings of single words, of length 1."""
        if new := sorted(set(words) - set(self._known)):
            vectors = torch.nn.functional.normalize(self._embed(new), dim=-1).numpy()
            self._known |= dict(zip(new, vectors, strict=True))
        return np.stack([self._known[word] for word in words])


def judge_of(tower: Tower) -> WordAndPicture | None:
    """The judge that a CLIP's tower and its text part make; None for a tower without one."""
    embed = text_part(tower)
    return None if embed is None else WordAndPicture(tower, embed)


def top_pictures(values: Float[np.ndarray, "n_pictures n_latents"], k: int = TOP_K) -> np.ndarray:
    """The rows of the k pictures with the largest values of each latent, (n_latents, k); ties: the earlier picture."""
    return np.argsort(-values, axis=0, kind="stable")[:k].T


def mean_pictures(embeddings: Float[np.ndarray, "n_pictures d"], top: np.ndarray) -> Float[np.ndarray, "n_latents d"]:
    """The mean embedding of each latent's pictures, of length 1."""
    mean = embeddings[top].mean(1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


class Latents:
    """Latents by their place in a list, with the mean of each one's top pictures ``(n_latents, d)``, of length 1."""

    def __init__(
        self, indices: Int[np.ndarray, " n_latents"], pictures: Float[np.ndarray, "n_latents d"], judge: WordAndPicture
    ):
        self.indices, self.pictures, self.judge = indices, pictures, judge

    def similarity(
        self, words: np.ndarray, who: Int[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, "n images"], Float[np.ndarray, "n images"]]:
        """Of words (n, images) to each latent's own pictures, and on average to those of all others in the list.

        who: places in the list, one for each row of ``words``.
        """
        told, inverse = np.unique(words.astype(str), return_inverse=True)
        table, rows = self.judge.words(told.tolist()) @ self.pictures.T, inverse.reshape(words.shape)
        own = table[rows, who[:, None]]
        others = (table.sum(1)[rows] - own) / max(len(self.pictures) - 1, 1)
        return own, others


def similarity_by_setting(
    vlm: Vlm,
    sae: Sae,
    settings: Sequence[Setting],
    images: Sequence[Image.Image],
    prompt: str,
    judge: WordAndPicture,
    pooled: PooledLatents,
    choosing: Sequence[Image.Image],
) -> pd.DataFrame:
    """How close the first word of the answers is to the top pictures of the latent that steers their concept.

    Args:
        settings: of ``run_study``; each concept has a steered one, whose latent the controls are held against as well.
        images: what the model is asked about.
        pooled, choosing: the latents of the pictures among which the top ones are looked for, and those pictures.

    Returns one row per setting, and for each concept one of the bare model, without the SAE, which is what the paper
    calls not steered: method, about, concept, similarity (the mean over the images).
    """
    aims: dict[tuple[str, ...], Any] = {
        (s.about, s.concept): s.intervention.latent for s in settings if s.method == STEERED
    }
    latents = sorted(set(aims.values()))
    top = top_pictures(pooled.mean[:, latents])
    seen = np.unique(top)
    means = mean_pictures(judge.pictures([choosing[i] for i in seen]), np.searchsorted(seen, top))
    near = dict(zip(latents, means, strict=True))
    said = SteeringBench(vlm, sae, images).captions([s.intervention for s in settings], prompt, max_new_tokens=5)
    bare = SteeringBench(vlm, sae, images, keep_error=True).captions([UNSTEERED], prompt, max_new_tokens=5)[0]
    rows = [(s.method, s.about, s.concept, answers) for s, answers in zip(settings, said, strict=True)]
    rows += [(BARE, *concept, bare) for concept in aims]
    return pd.DataFrame(
        [(method, *concept, float((judge.words([*map(first_word, answers)]) @ near[aims[tuple(concept)]]).mean()))
         for method, *concept, answers in rows], columns=["method", "about", "concept", "similarity"],
    )  # fmt: skip


def similarity_by_method(similarities: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """The mean over concepts by method: similarity, low, high (a 95 % bootstrap over concepts), concepts."""
    concepts = similarities.groupby(["method", "about", "concept"], sort=False)["similarity"].mean()
    rows = {}
    for method, values in concepts.groupby("method", sort=False):
        mean, (low, high) = bootstrap_mean(values, seed=seed)
        rows[method] = {"similarity": mean, "low": low, "high": high, "concepts": len(values)}
    return pd.DataFrame(rows).T


def first_word(answer: str) -> str:
    """The paper's label: what stands before the first space; without the punctuation around it."""
    return answer.split(" ")[0].strip(string.punctuation)
