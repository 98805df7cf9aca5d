"""Names for the latents of the shipped SAE, and what turning each of them up does: a file that travels with the book.

A latent is named by what it detects best, among everything that is known of the pictures; whether it also *writes* that
into answers is measured, beside pushes as long in random directions. ``python -m vlm_sae_lib.live.latents`` makes the
file anew, in some minutes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from vlm_sae_lib import paths
from vlm_sae_lib.files import content_hash, file_hash, read_json, write_json
from vlm_sae_lib.pictures import load_pictures
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.steering.asking import Asking, asking_of
from vlm_sae_lib.steering.concepts import Gallery, PooledLatents, best_f1, pool_latents
from vlm_sae_lib.steering.sweep import Intervention, SteeringBench
from vlm_sae_lib.vlms import Vlm, load_vlm

SCHEMA = 1
CHOOSING, TEST = "pocket:3000:12", "pocket:3000:13"
"""Pictures that latents are named on, as in the notebooks, and others that they are tried on."""
NAMED_ON, TRIED_ON = 2000, 24
MIN_PICTURES = 10
NAMED_FROM = 0.5
"""The F1 from which a latent counts as a detector of its concept."""
MULTIPLE = 4
"""The strength of the trial, in multiples of the latent's maximum."""


def file() -> Path:
    return paths.data() / "live" / "latents.json"


def made_from() -> str:
    """The hash of the models and of the settings that the file depends on."""
    pocket = paths.pocket()
    models = [pocket / "llava" / "model.safetensors", pocket / "sae" / "steering" / "sae_weights.safetensors"]
    settings = [SCHEMA, CHOOSING, TEST, NAMED_ON, TRIED_ON, MIN_PICTURES, NAMED_FROM, MULTIPLE]
    return content_hash([*map(file_hash, models), *settings])


def latents() -> dict[str, Any]:
    """The file's content: of each latent that fires its index, name, F1, maximum and rates."""
    return read_json(file())


def make() -> dict[str, Any]:
    """Name the latents and try what they do."""
    vlm, sae = load_vlm("pocket"), SparseAutoencoder.load(paths.pocket() / "sae" / "steering")
    choosing = _gallery(CHOOSING, NAMED_ON)
    asking = asking_of(choosing.factors)
    pooled = pool_latents(vlm, sae, choosing.images)
    named = name(pooled, choosing.factors, asking)
    return {
        "schema": SCHEMA,
        "made_from": made_from(),
        "named_on": NAMED_ON,
        "tried_on": TRIED_ON,
        "multiple": MULTIPLE,
        "latents": attempt(vlm, sae, named, _gallery(TEST, 4 * TRIED_ON), asking).to_dict("records"),
    }


def name(pooled: PooledLatents, factors: pd.DataFrame, asking: Asking) -> pd.DataFrame:
    """Of each latent that fires on ``MIN_PICTURES``: the value of a factor that it detects best, with its F1.

    Columns: latent, about, value, f1, named (whether the F1 reaches ``NAMED_FROM``), pooling over the picture's tokens
    (largest or mean, whichever serves the latent), threshold and top of what is pooled, maximum on any token. Of equal
    concepts the coarser one wins.
    """
    live = pooled.live(MIN_PICTURES)
    concepts = [(about, value) for about in asking.columns for value in sorted(factors[about].unique())]
    shown = np.stack([(factors[about] == value).to_numpy() for about, value in concepts], 1)
    values = {"largest": pooled.largest[:, live], "mean": pooled.mean[:, live]}
    f1 = {pooling: best_f1(value, shown) for pooling, value in values.items()}
    rows = []
    for i, latent in enumerate(live):
        pooling = "largest" if f1["largest"][i].max() >= f1["mean"][i].max() else "mean"
        concept, own = int(f1[pooling][i].argmax()), values[pooling][:, i]
        rows.append(
            {
                "latent": int(latent),
                "about": concepts[concept][0],
                "value": concepts[concept][1],
                "f1": round(float(f1[pooling][i, concept]), 3),
                "named": bool(f1[pooling][i, concept] >= NAMED_FROM),
                "pooling": pooling,
                "threshold": _rounded(best_threshold(own, shown[:, concept])),
                "top": _rounded(own.max()),
                "maximum": _rounded(pooled.maximum[latent]),
            }
        )
    return pd.DataFrame(rows)


def best_threshold(values: Float[np.ndarray, " n"], shown: Bool[np.ndarray, " n"]) -> float:
    """The least value that counts as a yes where the F1 is highest."""
    order = np.argsort(-values, kind="stable")
    ranked = values[order]
    f1 = 2 * np.cumsum(shown[order]) / (np.arange(1, len(values) + 1) + shown.sum())
    is_cut = (ranked > 0) & (ranked > np.append(ranked[1:], -np.inf))
    return float(ranked[np.where(is_cut, f1, 0).argmax()])


def _rounded(value: float) -> float:
    """Four digits: more of them hang on the machine."""
    return float(f"{value:.4g}")


def attempt(vlm: Vlm, sae: SparseAutoencoder, named: pd.DataFrame, test: Gallery, asking: Asking) -> pd.DataFrame:
    """With two columns more: on the share of pictures that lack its concept, ``MULTIPLE`` times the maximum makes it
    the answer to its own question (``writes``), and so does as long a push in a random direction (``by_force``)."""
    bench = SteeringBench(vlm, sae, test.images, description="what latents write")
    writes, by_force = [], []
    for row in named.itertuples():
        lacking = np.flatnonzero((test.factors[row.about] != row.value).to_numpy())[:TRIED_ON].tolist()
        strength = MULTIPLE * row.maximum
        pushes = [Intervention(row.latent, strength), Intervention(row.latent, strength, direction_seed=row.latent)]
        said = bench.answers(pushes, [asking.questions[row.about]], lacking)[..., 0] == row.value
        writes.append(round(float(said[0].mean()), 3))
        by_force.append(round(float(said[1].mean()), 3))
    return named.assign(writes=writes, by_force=by_force)


def _gallery(source: str, number: int) -> Gallery:
    pictures = load_pictures(source).subset(range(number))
    return Gallery([picture for _, picture in pictures], pictures.factors)


if __name__ == "__main__":
    write_json(file(), make())
