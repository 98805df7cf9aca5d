"""What a training run of a sparse autoencoder is asked for, and the numbers that follow from it."""

import math
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from typing import Any

from vlm_sae_lib.errors import UserError

KINDS = ("matryoshka_batch_top_k", "batch_top_k", "top_k", "relu", "jump_relu")
BATCH_TOP_K_KINDS = ("matryoshka_batch_top_k", "batch_top_k")
LR_OF_TEXT = "text"
PAPER_GROUPS = (0.0625, 0.125, 0.25, 0.5625)


@dataclass(frozen=True)
class SaeConfig:
    """One SAE to train (paper §4.1; the values of the authors' code are named where a default differs).

    Fields left at ``None`` follow from the others by a rule that gives the paper's number for a run of the paper's
    length and scales with shorter ones; ``schedule(dim)`` resolves them and the artefact's metadata records them.

    Raises ``UserError`` for a value that makes no sense and for an unknown keyword, naming the known ones.
    """

    kind: str = "matryoshka_batch_top_k"
    """One of ``KINDS``. Both batch-top-k kinds select the k·B largest of a whole batch, over all groups together."""
    expansion: float = 4
    """Latents per input dimension, ε: F = int(ε·d)."""
    k: int = 20
    """Active latents per sample: exactly (top_k), on average (batch kinds), the target (jump_relu); relu ignores it."""
    group_fractions: tuple[float, ...] = PAPER_GROUPS
    """Matryoshka groups as fractions of F: sizes int(fraction·F), the remainder to the last. Other kinds ignore it."""
    steps: int = 2000
    """Optimiser steps (paper: 100,000)."""
    batch_size: int = 1024
    """Samples per step (paper: 4,096); never more than there are rows."""
    lr: float | str | None = None
    """Adam's learning rate; ``None``: the authors' code, 2e-4 / sqrt(F / 2^14) = 16 / (625 sqrt(F)); ``"text"``: what
    the paper prints (v3 §4.1), 16 / (125 sqrt(F)), five times as much."""
    lr_decay: float = 0.0
    """The fraction of the run, at its end, over which the rate falls linearly to zero (paper: none)."""
    warmup: int | None = None
    """Steps of linear warm-up; ``None``: 5 % of the run, at most the paper's 1,000."""
    threshold_start: int | None = None
    """First step at which the inference threshold is learned; ``None``: 10 % of the run, at most the paper's 1,000."""
    threshold_momentum: float | None = None
    """Momentum of the threshold's moving average; ``None``: a memory of 2 % of the run, at most the paper's .999."""
    dead_window: int | None = None
    """Samples without firing after which a latent is dead; ``None``: 5 % of the run, at most the paper's 10^7."""
    aux_coefficient: float = 0.03
    """Weight of the aux-k loss, by which dead latents explain the residual (paper: .03); relu and jump_relu: unused."""
    l1_coefficient: float = 0.1
    """Weight of the mean L1 norm of the latents (relu), for inputs scaled to E‖x‖² = 1."""
    l0_coefficient: float = 1.0
    """Weight of (L0/k − 1)² (jump_relu)."""
    mono_coefficient: float = 0.0
    """Weight λ of 1 − the mean monosemanticity of the batch's latents (MonoLoss); 0: not asked for, as in the paper."""
    bandwidth: float = 0.01
    """Width of the rectangle that stands in for the jump's derivative (jump_relu), for inputs with E‖x‖² = 1."""
    normalise: bool = True
    """Scale the inputs to E‖x‖² = 1 while training; the factor is folded into the finished SAE."""
    seed: int = 0
    """Decides the initial weights and the order of the data."""

    def __new__(cls, *args: Any, **keywords: Any) -> "SaeConfig":
        known = [field.name for field in fields(cls)]
        for name in keywords:
            if name not in known:
                raise UserError(f"SaeConfig has no setting {name!r}: the known ones are {', '.join(known)}.")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        object.__setattr__(self, "group_fractions", tuple(float(fraction) for fraction in self.group_fractions))
        if self.kind not in KINDS:
            raise UserError(f"SaeConfig kind={self.kind!r} is unknown: choose one of {', '.join(KINDS)}.")
        for name, least in (("k", 1), ("steps", 1), ("batch_size", 1), ("warmup", 1), ("dead_window", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, Integral) and value >= least):
                raise UserError(f"SaeConfig {name}={value!r} must be a whole number of at least {least}.")
        positive = ("expansion", "lr", "bandwidth")
        weights = ("aux_coefficient", "l1_coefficient", "l0_coefficient", "mono_coefficient")
        for name in (*positive, "threshold_start", *weights):
            value = getattr(self, name)
            if name == "lr" and value == LR_OF_TEXT:
                continue
            number = value is None or (isinstance(value, Real) and math.isfinite(value))
            if not number or (value is not None and (value <= 0 if name in positive else value < 0)):
                raise UserError(f"SaeConfig {name}={value!r} must be {'positive' if name in positive else '>= 0'}.")
        if not 0 <= self.lr_decay <= 1:
            raise UserError(f"SaeConfig lr_decay={self.lr_decay!r} must be a fraction of the run, from 0 to 1.")
        if self.threshold_momentum is not None and not 0 <= self.threshold_momentum < 1:
            raise UserError(f"SaeConfig threshold_momentum={self.threshold_momentum!r} must be at least 0 and below 1.")
        if self.threshold_start is not None and self.threshold_start >= self.steps:
            raise UserError(
                f"SaeConfig threshold_start={self.threshold_start!r} is not before the last of {self.steps} steps: the "
                "inference threshold would never be learned."
            )
        fractions = self.group_fractions
        if not fractions or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
            raise UserError(f"SaeConfig group_fractions={fractions!r} must be fractions that sum to 1.")

    def n_latents(self, dim: int) -> int:
        """F, the width of the SAE for ``dim``-wide activations."""
        return int(self.expansion * dim)

    def group_sizes(self, dim: int) -> tuple[int, ...]:
        """Latents per Matryoshka group, (F,) for the other kinds; a very small F may leave an early group empty."""
        width = self.n_latents(dim)
        if self.kind != "matryoshka_batch_top_k":
            return (width,)
        sizes = [int(fraction * width) for fraction in self.group_fractions[:-1]]
        return (*sizes, width - sum(sizes))

    def schedule(self, dim: int) -> "Schedule":
        """Every number of the run for ``dim``-wide activations, none left open.

        Raises ``UserError`` where k exceeds the number of latents or the SAE would have none.
        """
        width = self.n_latents(dim)
        if width < 1:
            raise UserError(
                f"SaeConfig expansion={self.expansion} leaves no latent for {dim}-wide activations: raise it."
            )
        if self.kind != "relu" and self.k > width:
            raise UserError(
                f"SaeConfig k={self.k} exceeds the {width} latents of this SAE: lower k or raise expansion."
            )
        memory = min(1000, max(1, self.steps // 50))
        of_code = 2e-4 / math.sqrt(width / 2**14)

        def chosen(value: Any, rule: Any) -> Any:
            return rule if value is None else value

        return Schedule(
            n_latents=width,
            group_sizes=self.group_sizes(dim),
            lr=5 * of_code if self.lr == LR_OF_TEXT else chosen(self.lr, of_code),
            warmup=chosen(self.warmup, min(1000, max(1, self.steps // 20))),
            decay_start=self.steps - round(self.lr_decay * self.steps),
            threshold_start=chosen(self.threshold_start, min(1000, self.steps // 10)),
            threshold_momentum=chosen(self.threshold_momentum, 1 - 1 / memory),
            dead_window=chosen(self.dead_window, min(10_000_000, max(1, self.steps // 20) * self.batch_size)),
            k_aux=max(1, dim // 2),
        )

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return {**asdict(self), "group_fractions": list(self.group_fractions)}


@dataclass(frozen=True)
class Schedule:
    """The numbers of a run that follow from a ``SaeConfig`` and the width of the activations."""

    n_latents: int
    group_sizes: tuple[int, ...]
    lr: float
    warmup: int
    """steps"""
    decay_start: int
    """step"""
    threshold_start: int
    """step"""
    threshold_momentum: float
    dead_window: int
    """samples"""
    k_aux: int
    """latents per sample, at most, that the aux-k loss revives: d // 2"""

    def lr_at(self, step: int, steps: int) -> float:
        """Learning rate of a step: linear warm-up, constant, and (if asked for) a linear fall to zero."""
        rise = min(1.0, (step + 1) / self.warmup)
        fall = min(1.0, (steps - step) / max(1, steps - self.decay_start + 1)) if step >= self.decay_start else 1.0
        return self.lr * rise * fall

    def as_dict(self) -> dict[str, Any]:
        """The numbers as JSON values."""
        return {**asdict(self), "group_sizes": list(self.group_sizes)}
