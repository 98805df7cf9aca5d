"""One sparse autoencoder while it learns: parameters, optimiser, counters, threshold, log."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.machine.compiled import in_threads
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.config import BATCH_TOP_K_KINDS, SaeConfig
from vlm_sae_lib.sae.kernels import loops, products
from vlm_sae_lib.sae.kernels.active import (
    Active,
    above_of_coarse,
    batch_top_k_active,
    batch_top_k_of_coarse,
    per_sample_top_k_active,
)
from vlm_sae_lib.sae.kernels.coarse import Coarse, CoarseEncoder, pays
from vlm_sae_lib.sae.selection import above, batch_top_k_cut, per_sample_top_k
from vlm_sae_lib.sae.training import frozen
from vlm_sae_lib.sae.training.clipping import clip
from vlm_sae_lib.sae.training.initialise import initial_weights
from vlm_sae_lib.sae.training.log import TrainingLog, is_logged
from vlm_sae_lib.sae.training.losses import training_latents, training_loss

NEVER_LEARNED = -1.0
"""The inference threshold before its first update, as in the authors' code."""

CUT_DRIFT = 1.6
"""Over the square root of the batch: the share by which the next batch's cut may be lower, four standard deviations of
what was seen in training; where it is lower still, that step takes longer."""
FIRST_GUESS = 0.8
"""The same where there is no batch before: of the cut among a sixteenth of the samples."""
LOGGED_AT_ONCE = 512
"""Samples whose dense latents are held in memory for a line of the log."""
SHORTEST = 1e-12
"""Length that a decoder row is divided by at least."""


class Learner:
    """Learns from batches of raw activations; ``scale`` is the factor c with E‖x/c‖² = 1.

    On a CPU the top-k kinds take their gradients from the sparse kernels, everything else from autograd.
    """

    def __init__(self, config: SaeConfig, first_batch: Float[Tensor, "batch d"], scale: float) -> None:
        self.config, self.scale = config, scale
        self.schedule = config.schedule(first_batch.shape[1], len(first_batch))
        jump_k = config.k if config.kind == "jump_relu" else None
        self.weights = initial_weights(first_batch / scale, self.schedule.n_latents, config.seed, jump_k=jump_k)
        # Never in a checkpoint: a run that is resumed makes its start anew, from the same seed.
        self.starts = self.weights.decoder.clone() if config.frozen == "soft_decoder" else None
        self.learned = frozen.learned(self.weights, config.frozen)
        self.optimiser = torch.optim.Adam(self.learned, lr=self.schedule.lr, fused=True)
        self.silent_for = torch.zeros(self.schedule.n_latents, dtype=torch.int64, device=first_batch.device)
        self.threshold = NEVER_LEARNED
        self.guess = 0.0
        self.step_number = 0
        self.log = TrainingLog()

    @property
    def finished(self) -> bool:
        return self.step_number >= self.config.steps

    def step(self, batch: Float[Tensor, "batch d"]) -> None:
        """One optimiser step on raw activations. Raises ``UserError`` where the loss stops being finite."""
        x = batch / self.scale
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.lr_at(self.step_number, self.config.steps)
        sparse = x.device.type == "cpu" and self.config.kind in (*BATCH_TOP_K_KINDS, "top_k")
        losses, coarse = self._sparse_gradients(x) if sparse else (self._dense_gradients(x), None)
        if not all(map(torch.isfinite, map(torch.as_tensor, losses.values()))):
            raise self._diverged(self.step_number)
        if is_logged(self.step_number, self.config.steps):
            self._write_log(x, losses, coarse)
        self._update()
        self.step_number += 1

    def _diverged(self, step: int) -> UserError:
        return UserError(
            f"training of the {self.config.kind} SAE diverged at step {step}: lower lr (now {self.schedule.lr:.2g})."
        )

    def check_finite(self) -> None:
        """Raise ``UserError`` where a parameter is no longer finite, which the next step's loss would only show: such
        a state must not take the place of a good one."""
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.weights.named().values()):
            raise self._diverged(self.step_number - 1)

    def _sparse_gradients(self, x: Tensor) -> tuple[dict[str, float], Coarse | None]:
        config = self.config
        pre, active = self._active(x)
        if config.kind in BATCH_TOP_K_KINDS:
            smallest = float(active.values.min()) if len(active.values) else 0.0
            full = len(active.values) == config.k * len(x)
            self.guess = max(0.5, 1 - CUT_DRIFT / len(x) ** 0.5) * smallest if full else 0.0
            self._learn_threshold(smallest)
        dead = self._count(active.fired(), len(x))
        coefficients = config.aux_coefficient, config.mono_coefficient
        loss = products.write_gradients(
            self.weights, x, pre, active, self.schedule.group_sizes, dead, self.schedule.k_aux, *coefficients,
            frozen=frozen.PARAMETERS[config.frozen],
        )  # fmt: skip
        total = loss.reconstruction + config.aux_coefficient * loss.auxiliary
        if config.mono_coefficient > 0:
            total += config.mono_coefficient * loss.monosemanticity
        return {"loss": total, "auxiliary": loss.auxiliary}, pre if isinstance(pre, Coarse) else None

    @torch.no_grad()
    def _active(self, x: Tensor) -> tuple[Tensor | Coarse, Active]:
        """Pre-activations, coarse ones where they show what is active, and the active pairs."""
        weights, k = self.weights, self.config.k
        if self.config.kind == "top_k":
            pre = weights.pre_activations(x)
            return pre, per_sample_top_k_active(pre, k)
        if self.guess == 0:
            few = torch.relu(weights.pre_activations(x[: max(1, len(x) // 16)]))
            self.guess = FIRST_GUESS * batch_top_k_cut(few, k)
        if self.guess > 0 and pays(len(x), weights.encoder):
            centred = x - weights.decoder_bias
            coarse = CoarseEncoder(weights.encoder, weights.encoder_bias, like=centred)(centred)
            if (active := batch_top_k_of_coarse(coarse, k, self.guess)) is not None:
                return coarse, active
        pre = weights.pre_activations(x)
        return pre, batch_top_k_active(pre, k, self.guess)

    def _dense_gradients(self, x: Tensor) -> dict[str, float]:
        pre = self.weights.pre_activations(x)
        latents = training_latents(pre, self.config, self.weights.threshold)
        positive = latents.detach() > 0
        if self.config.kind in BATCH_TOP_K_KINDS:
            self._learn_threshold(float(latents.detach()[positive].min()) if positive.any() else 0.0)
        dead = self._count(positive.any(dim=0), len(x))
        loss = training_loss(
            x, pre, latents, self.weights, self.config, self.schedule.group_sizes, dead, self.schedule.k_aux
        )
        self.optimiser.zero_grad()
        loss.total.backward()
        parts = {"loss": loss.total, "auxiliary": loss.auxiliary, "sparsity": loss.sparsity}
        return {name: float(part.detach()) for name, part in parts.items()}

    def _count(self, fired: Tensor, samples: int) -> Tensor:
        """Count silence per latent; the mask of dead ones."""
        self.silent_for += samples
        self.silent_for[fired] = 0
        return self.silent_for >= self.schedule.dead_window

    def _learn_threshold(self, smallest: float) -> None:
        """Moving average of the smallest activation kept in a batch (paper.md §2.2)."""
        if self.step_number < self.schedule.threshold_start:
            return
        momentum = self.schedule.threshold_momentum if self.threshold != NEVER_LEARNED else 0.0
        self.threshold = momentum * self.threshold + (1 - momentum) * smallest

    @torch.no_grad()
    def _update(self) -> None:
        """Decoder rows stay on the unit sphere: remove the gradient along them, clip, step, and scale them back."""
        decoder = self.weights.decoder
        if decoder.grad is not None:  # a frozen one has none
            _remove_along(decoder, decoder.grad)
        clip(self.learned, 1.0)
        self.optimiser.step()
        if decoder.grad is not None:
            _to_unit_length(decoder)
        if self.starts is not None:
            frozen.pull_back(decoder, self.starts)

    @torch.no_grad()
    def _write_log(self, x: Tensor, losses: dict[str, float], coarse: Coarse | None) -> None:
        r2 = l0 = None
        if self.config.kind not in BATCH_TOP_K_KINDS or self.threshold != NEVER_LEARNED:
            error, fired = self._inferred(x, coarse)
            spread = float((x - x.mean(dim=0)).pow(2).sum(dtype=torch.float64))
            r2 = 1 - error / spread if spread > 0 else None
            l0 = fired / len(x)
        self.log.append(
            step=self.step_number,
            r2=r2,
            l0=l0,
            dead=int((self.silent_for >= self.schedule.dead_window).sum()),
            threshold=self.threshold * self.scale if self.threshold != NEVER_LEARNED else None,
            lr=self.optimiser.param_groups[0]["lr"],
            **losses,
        )

    def _inferred(self, x: Tensor, coarse: Coarse | None) -> tuple[float, int]:
        """Σ‖x − x̂‖² and how many pairs are active, under the inference rule."""
        weights = self.weights
        found = above_of_coarse(coarse, self.threshold) if coarse is not None else None
        if found is not None:
            decoded = products.weighted_sums(found.bounds, found.latents, found.values, weights.decoder.detach())
            return float((x - decoded - weights.decoder_bias).pow(2).sum(dtype=torch.float64)), len(found.latents)
        error, fired = 0.0, 0
        for part in x.split(LOGGED_AT_ONCE):
            latents = self._inference(torch.relu(weights.pre_activations(part)))
            decoded = latents @ weights.decoder + weights.decoder_bias
            error += float((part - decoded).pow(2).sum(dtype=torch.float64))
            fired += int((latents > 0).sum())
        return error, fired

    def _inference(self, positive: Tensor) -> Tensor:
        if self.config.kind == "top_k":
            return per_sample_top_k(positive, self.config.k)
        if self.config.kind == "relu":
            return positive
        learned = self.weights.threshold  # by gradient, jump_relu only
        return above(positive, self.threshold if learned is None else learned)

    @torch.no_grad()
    def finish(self, provenance: dict[str, Any]) -> SparseAutoencoder:
        """The frozen artefact: biases and thresholds times c, so that it reads raw activations.

        Raises ``UserError`` where the last step diverged.
        """
        self.check_finite()
        weights, threshold = self.weights, None
        if self.config.kind in BATCH_TOP_K_KINDS:
            threshold = torch.tensor(self.threshold * self.scale)
        elif weights.threshold is not None:
            threshold = weights.threshold.detach() * self.scale
        return SparseAutoencoder(
            kind=self.config.kind,
            w_enc=weights.encoder.detach().T,
            b_enc=weights.encoder_bias.detach() * self.scale,
            w_dec=weights.decoder.detach(),
            b_dec=weights.decoder_bias.detach() * self.scale,
            k=None if self.config.kind == "relu" else self.config.k,
            threshold=threshold,
            group_sizes=self.schedule.group_sizes,
            metadata={
                "norm_factor": self.scale,
                "config": self.config.as_dict(),
                "schedule": self.schedule.as_dict(),
                "provenance": provenance,
                "log": self.log.columns,
            },
        )

    def tensors(self) -> dict[str, Tensor]:
        """Everything a checkpoint must hold besides ``facts``."""
        state: dict[str, Tensor] = {"silent_for": self.silent_for}
        for name, parameter in self.weights.named().items():
            state[name] = parameter.detach()
            for key, value in self.optimiser.state.get(parameter, {}).items():
                state[f"{name}.{key}"] = value
        return {name: value.cpu().clone().contiguous() for name, value in state.items()}

    def facts(self) -> dict[str, Any]:
        """The numbers of the state that are not tensors."""
        numbers = {"threshold": self.threshold, "guess": self.guess, "step": self.step_number, "scale": self.scale}
        return {**numbers, "log": self.log.columns}

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Take up the state that ``tensors`` and ``facts`` describe."""
        self.silent_for.copy_(tensors["silent_for"])
        for name, parameter in self.weights.named().items():
            parameter.copy_(tensors[name])
            if not parameter.requires_grad:
                continue
            state = {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{name}.")}
            self.optimiser.state[parameter] = {
                key: value if key == "step" and parameter.device.type == "cpu" else value.to(parameter.device)
                for key, value in state.items()
            }
        self.threshold, self.guess = facts["threshold"], facts["guess"]
        self.step_number, self.scale = facts["step"], facts["scale"]
        self.log = TrainingLog(facts["log"])


def _remove_along(rows: Float[Tensor, "latents d"], vectors: Float[Tensor, "latents d"]) -> None:
    """Take from each vector its part along the row of unit length, in place."""
    if rows.device.type == "cpu":
        given = rows.detach().numpy(), vectors.numpy()
        in_threads(loops.remove_along, len(rows), *given, reads=rows.numel())
    else:
        vectors -= (vectors * rows).sum(dim=1, keepdim=True) * rows


def _to_unit_length(rows: Float[Tensor, "latents d"]) -> None:
    """Scale each row to length 1, in place."""
    if rows.device.type == "cpu":
        in_threads(loops.to_unit_length, len(rows), rows.detach().numpy(), SHORTEST, reads=rows.numel())
    else:
        rows /= rows.norm(dim=1, keepdim=True).clamp_min(SHORTEST)
