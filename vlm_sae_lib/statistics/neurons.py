"""Everything the scores need to know about each neuron, from one pass over the pictures."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.overrides import Count, held
from vlm_sae_lib.statistics import histogram
from vlm_sae_lib.statistics.inputs import activation_matrix, checked_embeddings, image_id_array
from vlm_sae_lib.statistics.tally import Tally
from vlm_sae_lib.statistics.waiting import WaitingBatches


class NeuronStatistics:
    """One pass over images: MS, top images, firing rate, extremes, means and histogram of each neuron.

    Batches come in any order and of any size, dense or sparse, and parts gathered apart can be merged: all integers
    come out the same, scores to 1e-12. One row stands for one image.

    Memory: 12 bytes times n_neurons times embedding_dim, a sixth of it more (or 16 MiB) while sparse batches wait to be
    added, and 16 bytes for 12 once embeddings came in double precision; 268 bytes per neuron for the histogram. Of all
    this only the ids grow with the images.

    Args:
        n_neurons, embedding_dim: columns of the activations and of the embeddings.
        top_k: how many images to keep per neuron.
    """

    def __init__(self, n_neurons: int, embedding_dim: int, top_k: int = 16) -> None:
        n_neurons, embedding_dim = held("n_neurons", n_neurons, Count), held("embedding_dim", embedding_dim, Count)
        top_k = held("top_k", top_k, Count)
        self.n_neurons, self.embedding_dim, self.top_k = n_neurons, embedding_dim, top_k
        self._ids: set[int] = set()
        self._waiting = WaitingBatches(n_neurons, embedding_dim)
        self._added = Tally(n_neurons, embedding_dim, top_k)

    # ---- gathering

    def update(self, activations: Any, embeddings: Any, image_ids: Any) -> None:
        """Add a batch of images.

        Args:
            activations: (n, n_neurons), as in `monosemanticity_score`.
            embeddings: (n, embedding_dim), of any length.
            image_ids: (n,) whole numbers >= 0, each met only once.

        Raises:
            UserError: wrong shapes, NaN, an embedding of length zero, an image met before; nothing is added then.
        """
        matrix = activation_matrix(activations)
        n_images = matrix.shape[0]
        if matrix.shape[1] != self.n_neurons:
            raise UserError(f"The activations have {matrix.shape[1]} columns, not {self.n_neurons} (one per neuron).")
        checked = checked_embeddings(embeddings, n_images)
        if checked.rows.shape[1] != self.embedding_dim:
            raise UserError(f"The embeddings have {checked.rows.shape[1]} columns, not {self.embedding_dim}.")
        ids = image_id_array(image_ids, n_images)
        new = set(ids.tolist())
        self._refuse_known(new)
        if n_images == 0:
            return
        if not sp.issparse(matrix):
            self._tally.add_dense(matrix, checked, ids)
        else:
            if not self._waiting.has_room(matrix, checked):
                self._add_waiting()
            if self._waiting.has_room(matrix, checked):
                self._waiting.add(matrix, checked, ids)
            else:  # too large to be copied
                self._added.add_sparse(matrix, checked, ids)
        self._ids |= new

    @property
    def _tally(self) -> Tally:
        """What all batches gave, those included that were waiting; whoever reads goes through here."""
        self._add_waiting()
        return self._added

    def _add_waiting(self) -> None:
        if len(self._waiting):
            self._added.add_sparse(*self._waiting.take())

    def _refuse_known(self, new: set[int]) -> None:
        if not self._ids.isdisjoint(new):
            known = min(self._ids & new)
            raise UserError(f"Image id {known} was already counted; give each image once, also across merged parts.")

    def merge(self, other: "NeuronStatistics") -> "NeuronStatistics":
        """Add what another part gathered, in place; ``other`` is left as it is.

        Raises:
            UserError: parts of different shape, or an image that both have met; nothing is added then.
        """
        mine = (self.n_neurons, self.embedding_dim, self.top_k)
        theirs = (other.n_neurons, other.embedding_dim, other.top_k)
        if mine != theirs:
            raise UserError(f"Parts of (n_neurons, embedding_dim, top_k) {mine} and {theirs} cannot be merged.")
        self._refuse_known(other._ids)
        if not other._ids:
            return self
        self._tally.merge(other._tally)
        self._ids |= other._ids
        return self

    # ---- reading

    @property
    def n_images(self) -> int:
        return len(self._ids)

    @property
    def minimum(self) -> Float[np.ndarray, " n_neurons"]:
        """Smallest activation, implicit zeros included; NaN before the first image."""
        low = self._tally.sums.low
        return np.where(np.isinf(low), np.nan, low)

    @property
    def maximum(self) -> Float[np.ndarray, " n_neurons"]:
        """Largest activation, implicit zeros included; NaN before the first image."""
        tally = self._tally
        largest = np.where(tally.plain, np.maximum(tally.sums.top, 0), tally.best.activations[:, 0])
        return np.where(self.n_images > 0, largest, np.nan)

    @property
    def mean(self) -> Float[np.ndarray, " n_neurons"]:
        """Mean activation over all images; NaN before the first image."""
        if self.n_images == 0:
            return np.full(self.n_neurons, np.nan)
        sums = self._tally.sums
        apart = np.where(sums.top > -np.inf, sums.top - sums.low, 0.0)
        return sums.low + (sums.total + apart) / self.n_images

    @property
    def histogram_edges(self) -> Float[np.ndarray, " bins+1"]:
        """Bin b of `histogram` counts activations with ``edges[b] <= a < edges[b + 1]``; fixed, so that parts merge.

        The first bin holds all that are not positive, the last one 2^16 and more; those between are half an octave each
        from 2^-16 on, after one for what is positive but smaller.
        """
        return histogram.edges()

    def histogram(self) -> Int[np.ndarray, "n_neurons bins"]:
        """On how many images the activation lies in which bin, implicit zeros included; each row sums to n_images."""
        counts = self._tally.counts.astype(np.int64)
        counts[:, 0] = self.n_images - counts.sum(axis=1)
        return counts

    @property
    def fires_above(self) -> Float[np.ndarray, " n_neurons"]:
        """A neuron fires above zero; a signed one, which has negative activations, above its minimum."""
        return np.minimum(self._tally.sums.low, 0.0)

    def above_minimum(self) -> Int[np.ndarray, " n_neurons"]:
        """How many images lie above the neuron's minimum; with fewer than two its MS is undefined."""
        return self.n_images - self._tally.sums.at_low

    def firing_count(self) -> Int[np.ndarray, " n_neurons"]:
        """On how many images the neuron fires."""
        tally = self._tally
        return np.where(tally.sums.low < 0, self.above_minimum(), tally.counts.sum(axis=1, dtype=np.int64))

    def firing_rate(self) -> Float[np.ndarray, " n_neurons"]:
        """On what share of the images the neuron fires; NaN before the first image."""
        return self.firing_count() / self.n_images if self.n_images else np.full(self.n_neurons, np.nan)

    def top_images(self) -> Int[np.ndarray, "n_neurons top_k"]:
        """Ids of the images with the largest activations, largest first; -1 where the neuron fires on fewer."""
        return self._tally.best.above(self.fires_above)[0]

    def top_activations(self) -> Float[np.ndarray, "n_neurons top_k"]:
        """The activations of `top_images`; 0 where there is none."""
        return self._tally.best.above(self.fires_above)[1]

    def monosemanticity(self) -> Float[np.ndarray, " n_neurons"]:
        """MS of each neuron (paper v3 Eq. 9), as `monosemanticity_score` on all images at once."""
        scores = np.full(self.n_neurons, np.nan)
        candidates = np.flatnonzero(self.above_minimum() >= 2)
        scores[candidates] = self._tally.sums.scores(candidates)
        return scores
