"""One sparse autoencoder while it learns: parameters, optimiser, counters, threshold, log."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.machine.precision import half_precision
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.config import BATCH_TOP_K_KINDS, SaeConfig
from vlm_sae_lib.sae.kernels import on_device, products
from vlm_sae_lib.sae.kernels.active import (
    Active,
    batch_top_k_active,
    batch_top_k_of_coarse,
    per_sample_top_k_active,
)
from vlm_sae_lib.sae.kernels.coarse import Coarse, CoarseEncoder, pays
from vlm_sae_lib.sae.selection import batch_top_k_cut
from vlm_sae_lib.sae.training import frozen, sphere
from vlm_sae_lib.sae.training.clipping import clip
from vlm_sae_lib.sae.training.inferred import inferred
from vlm_sae_lib.sae.training.initialise import initial_weights
from vlm_sae_lib.sae.training.log import TrainingLog, is_logged
from vlm_sae_lib.sae.training.losses import training_latents, training_loss
from vlm_sae_lib.sae.training.silence import Silence
from vlm_sae_lib.sae.training.unread import Unread

ON_DEVICE: tuple[str, ...] = ("cuda",)
"""Devices that take the kernels of ``on_device.py``; tests put the CPU there."""
NEVER_LEARNED = -1.0
"""The inference threshold before its first update, as in the authors' code."""

CUT_DRIFT = 1.6
"""Over the square root of the batch: the share by which the next batch's cut may be lower, four standard deviations of
what was seen in training; where it is lower still, that step takes longer."""
FIRST_GUESS = 0.8
"""The same where there is no batch before: of the cut among a sixteenth of the samples."""


def finds_in_half(device: torch.device) -> bool:
    """Whether a device finds what is active in bfloat16: a GPU that has it, which a T4 has not."""
    return device.type == "cuda" and half_precision(device) == torch.bfloat16


class Learner:
    """Learns from batches of raw activations; ``scale`` is the factor c with E‖x/c‖² = 1.

    On a CPU the top-k kinds take their gradients from the sparse kernels, on a GPU from those of ``on_device.py``,
    everything else from autograd. What a GPU finds of a step is read when it is asked for (``settle``).
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
        self.silence = Silence(self.schedule.n_latents, self.schedule.dead_window, first_batch.device)
        self.threshold = NEVER_LEARNED
        self.guess = 0.0
        self.doubted = False
        self.step_number = 0
        self.log = TrainingLog()
        self._unread = Unread()

    @property
    def finished(self) -> bool:
        return self.step_number >= self.config.steps

    def step(self, batch: Float[Tensor, "batch d"]) -> None:
        """One optimiser step on raw activations. Raises ``UserError`` where the loss stops being finite."""
        x = batch / self.scale
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.lr_at(self.step_number, self.config.steps)
        losses, pre = self._gradients(x)
        if is_logged(self.step_number, self.config.steps):
            self.settle()
            self._write_log(x, {name: float(loss) for name, loss in losses.items()}, pre)
        self._update()
        self.step_number += 1

    def _gradients(self, x: Float[Tensor, "batch d"]) -> tuple[dict[str, Any], Tensor | Coarse | None]:
        """Write the step's gradients; its losses, and pre-activations where they lie on a CPU."""
        top_k = self.config.kind in (*BATCH_TOP_K_KINDS, "top_k")
        if top_k and self._takes_device_kernels(x):
            return self._device_gradients(x), None
        sparse = top_k and x.device.type == "cpu"
        losses, pre = self._sparse_gradients(x) if sparse else (self._dense_gradients(x), None)
        if not all(map(math.isfinite, map(float, losses.values()))):
            raise self._diverged(self.step_number)
        return losses, pre

    def _takes_device_kernels(self, x: Tensor) -> bool:
        return x.device.type in ON_DEVICE and self.config.mono_coefficient == 0

    def _device_gradients(self, x: Float[Tensor, "batch d"]) -> dict[str, Tensor]:
        """From active pairs on the device, which is not waited for unless a latent may have died."""
        config, half = self.config, finds_in_half(x.device) and not self.doubted
        active = on_device.active_pairs(self.weights, x, config.k, per_sample=config.kind == "top_k", half=half)
        dead = self.silence.add_unseen(active.fired(self.schedule.n_latents), len(x))
        loss = on_device.write_gradients(
            self.weights, x, active, self.schedule.group_sizes, dead, self.schedule.k_aux, config.aux_coefficient,
            frozen=frozen.PARAMETERS[config.frozen], half=half,
        )  # fmt: skip
        total = loss.reconstruction + config.aux_coefficient * loss.auxiliary
        self._unread.add(self.step_number, total, active.smallest, active.doubtful)
        return {"loss": total, "auxiliary": loss.auxiliary}

    def settle(self) -> None:
        """Read what steps have left on a device: whether their losses were finite, what the threshold learns, and
        whether half precision might have hidden an active pair, after which none is looked for in it any more.

        Raises ``UserError`` where a loss was not finite.
        """
        for step, (loss, smallest, doubtful) in self._unread.read():
            if not math.isfinite(loss):
                raise self._diverged(step)
            self.doubted |= bool(doubtful)
            if self.config.kind in BATCH_TOP_K_KINDS:
                self._learn_threshold(smallest, step)

    def _diverged(self, step: int) -> UserError:
        return UserError(
            f"training of the {self.config.kind} SAE diverged at step {step}: lower lr (now {self.schedule.lr:.2g})."
        )

    def check_finite(self) -> None:
        """Raise ``UserError`` where a parameter is no longer finite, which the next step's loss would only show: such
        a state must not take the place of a good one."""
        self.settle()
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.weights.named().values()):
            raise self._diverged(self.step_number - 1)

    def _sparse_gradients(self, x: Tensor) -> tuple[dict[str, float], Tensor | Coarse | None]:
        config = self.config
        pre, active = self._active(x)
        if config.kind in BATCH_TOP_K_KINDS:
            smallest = float(active.values.min()) if len(active.values) else 0.0
            full = len(active.values) == config.k * len(x)
            self.guess = max(0.5, 1 - CUT_DRIFT / len(x) ** 0.5) * smallest if full else 0.0
            self._learn_threshold(smallest, self.step_number)
        dead = self.silence.add(active.fired(), len(x))
        coefficients = config.aux_coefficient, config.mono_coefficient
        loss = products.write_gradients(
            self.weights, x, pre, active, self.schedule.group_sizes, dead, self.schedule.k_aux, *coefficients,
            frozen=frozen.PARAMETERS[config.frozen],
        )  # fmt: skip
        total = loss.reconstruction + config.aux_coefficient * loss.auxiliary
        if config.mono_coefficient > 0:
            total += config.mono_coefficient * loss.monosemanticity
        return {"loss": total, "auxiliary": loss.auxiliary}, pre

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
            smallest = float(latents.detach()[positive].min()) if positive.any() else 0.0
            self._learn_threshold(smallest, self.step_number)
        dead = self.silence.add(positive.any(dim=0), len(x))
        loss = training_loss(
            x, pre, latents, self.weights, self.config, self.schedule.group_sizes, dead, self.schedule.k_aux
        )
        self.optimiser.zero_grad()
        loss.total.backward()
        parts = {"loss": loss.total, "auxiliary": loss.auxiliary, "sparsity": loss.sparsity}
        return {name: float(part.detach()) for name, part in parts.items()}

    def _learn_threshold(self, smallest: float, step: int) -> None:
        """Moving average of the smallest activation kept in a batch (paper.md §2.2)."""
        if step < self.schedule.threshold_start:
            return
        momentum = self.schedule.threshold_momentum if self.threshold != NEVER_LEARNED else 0.0
        self.threshold = momentum * self.threshold + (1 - momentum) * smallest

    @torch.no_grad()
    def _update(self) -> None:
        """Decoder rows stay on the unit sphere: remove the gradient along them, clip, step, and scale them back."""
        decoder = self.weights.decoder
        if decoder.grad is not None:  # a frozen one has none
            sphere.remove_along(decoder, decoder.grad)
        clip(self.learned, 1.0)
        self.optimiser.step()
        if decoder.grad is not None:
            sphere.to_unit_length(decoder)
        if self.starts is not None:
            frozen.pull_back(decoder, self.starts)

    @torch.no_grad()
    def _write_log(self, x: Tensor, losses: dict[str, float], pre: Tensor | Coarse | None) -> None:
        r2 = l0 = None
        if self.config.kind not in BATCH_TOP_K_KINDS or self.threshold != NEVER_LEARNED:
            error, fired = inferred(self.weights, self.config, self.threshold, x, pre)
            spread = float((x - x.mean(dim=0)).pow(2).sum(dtype=torch.float64))
            r2 = 1 - error / spread if spread > 0 else None
            l0 = fired / len(x)
        self.log.append(
            step=self.step_number,
            r2=r2,
            l0=l0,
            dead=int((self.silence.samples >= self.schedule.dead_window).sum()),
            threshold=self.threshold * self.scale if self.threshold != NEVER_LEARNED else None,
            lr=self.optimiser.param_groups[0]["lr"],
            **losses,
        )

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
        state: dict[str, Tensor] = {"silent_for": self.silence.samples}
        for name, parameter in self.weights.named().items():
            state[name] = parameter.detach()
            for key, value in self.optimiser.state.get(parameter, {}).items():
                state[f"{name}.{key}"] = value
        return {name: value.cpu().clone().contiguous() for name, value in state.items()}

    def facts(self) -> dict[str, Any]:
        """The numbers of the state that are not tensors."""
        self.settle()
        numbers = {"threshold": self.threshold, "guess": self.guess, "step": self.step_number, "scale": self.scale}
        return {**numbers, "doubted": self.doubted, "log": self.log.columns}

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Take up the state that ``tensors`` and ``facts`` describe."""
        self.silence.restore(tensors["silent_for"])
        for name, parameter in self.weights.named().items():
            parameter.copy_(tensors[name])
            if not parameter.requires_grad:
                continue
            state = {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{name}.")}
            self.optimiser.state[parameter] = {
                key: value if key == "step" and parameter.device.type == "cpu" else value.to(parameter.device)
                for key, value in state.items()
            }
        self.threshold, self.guess, self.doubted = facts["threshold"], facts["guess"], facts["doubted"]
        self.step_number, self.scale = facts["step"], facts["scale"]
        self.log = TrainingLog(facts["log"])
