"""The paper's measure of steering (§6.3, Tab. 3): how close is the answer's word to the pictures a latent likes best?

    similarity(latent, word) = cos( mean of the unnormalised CLIP embeddings of its top-16 pictures, CLIP(word) )

The word goes to the text tower bare, without a template. The CLIP is not the one that is steered.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from vlm_sae_lib.pocket.models import load_clip
from vlm_sae_lib.progress import progress

TOP_K = 16


class WordAndPicture:
    """A pocket CLIP as the judge. Word embeddings are kept, for the model has few words."""

    def __init__(self, name: str = "second_clip"):
        self._model, self._preprocess, self._tokenizer = load_clip(name)
        self._known: dict[str, np.ndarray] = {}

    @torch.no_grad()
    def pictures(self, images: Sequence[Image.Image], batch_size: int = 128) -> Float[np.ndarray, "n d"]:
        """Embeddings of pictures, not normalised."""
        parts = []
        for start in progress(range(0, len(images), batch_size), "embeddings of pictures"):
            batch = torch.stack([self._preprocess(image) for image in images[start : start + batch_size]])
            parts.append(self._model.encode_image(batch).numpy())
        return np.concatenate(parts)

    @torch.no_grad()
    def words(self, words: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """Embeddings of single words, of length 1."""
        if new := sorted(set(words) - set(self._known)):
            vectors = self._model.encode_text(self._tokenizer(new), normalize=True).numpy()
            self._known |= dict(zip(new, vectors, strict=True))
        return np.stack([self._known[word] for word in words])


def top_pictures(values: Float[np.ndarray, "n_pictures n_latents"], k: int = TOP_K) -> np.ndarray:
    """The rows of the k pictures with the largest values of each latent, (n_latents, k); ties: the earlier picture."""
    return np.argsort(-values, axis=0, kind="stable")[:k].T


def mean_pictures(embeddings: Float[np.ndarray, "n_pictures d"], top: np.ndarray) -> Float[np.ndarray, "n_latents d"]:
    """The mean embedding of each latent's pictures, of length 1."""
    mean = embeddings[top].mean(1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)
