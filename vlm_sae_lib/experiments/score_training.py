"""SAEs that were trained for the score beside plain ones: what is measured of each, and gains at equal K and R²."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vlm_sae_lib.controls.codes import shuffled_code
from vlm_sae_lib.controls.frontier import Point, above_frontier
from vlm_sae_lib.experiments.measure import AT_LEAST
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.scores.comparison import score
from vlm_sae_lib.scores.reconstruction import reconstruction
from vlm_sae_lib.scores.truth import purity
from vlm_sae_lib.workbench import Workbench

OWN = "own inputs"
"""MonoLoss scores by the SAE's own input vectors, not by an encoder that the SAE has never seen."""
ZEROS = "own inputs with zeros"
"""The same, averaged as MonoLoss does: a latent that has no score counts as zero."""
SHUFFLED = ", shuffled"
PURITIES = {
    "species purity": ("species", False), "weighted species purity": ("species", True), "class purity": ("class", False)
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Measured:
    """One SAE on some pictures.

    Attributes:
        facts: R², L0, how many latents never fire, how often the middle one of the others does.
        scores: means by name.
        neurons: by the same names, over how many neurons.
    """

    facts: Mapping[str, float]
    scores: Mapping[str, float]
    neurons: Mapping[str, int]

    def point(self, what: str) -> Point:
        return Point(self.facts["R²"], self.scores[what])


@dataclass(frozen=True, eq=False)
class Compared:
    """The SAEs of one kind at one place, one for each seed: plain ones by K, and those trained for the score.

    Attributes:
        k: at which the trained ones are, and so their equals among the plain.
        plain: over all K they draw the frontier.
    """

    k: int
    plain: Mapping[int, Sequence[Measured]]
    trained: Sequence[Measured]

    def gain_at_equal_k(self, what: str) -> np.ndarray:
        """Of each seed (n_seeds,), over the plain SAE of the same K."""
        pairs = zip(self.trained, self.plain[self.k], strict=True)
        return np.array([with_loss.scores[what] - without.scores[what] for with_loss, without in pairs])

    def gain_at_equal_r2(self, what: str) -> np.ndarray:
        """Of each seed (n_seeds,), over the line of its plain SAEs; NaN where they do not reach its R²."""
        lines = zip(*([run.point(what) for run in runs] for runs in self.plain.values()), strict=True)
        return np.array([above_frontier(run.point(what), line) for run, line in zip(self.trained, lines, strict=True)])

    def r2_lost(self) -> np.ndarray:
        """Of each seed (n_seeds,), at equal K."""
        pairs = zip(self.trained, self.plain[self.k], strict=True)
        return np.array([without.facts["R²"] - with_loss.facts["R²"] for with_loss, without in pairs])


def measure(bench: Workbench, sae: SparseAutoencoder, place: str, split: str = "test") -> Measured:
    """All scores of one SAE on a split's pictures."""
    store = bench.activations(split, place)
    latents, fit = sae.encode_sparse(store), reconstruction(sae, store)
    seen_by = {encoder: bench.embeddings(split, encoder).array() for encoder in bench.scoring_names}
    means: dict[str, tuple[float, int]] = {}
    for encoder, embeddings in (seen_by | {OWN: store.array()}).items():
        ms = score(latents, embeddings, resamples=1)  # other trainings tell how sure a mean is
        for at_least, population in ((2, ""), (AT_LEAST, ENOUGH)):
            means[f"{encoder}{population}"] = ms.moved(at_least)[0], int(ms.kept(at_least).sum())
        if encoder == OWN:
            means[ZEROS] = with_zeros(ms.ms), len(ms.ms)
    factors = bench.pictures(split).factors.loc[store.image_ids]
    fires = np.asarray((latents > 0).sum(axis=0)).ravel()
    often = fires >= AT_LEAST
    for name, (column, weighted) in PURITIES.items():
        for code, word in ((latents, ""), (shuffled_code(latents), SHUFFLED)):
            pure = purity(code, factors, column, weighted=weighted)[often]
            means[f"{name}{word}"] = float(pure.mean()) if len(pure) else float("nan"), len(pure)
    rate = float(np.median(fires[fires > 0])) / len(store) if fires.any() else float("nan")
    return Measured(
        facts={"R²": fit.r2, "L0": fit.l0, "dead latents": int((fires == 0).sum()), "firing rate": rate},
        scores={name: mean for name, (mean, _) in means.items()},
        neurons={name: number for name, (_, number) in means.items()},
    )


def with_zeros(ms: np.ndarray) -> float:
    """Mean score where a latent without one counts as zero."""
    return float(np.nan_to_num(ms).mean()) if len(ms) else 0.0
