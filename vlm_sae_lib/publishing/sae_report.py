"""All scores of one SAE on one set of pictures, as two files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import write_bytes, write_json
from vlm_sae_lib.records.results import json_value
from vlm_sae_lib.scores.monosemanticity import ms_bootstrap
from vlm_sae_lib.scores.reconstruction import reconstruction
from vlm_sae_lib.statistics.gather import Gathered, gather_statistics
from vlm_sae_lib.statistics.intervals import bootstrap_mean, percentiles

SCHEMA = 1
TOP_K = 16


@dataclass(frozen=True, eq=False)
class SaeReport:
    """``neurons``: one row per latent; ``summary``: what stands in scores.json; ``gathered``: what they come from."""

    neurons: pd.DataFrame
    summary: dict[str, Any]
    gathered: Gathered

    def write(self, folder: str | Path) -> Path:
        """Write ``neurons.csv`` and ``scores.json`` into a folder, beside whatever else is in it."""
        folder = Path(folder)
        table = self.neurons.to_csv(index=False, lineterminator="\n", na_rep="")
        try:
            write_bytes(folder / "neurons.csv", table.encode())
            write_json(folder / "scores.json", self.summary)
        except OSError as error:
            raise UserError(
                f"{folder} cannot be written ({error.strerror or error}); choose another folder."
            ) from error
        return folder


def score_sae(
    sae: Any,
    activations: Any,
    embeddings: Any,
    *,
    resamples: int = 200,
    seed: int = 0,
    gather: Callable[..., Gathered] = gather_statistics,
) -> SaeReport:
    """Score an SAE's latents on a store of its own activations, with a store of a scoring encoder's embeddings.

    Args:
        sae: a `SparseAutoencoder`.
        activations: store of what the SAE reads.
        embeddings: store of the scoring encoder, from the same pictures.
        resamples: bootstrap draws of the pictures behind the interval of the mean MS; 0 leaves it out.
        seed: of the draws.
        gather: who counts, called as ``gather_statistics`` is.

    Raises:
        UserError: an SAE of another width, or stores of different pictures.
    """
    if sae.dim != activations.dim:
        raise UserError(
            f"The SAE reads activations of width {sae.dim}, but the store holds width {activations.dim}; "
            "use the SAE of that tower and hook point."
        )
    gathered = gather(activations, embeddings, sae, top_k=TOP_K, keep=resamples > 0)
    statistics = gathered.statistics
    ms = statistics.monosemanticity()
    over_neurons = bootstrap_mean(ms, seed=seed)
    over_pictures = None
    if resamples > 0:
        over_pictures = percentiles(ms_bootstrap(gathered.activations, gathered.embeddings, resamples, seed))
    kept = reconstruction(sae, activations)
    top = statistics.top_images()
    defined = ms[~np.isnan(ms)]
    summary = {
        "schema": SCHEMA,
        "sae": {"hash": sae.hash, "kind": sae.kind, "n_latents": sae.n_latents, "group_sizes": sae.group_sizes},
        "activations": _facts(activations),
        "embeddings": _facts(embeddings),
        "images": statistics.n_images,
        "images_without_embedding": len(gathered.only_activations),
        "images_without_activation": len(gathered.only_embeddings),
        "ms": {
            "mean": over_neurons.value,
            "interval_over_neurons": over_neurons.interval,
            "interval_over_pictures": over_pictures,
            "std": defined.std(ddof=1) if len(defined) > 1 else None,
            "best": defined.max(initial=-np.inf),
            "worst": defined.min(initial=np.inf),
            "defined": len(defined),
        },
        "never_fired": kept.never_fired,
        "undefined_ms": int(np.isnan(ms).sum()),
        "fewer_than_16_images": int((top < 0).any(axis=1).sum()),
        "r2": kept.r2,
        "r2_paper": kept.r2_paper,
        "l0": kept.l0,
        "rows": kept.rows,
        "resamples": resamples,
        "seed": seed,
    }
    return SaeReport(_table(sae, statistics, ms, top), json_value(summary), gathered)


def _table(sae: Any, statistics: Any, ms: np.ndarray, top: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "neuron": np.arange(len(ms)),
            "group": np.repeat(np.arange(len(sae.group_sizes)), sae.group_sizes),
            "ms": ms,
            "firing_rate": statistics.firing_rate(),
            "images_fired": statistics.firing_count(),
            "max_activation": statistics.maximum,
            "mean_activation": statistics.mean,
            "top_images": [" ".join(str(image) for image in row if image >= 0) for row in top.tolist()],
        }
    )


def _facts(store: Any) -> dict[str, Any]:
    names = ("tower", "hook_point", "tokens", "source", "fingerprint", "weights_hash")
    return {"id": store.id, **{name: store.metadata.get(name) for name in names}}
