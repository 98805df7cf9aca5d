"""Where a sparse autoencoder starts (the authors' code, paper.md: decoder, encoder, biases)."""

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_sae_lib.sae.kernels.weights import Weights
from vlm_sae_lib.sae.selection import batch_top_k_cut


def initial_weights(
    first_batch: Float[Tensor, "batch d"], n_latents: int, seed: int, *, jump_k: int | None = None
) -> Weights:
    """Random unit decoder directions, the encoder their transpose, b_enc 0, b_dec the first batch's geometric median.

    The authors draw the directions from torch's Linear initialisation (BatchTopK) or Kaiming-uniform (Matryoshka);
    scaled to unit length both are one distribution, a uniform cube seen from its centre.

    ``jump_k`` sets jump_relu's thresholds where ``jump_k`` latents per sample fire on the first batch.
    """
    dim = first_batch.shape[1]
    generator = torch.Generator().manual_seed(seed)
    decoder = torch.rand(n_latents, dim, generator=generator) * 2 - 1
    decoder = (decoder / decoder.norm(dim=1, keepdim=True).clamp_min(1e-12)).to(first_batch.device)
    zeros = torch.zeros(n_latents, device=first_batch.device)
    weights = Weights(decoder.clone(), zeros, decoder, geometric_median(first_batch))
    if jump_k is not None:
        cut = batch_top_k_cut(torch.relu(weights.pre_activations(first_batch)), jump_k)
        weights.threshold = torch.full_like(zeros, max(cut, 1e-3))
    return weights


@torch.no_grad()
def geometric_median(
    points: Float[Tensor, "n d"], *, iterations: int = 100, tolerance: float = 1e-5
) -> Float[Tensor, " d"]:
    """The point with the least mean distance to ``points``: Weiszfeld's iteration, started at the mean.

    Ends when the mean distance changes by less than ``tolerance`` of itself. A point that coincides with the estimate
    keeps a finite weight, so that duplicates do no harm.
    """
    median, last = points.mean(dim=0), None
    for _ in range(iterations):
        distances = torch.linalg.vector_norm(points - median, dim=1)
        spread = float(distances.mean())
        if spread == 0 or (last is not None and abs(last - spread) <= tolerance * spread):
            break
        weights = 1 / distances.clamp_min(1e-6 * spread)
        median, last = (weights / weights.sum()) @ points, spread
    return median
