"""dictionary_learning's trainers, set to our recipe (read in its source, version 0.1.0).

Its losses, group weights, clipping at 1, gradient without its part along the decoder, unit decoder rows and
k_aux = d // 2 are ours already. Three things are attributes or fixed in it and are set here:

- ``dead_feature_threshold``: ten million samples, which no short run can wait for;
- the warm-up: at step s theirs has the rate s / warm-up, ours (s + 1) / warm-up, so it starts with a step of nothing;
- the threshold is learned from the step *after* ``threshold_start_step`` on.
"""

from typing import Any

import torch
from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer

from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.sae.training.initialise import Weights


def trainer(config: SaeConfig, dim: int, device: str = "cpu") -> Any:
    """Their trainer for what ``config`` asks of ours."""
    plan = config.schedule(dim)
    settings = dict(
        steps=config.steps, activation_dim=dim, dict_size=plan.n_latents, k=config.k, layer=0, lm_name="",
        device=device, lr=plan.lr, auxk_alpha=config.aux_coefficient, warmup_steps=0,
        threshold_beta=plan.threshold_momentum, threshold_start_step=plan.threshold_start - 1,
    )  # fmt: skip
    if config.kind == "batch_top_k":
        theirs = BatchTopKTrainer(**settings)
    else:
        theirs = MatryoshkaBatchTopKTrainer(**settings, group_fractions=list(config.group_fractions))
    theirs.dead_feature_threshold = plan.dead_window
    theirs.scheduler = torch.optim.lr_scheduler.LambdaLR(
        theirs.optimizer, lambda step: plan.lr_at(step, config.steps) / plan.lr
    )
    return theirs


def start_from(theirs: Any, weights: Weights) -> None:
    """Replace their parameters, and the median that they take at step 0, by ``weights``."""
    ae = theirs.ae
    if hasattr(ae, "W_enc"):
        pairs = [(ae.W_enc, weights.encoder.T), (ae.W_dec, weights.decoder), (ae.b_enc, weights.encoder_bias)]
    else:
        pairs = [(ae.encoder.weight, weights.encoder), (ae.decoder.weight, weights.decoder.T),
                 (ae.encoder.bias, weights.encoder_bias)]  # fmt: skip
    for parameter, ours in pairs:
        parameter.data = ours.detach().clone().contiguous()
    theirs.geometric_median = lambda points: weights.decoder_bias.detach().clone()
