"""The autoencoders that the book shows, measured for its atlas."""

from typing import Any

import numpy as np

from vlm_sae_lib.atlas.known import Known
from vlm_sae_lib.atlas.measuring import Measured, measure
from vlm_sae_lib.atlas.naming import Names, names_of, vocabulary_of
from vlm_sae_lib.atlas.steering import Steered, steer_all
from vlm_sae_lib.hooks import PROJECTION
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.profiles.shown import SHOWN
from vlm_sae_lib.statistics.gather import gather_statistics
from vlm_sae_lib.steering.concepts import pool_latents
from vlm_sae_lib.workbench import Workbench

PROFILE = "pocket"
ASKED = 12
"""Pictures on which each latent is steered."""
KINDS = {"matryoshka_batch_top_k": "Matryoshka", "batch_top_k": "BatchTopK"}


def measured() -> list[Measured]:
    """Every latent of every autoencoder that the book shows; minutes, most of them spent on steering."""
    bench = Workbench(load_profile(PROFILE))
    return [_measured(bench, name) for name in SHOWN]


def _measured(bench: Workbench, name: str) -> Measured:
    sae, (hook_point, tokens) = bench.shown(name), _place(bench, name)
    embeddings = {encoder: bench.embeddings("test", encoder) for encoder in bench.scoring_names}
    return measure(
        sae, bench.activations("test", hook_point, tokens), embeddings, bench.pictures("test"),
        key=name, title=_title(bench, name), sentence=_sentence(name, hook_point, sae.n_latents),
        names=_names(bench, sae, hook_point, tokens), steered=_steered(bench, sae) if name == "steering" else None,
    )  # fmt: skip


def _place(bench: Workbench, name: str) -> tuple[str, str]:
    """What an autoencoder of the book reads; the one for steering, every token of a picture."""
    _, family = SHOWN[name]
    if family == "steering":
        return bench.steering_tower[1], "all"
    return (PROJECTION if family == "taxonomy" else bench.profile.main_hook_point), "cls"


def _title(bench: Workbench, name: str) -> str:
    kind, family = SHOWN[name]
    expansion = {"main": bench.profile.main_expansion, "taxonomy": bench.profile.taxonomy_expansion,
                 "steering": bench.profile.steering_expansion}[family]  # fmt: skip
    return f"{KINDS[kind or bench.profile.steering_kind]} ×{expansion:g} at {_place(bench, name)[0]}"


def _sentence(name: str, hook_point: str, n_latents: int) -> str:
    use = {"main": "Notebooks 2 and 3 look at its latents", "taxonomy": "Notebook 4 lays its latents along the tree",
           "steering": "Notebook 5 steers with its latents"}[SHOWN[name][1]]  # fmt: skip
    return f"{use}: {n_latents} of them, at {hook_point} of the pocket world’s CLIP."


def _names(bench: Workbench, sae: Any, hook_point: str, tokens: str) -> Names:
    """By the top pictures of the choosing split, as the experiment on names does; the test pictures tell the truth."""
    images = bench.activations("choosing", PROJECTION)
    gathered = gather_statistics(bench.activations("choosing", hook_point, tokens), images, sae, keep=True)
    source = "the choosing split"
    assert gathered.activations is not None and gathered.embeddings is not None  # they were asked for
    return names_of(gathered.activations, gathered.embeddings, vocabulary_of(bench.tower(), ()), source)


def _steered(bench: Workbench, sae: Any) -> Steered:
    """Strengths and concepts from choosing pictures, answers on test pictures."""
    vlm, choosing = bench.vlm(), bench.gallery("choosing", bench.profile.steering_choosing)
    pooled = pool_latents(vlm, sae, choosing.images)
    known = Known.of(bench.pictures("choosing"), np.asarray(choosing.factors.index).tolist())
    return steer_all(vlm, sae, pooled, known, bench.gallery("test", ASKED), bench.asking, seed=bench.profile.seed)
