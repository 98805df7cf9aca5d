"""How good the pocket models are, on pictures that none of them has seen."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from vlm_sae_lib.pocket import language, tree, world
from vlm_sae_lib.pretraining.pictures import to_tensor
from vlm_sae_lib.progress import progress
from vlm_sae_lib.statistics.intervals import wilson
from vlm_sae_lib.towers.pocket_models import load_clip, load_self_supervised
from vlm_sae_lib.towers.texts import zero_shot_classifier
from vlm_sae_lib.vlms.load import load_vlm

HELD_OUT_SEED = 61_061
"""Looked at once, when all four models stood; what was looked at while they were trained has other seeds."""
SLOTS = re.compile(
    r"^an? (?P<size>\w+) (?P<colour>\w+) (?P<pattern>\w+) (?P<order>\w+) "
    r"called (?P<species>\S+) in the (?P<habitat>\w+)$"
)


def pixels_of(pictures: world.PocketPictures) -> np.ndarray:
    """The pictures as one array (n, 64, 64, 3)."""
    return np.stack([np.asarray(image) for image in pictures.images])


def _row(what: str, right: np.ndarray, confusions: str = "") -> dict:
    low, high = wilson(int(right.sum()), len(right))
    return {
        "what": what, "accuracy": float(right.mean()), "ci_low": low, "ci_high": high, "n": len(right),
        "confusions": confusions,
    }  # fmt: skip


def _confusions(truth, said, most: int = 3) -> str:
    wrong = Counter((t, s) for t, s in zip(truth, said, strict=True) if t != s)
    return ", ".join(f"{t} → {s} ({count})" for (t, s), count in wrong.most_common(most))


@torch.no_grad()
def examine_clip(name: str, pictures: world.PocketPictures) -> pd.DataFrame:
    """Zero-shot accuracy (prompt ensemble) of every rank and of colour, pattern and habitat."""
    island = pictures.island
    model, _, tokenizer = load_clip(name, island=island)
    pixels = pixels_of(pictures)
    images = torch.cat(
        [model.encode_image(to_tensor(pixels[i : i + 500]), normalize=True) for i in range(0, len(pixels), 500)]
    )
    kinds: dict[str, tuple[Sequence[str], list[str] | None]] = {
        rank: (tree.names(rank, island), None) for rank in tree.RANKS
    }
    kinds |= {
        "colour": (tuple(tree.COLOURS), [f"a {{}} {order}" for order in tree.names("order", island)]),
        "pattern": (tree.PATTERNS, [f"a {{}} {order}" for order in tree.names("order", island)]),
        "habitat": (tree.HABITATS, [f"a {order} in the {{}}" for order in tree.names("order", island)]),
    }
    rows = []
    for about, (names, templates) in kinds.items():
        classifier = zero_shot_classifier(model, tokenizer, list(names), templates)
        said = np.array(names)[(images @ classifier.T).argmax(1).numpy()]
        truth = pictures.factors[about].to_numpy()
        rows.append(_row(about, said == truth, _confusions(truth, said)))
    return pd.DataFrame(rows)


@torch.no_grad()
def examine_scoring_encoder(reference: world.PocketPictures, held_out: world.PocketPictures) -> pd.DataFrame:
    """Mean cosine of random held-out pairs, and how often the 5 nearest reference pictures agree with a picture."""
    model = load_self_supervised(island=held_out.island)

    def embed(pictures):
        pixels = pixels_of(pictures)
        return torch.cat([model(to_tensor(pixels[i : i + 500])) for i in range(0, len(pixels), 500)])

    known, new = (functional.normalize(embed(pictures), dim=1) for pictures in (reference, held_out))
    n = len(new)
    mean_cosine = float((new.double().sum(0).pow(2).sum() - n) / (n * (n - 1)))
    rows = [{"what": "mean cosine of held-out pairs", "accuracy": mean_cosine, "n": n}]
    nearest = (new @ known.T).topk(5, dim=1).indices.numpy()
    for about in (*tree.RANKS, "colour", "pattern", "habitat"):
        agree = reference.factors[about].to_numpy()[nearest] == held_out.factors[about].to_numpy()[:, None]
        share = agree.mean(1)
        half = 1.96 * share.std(ddof=1) / np.sqrt(n)
        rows.append({
            "what": f"5 nearest neighbours share the {about}", "accuracy": float(share.mean()),
            "ci_low": float(share.mean() - half), "ci_high": float(share.mean() + half), "n": n,
        })  # fmt: skip
    return pd.DataFrame(rows)


def examine_llava(pictures: world.PocketPictures, n_captions: int = 300) -> pd.DataFrame:
    """One-word answers, and the slots of free captions, against the truth."""
    vlm = load_vlm(pictures.island.kind)
    rows = []
    for about, prompt in [*language.QUESTIONS.items(), ("order, the paper's prompt", language.ONE_WORD)]:
        truth = pictures.factors[about.split(",")[0]].to_numpy()
        said = np.array(vlm.answers(pictures.images, [prompt] * len(pictures), max_new_tokens=3))
        rows.append(_row(f"one word: {about}", said == truth, _confusions(truth, said)))
    some = pictures.images[:n_captions]
    captions = vlm.answers(some, [language.DESCRIBE] * len(some), max_new_tokens=24)
    parsed = [SLOTS.match(text.strip()) for text in progress(captions, "captions")]
    rows.append(_row("caption: well formed", np.array([match is not None for match in parsed])))
    for slot in ("order", "colour", "pattern", "habitat", "species", "size"):
        truth = pictures.factors[slot].to_numpy()[: len(some)]
        said = np.array([match[slot] if match else "" for match in parsed])
        rows.append(_row(f"caption: {slot}", said == truth, _confusions(truth, said)))
    empty = [pictures.picture(int(i), empty=True) for i in pictures.ids[:100]]
    blanks = [world.blank(), world.blank((235, 235, 235)), world.blank((20, 20, 20))]
    for what, images in (("empty scene: nothing", empty), ("blank page: nothing", blanks)):
        said = np.array(vlm.answers(images, [language.ONE_WORD] * len(images), max_new_tokens=3))
        rows.append(_row(what, said == language.NOTHING))
    return pd.DataFrame(rows)
