"""Every measure of one dictionary, a small function for each; chosen on the choosing pictures, taken on the final ones.

A dictionary is an SAE, or anything with ``encode_sparse`` and ``n_latents``; what needs a decoder is left out for one
that has none, and the card says so.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Bool, Float

from vlm_sae_lib.controls.directions import Directions
from vlm_sae_lib.controls.disentangling import CAUSE, ISOLATION
from vlm_sae_lib.experiments.editing import Reader, latent_pushes, speaking
from vlm_sae_lib.experiments.factors import FACTORS
from vlm_sae_lib.experiments.measure import AT_LEAST
from vlm_sae_lib.experiments.probing import few_latents
from vlm_sae_lib.scorecard.card import Value
from vlm_sae_lib.scorecard.draws import Draws
from vlm_sae_lib.scorecard.measures import PROBED, ms_name
from vlm_sae_lib.scorecard.place import Material
from vlm_sae_lib.scorecard.scattered import absorbed, split
from vlm_sae_lib.scores.comparison import score
from vlm_sae_lib.scores.detectors import firing, truth_table
from vlm_sae_lib.scores.matching import correlations, matched, stability
from vlm_sae_lib.statistics.intervals import Estimate, bootstrap_mean, percentiles

RESAMPLES = 200
EDITED = 5
"""Latents that are chosen for each value, of which those that speak for it are switched off."""
NO_DECODER = "It has no decoder."
NO_SECOND = "Not measured: give --second, another training of the same."
NO_DRAWS = "No interval: of pictures that are drawn again and again, latents can only fire less."
NOT_THERE = {"absorbed": "No coarse value has a latent that stands for it.",
             "split": "No value has a latent of its own."}  # fmt: skip
ONE_ROW = "Not measured: edits are of one activation for each picture, and this SAE reads several tokens."


@dataclass(frozen=True, eq=False)
class Measuring:
    """What is measured on, the draws of the pictures, and the probes that read the edits; made once for all."""

    on: Material
    draws: Draws

    @classmethod
    def start(cls, on: Material, resamples: int = RESAMPLES) -> "Measuring":
        return cls(on, Draws.of(on.n, resamples))

    @cached_property
    def reader(self) -> Reader:
        return Reader(self.on.splits, self.on.names)

    @property
    def resamples(self) -> int:
        return len(self.draws.counts) - 1

    def all(self, coder: Any, second: Any = None) -> dict[str, Value]:
        """Every measure but steering, by name; ``second`` is another training, for stability."""
        code = self.on.code(coder)
        choosing, final = code(self.on.splits.choosing), code(self.on.splits.test)
        found = dict(self._reconstruction(coder, final.shape[1]))
        found |= self._monosemanticity(final)
        found |= self._recovery(choosing, final)
        found |= self._scattering(firing(choosing), firing(final))
        found |= self._probes(code)
        found |= self._edits(coder)
        return found | {"stability": stable(coder, second)}

    def _reconstruction(self, coder: Any, n_latents: int) -> Iterator[tuple[str, Value]]:
        rows, per_picture = self.on.splits.test, self.on.per_picture
        latents = sp.csr_matrix(coder.encode_sparse(rows.astype(np.float32)))
        if hasattr(coder, "decode"):
            rebuilt = decoded(coder, latents)
            yield "r2", Value.of(self.draws.r2(rows, rebuilt, per_picture), self.on.n)
        else:
            yield "r2", Value(why=NO_DECODER)
        active = np.diff(latents.indptr).reshape(self.on.n, per_picture).mean(axis=1)
        yield "l0", Value.of(self.draws.mean(active), self.on.n)
        dead = n_latents - len(np.unique(latents.indices[latents.data != 0]))
        yield "dead", Value.of(Estimate(dead / n_latents, percentiles(np.empty(0))), n_latents, NO_DRAWS)

    def _monosemanticity(self, code: sp.csr_matrix) -> Mapping[str, Value]:
        found = {}
        for encoder, embeddings in self.on.embeddings.items():
            scored = score(code, embeddings, resamples=self.resamples)
            for enough, at_least in ((False, 2), (True, AT_LEAST)):
                kept = int(scored.kept(at_least).sum())
                found[ms_name(encoder, enough)] = Value.of(scored.mean(at_least), kept)
        return found

    def _recovery(self, choosing: sp.csr_matrix, final: sp.csr_matrix) -> Mapping[str, Value]:
        truth, told = self.on.known["test"], self.on.known["choosing"]
        latents, values = matched(correlations(choosing, told))
        theirs = np.asarray(final[:, latents].toarray(), dtype=np.float64)
        parts = self.draws.recovered(theirs, truth[:, values], truth.shape[1])
        counted = {"recovery_correlation": len(values), "recovery_found": truth.shape[1], "recovery_f1": len(values)}
        return {name: Value.of(part, n) for (name, n), part in zip(counted.items(), parts, strict=True)}

    def _scattering(
        self, fires: Bool[np.ndarray, "m n_latents"], final: Bool[np.ndarray, "n n_latents"]
    ) -> Mapping[str, Value]:
        parts = {"absorbed": absorbed(fires, final, self.on), "split": split(fires, final, self.on)}
        return {
            name: Value.of(self.draws.shares(*one), n := int(one.defined.sum()), "" if n else NOT_THERE[name])
            for name, one in parts.items()
        }

    def _probes(self, code: Any) -> Mapping[str, Value]:
        scored = few_latents(code, self.on.splits, self.on.names, self.resamples)
        found = {}
        for k, (detected, _) in zip(PROBED, scored, strict=True):
            value, draws = detected.mean("f1", FACTORS)
            found[f"probe_{k}"] = Value.of(Estimate(value, percentiles(draws)), len(self.on.names))
        return found

    def _edits(self, coder: Any) -> Mapping[str, Value]:
        if not hasattr(coder, "w_dec") or self.on.per_picture > 1:
            why = ONE_ROW if self.on.per_picture > 1 else NO_DECODER
            return {what: Value(why=why) for what in (CAUSE, ISOLATION)}
        splits = self.on.splits
        chosen = speaking(coder, splits, truth_table(splits.choosing_factors, self.on.names), EDITED)
        edit, _ = latent_pushes(coder, splits.test, chosen, 0)
        scored, _ = self.reader.after(edit, resamples=self.resamples)
        found = {}
        for what in (CAUSE, ISOLATION):
            value, draws = scored.mean(what, FACTORS)
            found[what] = Value.of(Estimate(value, percentiles(draws)), int((~np.isnan(scored.scores[what])).sum()))
        return found


def stable(coder: Any, second: Any) -> Value:
    """How alike the directions of two trainings are; interval over the latents."""
    if second is None:
        return Value(why=NO_SECOND)
    ours, theirs = (directions_of(one) for one in (coder, second))
    if ours is None or theirs is None:
        return Value(why="There is no chance in it: a second training would be the same.")
    cosines, _ = stability(ours, theirs)
    return Value.of(bootstrap_mean(cosines), int((~np.isnan(cosines)).sum()))


def directions_of(coder: Any) -> Float[np.ndarray, "n_latents d"] | None:
    """What a dictionary's latents stand for in the tower's space; None where no training or draw has a part in it."""
    if hasattr(coder, "w_dec"):
        return coder.w_dec.cpu().numpy()
    return coder.directions if isinstance(coder, Directions) else None


@torch.inference_mode()
def decoded(coder: Any, latents: sp.csr_matrix, rows: int = 1024) -> Float[np.ndarray, "rows d"]:
    """What an SAE makes of latents, float64; a dense matrix of them is held for some rows only."""
    parts = [
        coder.decode(torch.as_tensor(latents[start : start + rows].toarray())).cpu().numpy()
        for start in range(0, latents.shape[0], rows)
    ]
    return np.concatenate(parts).astype(np.float64)
