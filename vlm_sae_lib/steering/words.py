"""Which of the island's words a picture moves towards when something is added to what the pocket CLIP computes."""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache

import pandas as pd
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

from vlm_sae_lib.hooks import PROJECTION
from vlm_sae_lib.pocket import tree
from vlm_sae_lib.pocket.islands import HOME, Island, of_kind
from vlm_sae_lib.towers.pocket_models import load_clip
from vlm_sae_lib.towers.texts import zero_shot_classifier
from vlm_sae_lib.towers.tower import Tower

ABOUT = ("habitat", "colour", "pattern", "class", "order", "family", "genus", "species")


@lru_cache(maxsize=4)
def dictionary(abouts: tuple[str, ...] = ABOUT, island: Island = HOME) -> tuple[list[tuple[str, str]], Tensor]:
    """(what it is about, word) and the words' unit text embeddings (words, d), from CLIP's prompt ensemble."""
    model, _, tokenizer = load_clip("clip", island=island)
    own = {"colour": tuple(tree.COLOURS), "pattern": tree.PATTERNS, "habitat": tree.HABITATS}
    orders = tree.names("order", island)
    templates = {
        "colour": [f"a {{}} {order}" for order in orders],
        "pattern": [f"a {{}} {order}" for order in orders],
        "habitat": [f"a {order} in the {{}}" for order in orders],
    }
    words, vectors = [], []
    for about in abouts:
        names = own.get(about) or tree.names(about, island)
        words += [(about, name) for name in names]
        vectors.append(zero_shot_classifier(model, tokenizer, list(names), templates.get(about)))
    return words, torch.cat(vectors)


@torch.no_grad()
def words_moved(
    tower: Tower,
    images: Sequence[Image.Image],
    hook_point: str,
    direction: Float[Tensor, " d"],
) -> pd.DataFrame:
    """Add a vector to every token at a hook point; how much nearer do the pictures come to each word?

    Args:
        tower: the pocket CLIP's tower.
        images: pictures to add it to.
        direction: in raw activation units.

    Returns:
        ``about, word, change``: mean change over the pictures of the cosine between picture and word, minus the mean
        over all words of that kind; the largest first.
    """
    vector = torch.as_tensor(direction)
    words, texts = dictionary(island=of_kind(tower.spec.partition(":")[0]) or HOME)
    before = tower.activations(images, PROJECTION)
    at_end = hook_point == PROJECTION
    with nullcontext() if at_end else tower.intervene(hook_point, lambda states: states + vector.to(states)):
        after = tower.activations(images, PROJECTION)
    after = after + vector if at_end else after
    change = (_cosines(after, texts) - _cosines(before, texts)).mean(dim=0)
    table = pd.DataFrame(words, columns=["about", "word"]).assign(change=change.numpy().astype(float))
    table["change"] -= table.groupby("about")["change"].transform("mean")
    return table.sort_values("change", ascending=False, kind="stable").reset_index(drop=True)


def random_direction(like: Float[Tensor, " d"], seed: int) -> Tensor:
    """A random vector of the same length: the control."""
    vector = torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))
    return vector / vector.norm() * like.norm()


def _cosines(embeddings: Tensor, texts: Tensor) -> Tensor:
    return functional.normalize(embeddings, dim=1) @ texts.T
