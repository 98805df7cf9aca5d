"""What a line of the log says of a batch: the same from pre-activations that the step has, exact or coarse."""

import pytest
import torch

from vlm_sae_lib.sae.config import SaeConfig
from vlm_sae_lib.sae.kernels import coarse
from vlm_sae_lib.sae.kernels.coarse import CoarseEncoder
from vlm_sae_lib.sae.training.inferred import inference_latents, inferred
from vlm_sae_lib.sae.training.initialise import initial_weights


@pytest.mark.parametrize("threshold", [0.0, 0.3, 100.0])
@pytest.mark.parametrize("kind", ["batch_top_k", "matryoshka_batch_top_k", "top_k"])
def test_known_pre_activations_give_what_their_product_gives(kind, threshold):
    x = torch.randn(700, 64, generator=torch.Generator().manual_seed(0))
    config = SaeConfig(kind=kind, expansion=4, k=5, steps=1, batch_size=700)
    weights = initial_weights(x, 256, seed=0)
    latents = inference_latents(weights, config, threshold, x)
    error = float((x - latents @ weights.decoder - weights.decoder_bias).pow(2).sum(dtype=torch.float64))
    with torch.no_grad():
        pre = weights.pre_activations(x)
        ways = [None, pre]
        if kind != "top_k" and coarse.quick():
            centred = x - weights.decoder_bias
            ways.append(CoarseEncoder(weights.encoder, weights.encoder_bias, like=centred)(centred))
        for known in ways:
            found, fired = inferred(weights, config, threshold, x, known)
            assert fired == int((latents > 0).sum())
            assert found == pytest.approx(error, rel=1e-6)
