"""A self-test that travels with an SAE: a few inputs and the latents they must give."""

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae.artefact import SparseAutoencoder

KEPT, CANDIDATES = 16, 64
TOLERANCE = 1e-4
"""Of the largest latent: another CPU sums in another order, another activation function is far off."""


@torch.inference_mode()
def make_probe(sae: SparseAutoencoder) -> dict[str, Tensor]:
    """``inputs (16, d)`` and ``latents (16, n_latents)``.

    Half the candidates stretch from b_dec along two decoder directions, half at random, over four orders of length.
    Those whose pre-activations stay farthest from the gate are kept, so that rounding on another machine flips none.
    """
    generator = torch.Generator().manual_seed(0)
    sae = sae.to("cpu")
    unit = sae.w_dec / sae.w_dec.norm(dim=1, keepdim=True).clamp_min(1e-12)
    pairs = torch.randint(sae.n_latents, (2, CANDIDATES), generator=generator)
    aligned = unit[pairs[0]] + 0.5 * unit[pairs[1]]
    random = torch.randn(CANDIDATES, sae.dim, generator=generator) / sae.dim**0.5
    directions = torch.where((torch.arange(CANDIDATES) % 2 == 0)[:, None], aligned, random)
    lengths = _scale(sae) * torch.logspace(-1, 1, CANDIDATES)[torch.randperm(CANDIDATES, generator=generator)]
    inputs = sae.b_dec + lengths[:, None] * directions
    kept = (_margin(sae, inputs)).argsort(descending=True, stable=True)[:KEPT].sort().values
    inputs = inputs[kept].contiguous()
    return {"inputs": inputs, "latents": sae.encode(inputs).contiguous()}


@torch.inference_mode()
def check_probe(sae: SparseAutoencoder, probe: dict[str, Tensor], where: str) -> None:
    """Recompute the latents. Raises ``UserError`` where they differ."""
    right = probe["inputs"].shape[-1] == sae.dim and probe["latents"].shape[-1] == sae.n_latents
    if right:
        error = (sae.encode(probe["inputs"]) - probe["latents"]).abs().max()
        right = bool(error <= TOLERANCE * probe["latents"].abs().max().clamp_min(1e-6))
    if not right:
        raise UserError(
            f"the SAE in {where} no longer gives the latents recorded in its probe.safetensors: its weights or its "
            "cfg.json were changed, so save it anew from the source."
        )


def _scale(sae: SparseAutoencoder) -> float:
    """About the length of an input: the factor of the training, or what lifts a latent over its gate."""
    factor = sae.metadata.get("norm_factor")
    if factor:
        return float(factor)
    gate = 0.0 if sae.threshold is None else float(sae.threshold.abs().max())
    return max(1.0, gate, float(sae.b_enc.abs().max())) * 2


def _margin(sae: SparseAutoencoder, inputs: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """The least distance of a pre-activation from the gate, relative to the largest one; -1 where nothing fires."""
    pre = sae.pre_activations(inputs)
    size = pre.abs().amax(dim=1).clamp_min(1e-12)
    if sae.kind == "top_k" and sae.k is not None and sae.k < sae.n_latents:
        top = torch.relu(pre).topk(sae.k + 1, dim=1).values
        distance = torch.where(top[:, -1] > 0, top[:, -2] - top[:, -1], pre.abs().amin(dim=1))
    else:
        gate = 0.0 if sae.threshold is None else sae.threshold.clamp_min(0)
        distance = (pre - gate).abs().amin(dim=1)
    fires = (sae.encode(inputs) > 0).any(dim=1)
    return torch.where(fires, distance / size, -1.0)
