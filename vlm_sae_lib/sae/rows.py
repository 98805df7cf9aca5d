"""Rows of activations, wherever they lie: an array in memory or a store on disk."""

import hashlib
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vlm_sae_lib.arrays import checked_tensor, real_tensor
from vlm_sae_lib.errors import UserError

MEMORY_LIMIT = 4 * 2**30
"""Bytes up to which a store is read into memory once; a larger one is read a batch at a time."""


class Rows:
    """``(n, d)`` activations that can be taken by index, as finite float32.

    ``source`` is an activation store (anything with ``dim``, ``len`` and ``source[rows]``), an array or a tensor.
    Raises ``UserError`` for another shape, no rows, or a row that is not finite.
    """

    def __init__(self, source: Any, memory_limit: int = MEMORY_LIMIT) -> None:
        self.source = source
        self.is_store = not isinstance(source, Tensor | np.ndarray) and hasattr(source, "dim")
        self._rows: Tensor | None = None
        if self.is_store:
            self.n, self.dim = len(source), int(source.dim)
            if 4 * self.n * self.dim <= memory_limit:
                self._rows = self._finite(_float32(source[np.arange(self.n)]))
        else:
            rows = _float32(source)
            if rows.ndim != 2:
                raise UserError(f"the activations have shape {tuple(rows.shape)}: give (n, d), one row per sample.")
            self.n, self.dim = rows.shape
            self._rows = self._finite(rows)
        if self.n < 1 or self.dim < 1:
            raise UserError("there are no activations to read: the source has no rows, so collect some first.")

    def take(self, indices: np.ndarray) -> Float[Tensor, "batch d"]:
        """The rows at ``indices``, in that order."""
        if self._rows is not None:
            return self._rows.index_select(0, torch.from_numpy(indices))
        # A store reads fastest in the order it was written.
        order = np.argsort(indices, kind="stable")
        batch = torch.empty(len(indices), self.dim, dtype=torch.float32, device="cpu")
        batch[torch.from_numpy(order)] = _float32(self.source[indices[order]])
        return self._finite(batch, indices)

    def identity(self) -> dict[str, Any]:
        """What these rows are: a store's id and what it was collected from, or the content hash of an array."""
        facts: dict[str, Any] = {"rows": self.n, "dim": self.dim}
        if self.is_store:
            metadata = dict(getattr(self.source, "metadata", {}))
            kept = ("tower", "weights_hash", "hook_point", "tokens", "preprocessing", "source", "fingerprint")
            facts["store"] = str(getattr(self.source, "id", ""))
            return facts | {name: metadata[name] for name in kept if name in metadata}
        assert self._rows is not None  # only a store's are left where they are
        facts["array_sha256"] = hashlib.sha256(np.ascontiguousarray(self._rows.numpy()).data).hexdigest()
        return facts

    def _finite(self, rows: Tensor, indices: np.ndarray | None = None) -> Tensor:
        if not torch.isfinite(rows).all():
            bad = int((~torch.isfinite(rows).all(dim=1)).nonzero()[0])
            row = bad if indices is None else int(indices[bad])
            raise UserError(f"row {row} of the activations holds NaN or infinity: drop it or collect the store again.")
        return rows


def _float32(rows: Any) -> Tensor:
    if isinstance(rows, Tensor):
        return checked_tensor(rows, "The activations").detach().to("cpu", torch.float32).resolve_neg()
    return real_tensor(rows, "The activations")


class Batches:
    """An endless, seeded stream of row indices: each epoch a fresh permutation, batches cut without regard to its end.

    Batch ``step`` is a pure function of ``(seed, n, batch_size, step)``: a resumed run needs no generator state.
    """

    def __init__(self, n: int, batch_size: int, seed: int) -> None:
        self.n, self.seed = n, seed
        self.size = min(batch_size, n)
        self._epochs: dict[int, np.ndarray] = {}

    def __getitem__(self, step: int) -> np.ndarray:
        """Row indices ``(size,)`` of a step."""
        first, parts = step * self.size, list[np.ndarray]()
        while sum(map(len, parts)) < self.size:
            epoch, offset = divmod(first + sum(map(len, parts)), self.n)
            parts.append(self._epoch(epoch)[offset : offset + self.size - sum(map(len, parts))])
        return np.concatenate(parts)

    def _epoch(self, epoch: int) -> np.ndarray:
        if epoch not in self._epochs:
            self._epochs = {e: order for e, order in self._epochs.items() if e >= epoch - 1}
            self._epochs[epoch] = np.random.default_rng((self.seed, epoch)).permutation(self.n)
        return self._epochs[epoch]
