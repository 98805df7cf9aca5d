"""Whether different neurons answer to different pictures."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from vlm_sae_lib.arrays import real_array
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.overrides import Index, held
from vlm_sae_lib.statistics.inputs import top_image_table

BLOCK = 2048  # neurons compared with all others at once


@dataclass(frozen=True)
class UniquenessReport:
    """Jaccard similarities of the top images of all pairs of neurons (paper v3 App. G).

    Attributes:
        neurons: the neurons compared, ascending.
        counts: how many pairs have each similarity above zero.
        most_similar: (neuron, neuron, similarity), most similar first, ties by the smaller neurons.
    """

    neurons: Int[np.ndarray, " kept"]
    counts: dict[float, int]
    most_similar: tuple[tuple[int, int, float], ...]

    @property
    def neurons_kept(self) -> int:
        return len(self.neurons)

    @property
    def pairs(self) -> int:
        return self.neurons_kept * (self.neurons_kept - 1) // 2

    def pairs_above(self, threshold: float) -> int:
        """How many pairs share more than ``threshold`` >= 0."""
        if not threshold >= 0:
            raise UserError(f"The threshold is {threshold}; no two sets share less than 0, so give 0 to 1.")
        return sum(number for value, number in self.counts.items() if value > threshold)

    @property
    def mean(self) -> float:
        """Mean similarity over all pairs; NaN without any pair."""
        return (
            sum(value * number for value, number in sorted(self.counts.items())) / self.pairs if self.pairs else np.nan
        )


def uniqueness(
    top_images: Int[np.ndarray, "n_neurons k"],
    sixteenth_activation: Float[np.ndarray, " n_neurons"] | None = None,
    *,
    most_similar: int = 10,
) -> UniquenessReport:
    """Compare the top images of every two neurons (paper v3 App. G).

    Args:
        top_images: image ids per neuron, -1 where there is none; a neuron with a -1 is left out.
        sixteenth_activation: the activation of each neuron's last top image; where it is 0 the neuron is left out.
        most_similar: how many of the most similar pairs to name.
    """
    top, most_similar = top_image_table(top_images), held("most_similar", most_similar, Index)
    kept = (top >= 0).all(axis=1)
    if sixteenth_activation is not None:
        last = real_array(sixteenth_activation, "The last activations").astype(np.float64)
        if last.shape != (len(top),):
            raise UserError(f"There are {len(top)} neurons, but last activations of shape {last.shape}.")
        kept &= (last != 0) & ~np.isnan(last)
    neurons = np.flatnonzero(kept)
    members = _membership(top[neurons])
    sizes = np.diff(members.indptr)
    counts: Counter[float] = Counter()
    best: list[tuple[float, int, int]] = []
    for start in range(0, len(neurons), BLOCK):
        shared = (members[start : start + BLOCK] @ members.T).tocoo()
        row, column, common = shared.row + start, shared.col, shared.data
        upper = column > row
        row, column, common = row[upper], column[upper], common[upper]
        similarity = common / (sizes[row] + sizes[column] - common)
        counts.update(dict(zip(*map(np.ndarray.tolist, np.unique(similarity, return_counts=True)), strict=True)))
        order = np.lexsort((column, row, -similarity))[:most_similar]
        found = zip(-similarity[order], neurons[row[order]], neurons[column[order]], strict=True)
        best = sorted([*best, *((float(s), int(a), int(b)) for s, a, b in found)])[:most_similar]
    return UniquenessReport(neurons, dict(counts), tuple((a, b, -s) for s, a, b in best))


def _membership(top: Int[np.ndarray, "f k"]) -> sp.csr_matrix:
    """(neurons, images) with a 1 where the image is one of the neuron's."""
    images, columns = np.unique(top, return_inverse=True)
    rows = np.repeat(np.arange(len(top)), top.shape[1])
    members = sp.csr_matrix((np.ones(top.size, dtype=np.int32), (rows, columns.ravel())), shape=(len(top), len(images)))
    members.sum_duplicates()
    members.data[:] = 1
    return members
