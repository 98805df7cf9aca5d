"""The sums that a neuron's score is made of, kept so that batches and parts can be added to them."""

import numpy as np
from jaxtyping import Bool, Float, Int

from vlm_sae_lib.machine.compiled import in_threads
from vlm_sae_lib.statistics import loops
from vlm_sae_lib.statistics.pairs import SUM_BLOCK, ratio


class PairSums:
    """Sums over pictures of each neuron's activations and of its weighted unit embeddings, all float64.

    They run about the neuron's minimum so far. A large offset then loses nothing, and no two terms have different
    signs; where a new minimum comes, the sums are moved to it. The picture with the largest activation is kept out of
    them, so that it drowns nothing (`pairs`).

    Attributes:
        n_images: how many pictures were added.
        low, at_low: (n_neurons,) minimum so far, and how many pictures lie on it.
        top: (n_neurons,) activation of the picture kept apart, -inf where there is none.
        top_row, top_inverse: (n_neurons, dim) and (n_neurons,) its embedding, as it came (in single precision as long
            as all came so), and the inverse of its length.
        total, square, weighted: (n_neurons,), (n_neurons,) and (n_neurons, dim) sums over all the others of
            (a - low), of its square, and of its product with the unit embedding.
        units: (dim,) sum of the unit embeddings of all pictures.
    """

    def __init__(self, n_neurons: int, dim: int) -> None:
        self.n_images = 0
        self.low = np.full(n_neurons, np.inf)
        self.at_low = np.zeros(n_neurons, dtype=np.int64)
        self.top = np.full(n_neurons, -np.inf)
        self.top_row: np.ndarray = np.zeros((n_neurons, dim), dtype=np.float32)
        self.top_inverse = np.zeros(n_neurons)
        self.total = np.zeros(n_neurons)
        self.square = np.zeros(n_neurons)
        self.weighted = np.zeros((n_neurons, dim))
        self.units = np.zeros(dim)

    def take_type(self, rows: Float[np.ndarray, "n dim"]) -> None:
        """Make room for embeddings in double precision where such come."""
        if rows.dtype != self.top_row.dtype and rows.dtype == np.float64:
            self.top_row = self.top_row.astype(np.float64) if self.n_images else np.zeros(self.top_row.shape)

    def count(self, embeddings: loops.Embeddings) -> None:
        """Count the pictures of a batch; comes after the sums of all its neurons."""
        self.units += loops.unit_sum(embeddings)
        self.n_images += len(embeddings.rows)

    def add_sparse(
        self,
        edges: Int[np.ndarray, " p+1"],
        pairs: loops.Pairs,
        plain: Bool[np.ndarray, " n_neurons"],
        embeddings: loops.Embeddings,
    ) -> None:
        """Add a batch for the ``plain`` neurons, none of whose activations is negative. Overwrites their values."""
        sums = loops.Sums(
            self.low, self.at_low, self.top, self.top_row, self.top_inverse, self.total, self.square, self.weighted
        )
        in_threads(loops.add_plain, len(edges) - 1, edges, pairs, plain, embeddings, sums, at_least=1)

    def add_dense(
        self,
        neurons: Int[np.ndarray, " f"],
        activations: Float[np.ndarray, "f n"],
        embeddings: loops.Embeddings,
        unit: Float[np.ndarray, "n dim"],
    ) -> None:
        """Add a batch for some neurons; ``unit`` are the embeddings at length one. Overwrites ``activations``."""
        low = activations.min(axis=1)
        self.lower(neurons, low, np.count_nonzero(activations == low[:, None], axis=1))
        heaviest = activations.argmax(axis=1)
        top = activations[np.arange(len(activations)), heaviest]
        replaces = np.flatnonzero(top > self.top[neurons])
        activations -= self.low[neurons][:, None]
        at = heaviest[replaces]
        activations[replaces, at] = 0
        self._replace_top(neurons[replaces], top[replaces], embeddings.rows[at], embeddings.inverse[at])
        self.total[neurons] += activations.sum(axis=1)
        self.square[neurons] += np.einsum("fn,fn->f", activations, activations)
        self.weighted[neurons] += activations @ unit

    def lower(self, neurons: np.ndarray, low: np.ndarray, at_low: np.ndarray) -> None:
        """Take in the minimum of a batch or part and how many of its pictures lie on it; comes before its sums."""
        known = self.low[neurons]
        moved = np.flatnonzero((low < known) & np.isfinite(known))
        if len(moved):
            rows = neurons[moved]
            self.total[rows], self.square[rows], self.weighted[rows] = self._about(rows, low[moved])
        kept = np.where(low < known, 0, self.at_low[neurons])
        self.at_low[neurons] = kept + np.where(low <= known, at_low, 0)
        self.low[neurons] = np.minimum(low, known)

    def merge(self, other: "PairSums") -> None:
        """Add another part."""
        self.take_type(other.top_row)
        n_neurons, dim = self.weighted.shape
        self.lower(np.arange(n_neurons), other.low, other.at_low)
        step = max(1, SUM_BLOCK // dim)
        for start in range(0, n_neurons, step):
            neurons = np.arange(start, min(start + step, n_neurons))
            total, square, weighted = other._about(neurons, self.low[neurons])
            self.total[neurons] += total
            self.square[neurons] += square
            self.weighted[neurons] += weighted
            # of the two pictures kept apart the larger stays so, the other joins the sums
            wins = other.top[neurons] > self.top[neurons]
            won = neurons[wins]
            self._replace_top(won, other.top[won], other.top_row[won], other.top_inverse[won])
            loses = neurons[~wins & (other.top[neurons] > -np.inf)]
            self._join(loses, other.top[loses] - self.low[loses], other._top_unit(loses))
        self.units += other.units
        self.n_images += other.n_images

    def scores(self, neurons: Int[np.ndarray, " f"]) -> Float[np.ndarray, " f"]:
        """MS of neurons that have at least two pictures above their minimum."""
        dot, norm = np.empty(len(neurons)), np.empty(len(neurons))
        in_threads(loops.norms, len(neurons), neurons, self.weighted, self.top_row, dot, norm)
        top = self.top[neurons] - self.low[neurons]
        return ratio(top, dot * self.top_inverse[neurons], norm, self.total[neurons], self.square[neurons])

    def _top_unit(self, neurons: np.ndarray) -> np.ndarray:
        return self.top_row[neurons] * self.top_inverse[neurons][:, None]

    def _replace_top(self, neurons: np.ndarray, top: np.ndarray, row: np.ndarray, inverse: np.ndarray) -> None:
        """Keep another picture apart, and let the one kept so far join the sums."""
        had = neurons[self.top[neurons] > -np.inf]
        self._join(had, self.top[had] - self.low[had], self._top_unit(had))
        self.top[neurons], self.top_row[neurons], self.top_inverse[neurons] = top, row, inverse

    def _join(self, neurons: np.ndarray, weight: np.ndarray, unit: np.ndarray) -> None:
        self.total[neurons] += weight
        self.square[neurons] += weight**2
        self.weighted[neurons] += weight[:, None] * unit

    def _about(self, neurons: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The three sums of some neurons about a minimum that is no higher than theirs."""
        total, square, weighted = self.total[neurons], self.square[neurons], self.weighted[neurons]
        shift = self.low[neurons] - low
        moved = np.flatnonzero(shift)
        if len(moved):
            shift, rows = shift[moved], neurons[moved]
            count = self.n_images - (self.top[rows] > -np.inf)
            square[moved] += 2 * shift * total[moved] + count * shift**2
            total[moved] += count * shift
            weighted[moved] += shift[:, None] * (self.units - self._top_unit(rows))
        return total, square, weighted
