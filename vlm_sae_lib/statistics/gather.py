"""From two stores to the statistics of an SAE's latents, or of raw neurons."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from vlm_sae_lib.arrays import finite_rows
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.progress import progress
from vlm_sae_lib.statistics.neurons import NeuronStatistics

ROWS_PER_BATCH = 4096


@dataclass(frozen=True, eq=False)
class Gathered:
    """What one pass over two stores gives.

    Attributes:
        statistics: of the neurons, one row per image.
        activations: (n_images, n_neurons), averaged per image, rows as in ``image_ids``; None unless asked for.
        embeddings: (n_images, dim), rows as in ``image_ids``; None unless activations were asked for.
        image_ids: the images that both stores hold, ascending.
        only_activations, only_embeddings: ids that one of the stores lacks; they are left out.
    """

    statistics: NeuronStatistics
    activations: np.ndarray | sp.csr_matrix | None
    embeddings: Float[np.ndarray, "n dim"] | None
    image_ids: Int[np.ndarray, " n"]
    only_activations: Int[np.ndarray, " a"]
    only_embeddings: Int[np.ndarray, " e"]


def gather_statistics(
    activations: Any, embeddings: Any, encoder: Any = None, *, top_k: int = 16, keep: bool = False
) -> Gathered:
    """Encode a store's activations, average them per image, and count what each neuron does.

    Tokens are averaged *after* encoding (paper v3 App.; the authors' steering scripts), so that a latent's value on an
    image is its mean over the image's tokens.

    Args:
        activations: store of the explained model.
        embeddings: store of the scoring encoder, from the same pictures; several rows of an image are averaged.
        encoder: a `SparseAutoencoder`, `RectifiedNeurons` or anything with ``encode_sparse``; None for raw neurons.
        keep: also return the averaged activations and the embeddings.

    Raises:
        UserError: stores of different pictures, or without a common image.
    """
    _check_same_pictures(activations, embeddings)
    rows_of, rows_in = _rows_by_image(activations.image_ids), _rows_by_image(embeddings.image_ids)
    common = np.intersect1d(rows_of.ids, rows_in.ids)
    if len(common) == 0:
        raise UserError("The two stores have no image in common; collect both from the same pictures.")
    statistics: NeuronStatistics | None = None
    kept: list[Any] = []
    kept_embeddings: list[np.ndarray] = []
    per_batch = max(1, ROWS_PER_BATCH // int(max(rows_of.counts.max(), rows_in.counts.max())))
    starts = progress(range(0, len(common), per_batch), "Neuron statistics", unit="batch")
    for ids in (common[start : start + per_batch] for start in starts):
        latents = _mean_per_image(activations, rows_of, ids, encoder)
        unit = _mean_per_image(embeddings, rows_in, ids, None)
        if statistics is None:
            statistics = NeuronStatistics(latents.shape[1], unit.shape[1], top_k)
        statistics.update(latents, unit, ids)
        if keep:
            kept.append(latents)
            kept_embeddings.append(unit)
    assert statistics is not None  # there is at least one batch
    return Gathered(
        statistics=statistics,
        activations=(sp.vstack(kept, format="csr") if sp.issparse(kept[0]) else np.concatenate(kept)) if keep else None,
        embeddings=np.concatenate(kept_embeddings) if keep else None,
        image_ids=common,
        only_activations=np.setdiff1d(rows_of.ids, common),
        only_embeddings=np.setdiff1d(rows_in.ids, common),
    )


@dataclass(frozen=True)
class _Rows:
    """Where each image's rows are: ``order[first : first + count]``."""

    ids: np.ndarray
    first: np.ndarray
    counts: np.ndarray
    order: np.ndarray

    def of(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        for place in np.searchsorted(self.ids, ids):
            yield self.order[self.first[place] : self.first[place] + self.counts[place]]


def _rows_by_image(image_ids: Any) -> _Rows:
    image_ids = np.asarray(image_ids)
    order = np.argsort(image_ids, kind="stable")
    ids, first, counts = np.unique(image_ids[order], return_index=True, return_counts=True)
    return _Rows(ids, first, counts, order)


def _mean_per_image(store: Any, rows: _Rows, ids: np.ndarray, encoder: Any) -> np.ndarray | sp.csr_matrix:
    groups = list(rows.of(ids))
    raw = store[np.concatenate(groups)]
    values = finite_rows(raw) if encoder is None else encoder.encode_sparse(raw)
    counts = np.array([len(group) for group in groups])
    if (counts == 1).all():
        return values
    mean = sp.csr_matrix(
        (np.repeat(1 / counts, counts), np.arange(counts.sum()), np.concatenate([[0], np.cumsum(counts)]))
    )
    return mean @ values.astype(np.float64)


def _check_same_pictures(activations: Any, embeddings: Any) -> None:
    ours, theirs = (store.metadata.get("fingerprint") for store in (activations, embeddings))
    if ours != theirs:
        names = [str(store.metadata.get("source", "unnamed pictures")) for store in (activations, embeddings)]
        raise UserError(
            f"The activations come from other pictures ({names[0]}) than the embeddings ({names[1]}, fingerprint "
            f"{str(theirs)[:8]} instead of {str(ours)[:8]}); collect both from the same pictures."
        )
