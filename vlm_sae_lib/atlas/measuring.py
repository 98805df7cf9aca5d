"""Everything that the atlas says of one autoencoder's latents, as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float

from vlm_sae_lib.atlas.detecting import Detected, detected
from vlm_sae_lib.atlas.known import Known
from vlm_sae_lib.atlas.naming import Names
from vlm_sae_lib.atlas.neighbours import Neighbours, by_decoder, by_firing
from vlm_sae_lib.atlas.steering import Steered
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.scores.hierarchy import neuron_depths
from vlm_sae_lib.statistics.gather import gather_statistics
from vlm_sae_lib.statistics.neurons import NeuronStatistics
from vlm_sae_lib.taxonomy import RANKS

TOP_K = 16
DETECTED = 5
"""Values that are told of each latent; as many neighbours of either kind."""


@dataclass(frozen=True, eq=False)
class Measured:
    """One autoencoder in the atlas.

    Attributes:
        key, title, sentence: how addresses call it, how people do, and what is to know of it.
        ms: by the scoring encoder's name, the main one first; (n_latents,) each, NaN where undefined.
        depth: mean depth of the common ancestor of two top pictures (0 to 7); NaN where there are not two, or no tree.
    """

    key: str
    title: str
    sentence: str
    sae: SparseAutoencoder
    statistics: NeuronStatistics
    known: Known
    ms: Mapping[str, Float[np.ndarray, " n_latents"]]
    detects: Detected
    on_tree: Detected
    depth: Float[np.ndarray, " n_latents"]
    by_decoder: Neighbours
    by_firing: Neighbours
    names: Names | None = None
    steered: Steered | None = None


def measure(
    sae: SparseAutoencoder,
    activations: Any,
    embeddings: Mapping[str, Any],
    pictures: Any = None,
    *,
    key: str,
    title: str,
    sentence: str = "",
    names: Names | None = None,
    steered: Steered | None = None,
) -> Measured:
    """Measure all latents on the pictures that the stores have in common.

    Args:
        activations: store of what the SAE reads.
        embeddings: stores of scoring encoders by name, the main one first; all from the same pictures.
        pictures: their source, which may know something about them; None where there is none.

    Raises:
        UserError: an SAE of another width, stores of different pictures, a source that is not theirs, no encoder.
    """
    if sae.dim != activations.dim:
        raise UserError(
            f"The SAE reads activations of width {sae.dim}, but the store holds width {activations.dim}; "
            "use the SAE of that tower and hook point."
        )
    if pictures is not None and pictures.fingerprint != activations.metadata.get("fingerprint"):
        raise UserError(
            f"The store is of other pictures ({activations.metadata.get('source')}) than {pictures.name}; "
            "give those that it was collected from."
        )
    if not embeddings:
        raise UserError("There is no scoring encoder; give the store of at least one.")
    ms: dict[str, np.ndarray] = {}
    gathered = None
    for name, store in embeddings.items():
        found = gather_statistics(activations, store, sae, top_k=TOP_K, keep=gathered is None)
        gathered = gathered or found
        if len(found.image_ids) != len(gathered.image_ids):
            raise UserError(f"The embeddings of {name} are not of the same pictures as the others; collect them anew.")
        ms[name] = found.statistics.monosemanticity()
    assert gathered is not None and gathered.activations is not None
    known = Known.of(pictures, gathered.image_ids.tolist())
    code = sp.csr_matrix(gathered.activations)
    ranks = tuple(factor for factor in known.factors if factor.nodes is not None)
    return Measured(
        key=key, title=title, sentence=sentence, sae=sae, statistics=gathered.statistics, known=known, ms=ms,
        detects=detected(code, known.factors, DETECTED), on_tree=detected(code, ranks, 1),
        depth=_depths(gathered.statistics, known, pictures), names=names, steered=steered,
        by_decoder=by_decoder(sae.w_dec.detach().cpu().numpy(), DETECTED), by_firing=by_firing(code, DETECTED),
    )  # fmt: skip


def _depths(statistics: NeuronStatistics, known: Known, pictures: Any) -> Float[np.ndarray, " n_latents"]:
    if not known.tree:
        return np.full(statistics.n_neurons, np.nan)
    table = pictures.factors
    paths = dict(zip(table.index.tolist(), zip(*(table[rank] for rank in RANKS), strict=True), strict=True))
    return neuron_depths(statistics.top_images(), [paths.get(i) for i in range(max(paths) + 1)])
