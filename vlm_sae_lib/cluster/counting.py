"""The statistics behind the scores on Ray: partial sums over some pictures each, merged in a tree."""

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from vlm_sae_lib.activations import ActivationStore
from vlm_sae_lib.cluster.connection import LOST, library, places
from vlm_sae_lib.progress import progress
from vlm_sae_lib.statistics.gather import Gathered, gather_statistics

PICTURES = 16_384
"""At most in a part: what a part sends back is as large as its statistics, however few pictures are in it."""
BRANCHES = 4
"""How many parts are merged at once."""


def gather(
    activations: ActivationStore, embeddings: ActivationStore, encoder: Any = None, *, top_k: int = 16,
    keep: bool = False, pictures: int | None = None,
) -> Gathered:  # fmt: skip
    """``gather_statistics`` by the workers of the cluster that is joined: counts and top pictures the same, scores to
    1e-12, whatever the number of workers and the order in which they end.

    Args:
        pictures: how many a part has.

    Raises:
        UserError: as ``gather_statistics``.
    """
    ray = library()
    common = np.intersect1d(activations.image_ids, embeddings.image_ids)
    if len(common) == 0:
        return gather_statistics(activations, embeddings, encoder, top_k=top_k, keep=keep)  # which says why not
    per_part = pictures or pictures_per_part(len(common), places(ray, 0))
    stores = str(activations.path.resolve()), str(embeddings.path.resolve())
    shared = ray.put(encoder)
    count = ray.remote(_counted).options(max_retries=LOST)
    merge = ray.remote(_merged).options(max_retries=LOST)
    edges = range(0, len(common), per_part)
    ends = ((common[at], common[min(at + per_part, len(common)) - 1]) for at in edges)
    parts = [count.remote(*stores, shared, *between, top_k, keep) for between in ends]
    waiting, bar = list(parts), progress(range(len(parts)), "Neuron statistics on Ray", unit="part")
    while waiting:
        done, waiting = ray.wait(waiting, fetch_local=False)
        bar.update(len(done))
    bar.close()
    while len(parts) > BRANCHES:
        parts = [merge.remote(*parts[at : at + BRANCHES]) for at in range(0, len(parts), BRANCHES)]
    whole = _merged(*ray.get(parts))  # here, as what Ray returns may not be written into
    return replace(whole, only_activations=np.setdiff1d(activations.image_ids, common),
                   only_embeddings=np.setdiff1d(embeddings.image_ids, common))  # fmt: skip


def pictures_per_part(pictures: int, workers: int) -> int:
    """How many make a part: as many parts for each worker, at least two, so that at the end none waits long."""
    rounds = max(2, -(-pictures // (workers * PICTURES)))
    return max(1, -(-pictures // (workers * rounds)))


def _counted(
    activations: str, embeddings: str, encoder: Any, first: int, last: int, top_k: int, keep: bool
) -> Gathered:
    latents, units = (_Between(ActivationStore.open(path), first, last) for path in (activations, embeddings))
    gathered = gather_statistics(latents, units, encoder, top_k=top_k, keep=keep)
    gathered.statistics.firing_count()  # reading adds what waited to be added: in Ray's memory nothing can be any more
    return gathered


def _merged(*parts: Gathered) -> Gathered:
    """Several neighbouring parts as one; the first one's statistics are copied, as Ray's objects must not change."""
    first = parts[0]
    statistics = type(first.statistics)(
        first.statistics.n_neurons, first.statistics.embedding_dim, first.statistics.top_k
    )
    for part in parts:
        statistics.merge(part.statistics)
    rows: list[Any] = [part.activations for part in parts]
    units: list[Any] = [part.embeddings for part in parts]
    activations = embeddings = None
    if first.activations is not None:
        activations = sp.vstack(rows, format="csr") if sp.issparse(rows[0]) else np.concatenate(rows)
        embeddings = np.concatenate(units)
    ids = np.concatenate([part.image_ids for part in parts])
    return replace(first, statistics=statistics, activations=activations, embeddings=embeddings, image_ids=ids)


class _Between:
    """The rows of a store whose image ids lie between two, as a store of their own."""

    def __init__(self, store: ActivationStore, first: int, last: int) -> None:
        begin, end = np.searchsorted(store.image_ids, [first, last + 1])
        self._store, self._begin = store, int(begin)
        self.metadata, self.image_ids = store.metadata, store.image_ids[begin:end]

    def __getitem__(self, rows: np.ndarray) -> Any:
        return self._store[rows + self._begin]
