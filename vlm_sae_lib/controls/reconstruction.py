"""What an SAE's R² is held against: its interval over pictures, PCA of the same L0, an SAE that never learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from vlm_sae_lib.arrays import finite_rows
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.machine.devices import undisturbed
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.sae.training.initialise import geometric_median
from vlm_sae_lib.scores.reconstruction import Reconstruction, reconstruction
from vlm_sae_lib.statistics.intervals import Estimate, percentiles

RESAMPLES = 500


@dataclass(frozen=True, eq=False)
class Bootstrapped:
    """An R² with its bootstrap replicates; two from the same pictures and seed were drawn alike, so they are paired."""

    value: float
    replicates: Float[np.ndarray, " n_resamples"]

    @property
    def estimate(self) -> Estimate:
        return Estimate(self.value, percentiles(self.replicates))

    def minus(self, other: "Bootstrapped") -> Estimate:
        """The difference of two R² with its paired interval."""
        return Estimate(self.value - other.value, percentiles(self.replicates - other.replicates))


def drawn(n: int, *, seed: int = 0, n_resamples: int = RESAMPLES) -> Float[np.ndarray, "resamples rows"]:
    """How often each of ``n`` rows is drawn when as many are drawn with replacement, for each replicate."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(np.float64)


def r2_bootstrap(
    x: Any, x_hat: Any, *, seed: int = 0, n_resamples: int = RESAMPLES, counts: np.ndarray | None = None
) -> Bootstrapped:
    """R² over all rows (as `reconstruction.r2`), with replicates over rows drawn with replacement.

    The mean is taken anew in each draw, as another sample would have its own. ``counts`` are draws that several
    autoencoders share (``drawn``).
    """
    x, x_hat = finite_rows(x, at_least=1), finite_rows(x_hat, "The reconstructions")
    if x.shape != x_hat.shape:
        raise UserError(f"Activations of shape {x.shape} cannot be compared with reconstructions of {x_hat.shape}.")
    centred = x - x.mean(axis=0)
    error, square = ((x - x_hat) ** 2).sum(axis=1), (centred**2).sum(axis=1)
    counts = drawn(len(x), seed=seed, n_resamples=n_resamples) if counts is None else counts
    return Bootstrapped(
        float(_r2(np.ones((1, len(x))), error, square, centred)[0]), _r2(counts, error, square, centred)
    )


def _r2(counts: np.ndarray, error: np.ndarray, square: np.ndarray, centred: np.ndarray) -> np.ndarray:
    moved = ((counts @ centred) ** 2).sum(axis=1) / counts.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - (counts @ error) / (counts @ square - moved)


@torch.inference_mode()
def sae_r2(sae: SparseAutoencoder, x: Any, **options: Any) -> Bootstrapped:
    """An SAE's R² on activations, with replicates; ``options`` as of ``r2_bootstrap``."""
    rows = torch.as_tensor(finite_rows(x).astype(np.float32), device="cpu")
    return r2_bootstrap(rows, sae.decode(sae.encode(rows)), **options)


@dataclass(frozen=True, eq=False)
class Evaluated:
    """An SAE on activations that it has not seen: what it rebuilds, and how sure that is."""

    r2: Bootstrapped
    report: Reconstruction
    n_latents: int
    firing_rates: Float[np.ndarray, " n_latents"]


def evaluate(saes: Mapping[Any, SparseAutoencoder], activations: Any, *, seed: int = 0) -> dict[Any, Evaluated]:
    """Evaluate several SAEs on the same rows; the bootstrap draws the same rows for all, so differences are paired."""
    found: dict[Any, Evaluated] = {}
    counts = None
    for key, sae in saes.items():
        rates = np.asarray((sae.encode_sparse(activations) > 0).mean(axis=0)).ravel()
        report = reconstruction(sae, activations)
        counts = drawn(report.rows, seed=seed) if counts is None else counts
        found[key] = Evaluated(sae_r2(sae, activations, counts=counts), report, sae.n_latents, rates)
    return found


@dataclass(frozen=True, eq=False)
class Pca:
    """Principal components of training activations, as a dictionary of d orthogonal directions."""

    mean: Float[np.ndarray, " d"]
    components: Float[np.ndarray, "d d"]
    """unit rows, the largest variance first"""
    training_scores: Float[np.ndarray, "n d"]

    @classmethod
    def fit(cls, x: Any) -> "Pca":
        rows = finite_rows(x)
        mean = rows.mean(axis=0)
        _, vectors = np.linalg.eigh((rows - mean).T @ (rows - mean))
        components = vectors[:, ::-1].T
        return cls(mean, components, (rows - mean) @ components.T)

    def first(self, x: Any, count: int) -> Float[np.ndarray, "n d"]:
        """Rebuild from the first ``count`` components, the same ones for every picture."""
        scores = (finite_rows(x) - self.mean) @ self.components.T
        scores[:, count:] = 0
        return self.mean + scores @ self.components

    def strongest(self, x: Any, l0: float) -> tuple[Float[np.ndarray, "n d"], float]:
        """Rebuild each picture from its own strongest components; also the L0 that this took.

        A score stays where its size exceeds one cut for all, set so that ``l0`` stay per training picture: the rule of
        an SAE at inference. A component may be negative, so this dictionary is worth one of 2d latents.
        """
        cut = cut_at_l0(np.abs(self.training_scores), l0)
        scores = (finite_rows(x) - self.mean) @ self.components.T
        scores[np.abs(scores) <= cut] = 0
        return self.mean + scores @ self.components, float((scores != 0).sum() / len(scores))


def pca_rivals(
    train: Any, test: Any, l0s: Sequence[float], *, seed: int = 0
) -> dict[str, list[tuple[float, Bootstrapped]]]:
    """Both forms of PCA at several L0: for each its L0 on ``test`` and its R² there."""
    pca = Pca.fit(train)
    strongest = [pca.strongest(test, l0) for l0 in l0s]
    return {
        "PCA, the first K": [(round(l0), r2_bootstrap(test, pca.first(test, round(l0)), seed=seed)) for l0 in l0s],
        "PCA, the picture's strongest": [(l0, r2_bootstrap(test, rebuilt, seed=seed)) for rebuilt, l0 in strongest],
    }


def cut_at_l0(values: Float[np.ndarray, "n m"], l0: float) -> float:
    """The value that ``l0`` entries per row exceed, on average over the rows."""
    keep = round(l0 * len(values)) if np.isfinite(l0) else 0
    if not 0 < keep < values.size:
        raise UserError(f"An L0 of {l0} cannot be cut from {values.shape[1]} values per row.")
    flat = np.asarray(values).ravel()
    return float(np.partition(flat, flat.size - keep - 1)[flat.size - keep - 1])


@undisturbed()
@torch.autocast("cpu", enabled=False)
@torch.inference_mode()
def untrained_sae(x: Any, n_latents: int, l0: float, *, seed: int = 0) -> SparseAutoencoder:
    """An SAE as training finds it, made as good as it can be without learning a direction.

    Random unit decoder rows, the encoder their transpose, b_dec the geometric median; the threshold is set so that
    ``l0`` latents fire per picture, and one factor on the decoder makes the squared error on ``x`` least.
    """
    rows = torch.as_tensor(finite_rows(x).astype(np.float32), device="cpu")
    generator = torch.Generator().manual_seed(seed)
    decoder = torch.randn(n_latents, rows.shape[1], generator=generator)
    decoder = decoder / decoder.norm(dim=1, keepdim=True)
    centre = geometric_median(rows)
    positive = torch.relu((rows - centre) @ decoder.T)
    threshold = cut_at_l0(positive.numpy(), l0)
    rebuilt = (positive * (positive > threshold)) @ decoder
    factor = float(((rows - centre) * rebuilt).sum() / rebuilt.pow(2).sum())
    return SparseAutoencoder(
        kind="batch_top_k", w_enc=decoder.T, b_enc=torch.zeros(n_latents), w_dec=factor * decoder, b_dec=centre,
        k=max(1, round(l0)), threshold=torch.tensor(threshold),
    )  # fmt: skip


def monotone(estimates: Sequence[Estimate]) -> str:
    """A verdict on differences from one width to the next: all up, not all, or too close to call."""
    if all(e.interval.low > 0 for e in estimates):
        return "rises at every step"
    if any(e.interval.high < 0 for e in estimates):
        return "does not rise at every step"
    return "rises, but not clearly at every step" if sum(e.value for e in estimates) > 0 else "does not rise"
