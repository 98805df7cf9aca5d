"""What a training run of a sparse autoencoder is asked for, and the numbers that follow from it."""

import math
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, get_args

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.overrides import (
    AtLeastZero,
    Count,
    Index,
    Kind,
    Positive,
    Seed,
    Share,
    Shares,
    Such,
    hold,
    refuse_unknown,
)

KINDS = get_args(Kind)
BATCH_TOP_K_KINDS = ("matryoshka_batch_top_k", "batch_top_k")
LR_OF_TEXT = "text"
Frozen = Literal["nothing", "decoder", "soft_decoder", "encoder"]
Momentum = Annotated[float, Such("a number of at least 0 and below 1", lambda x: 0 <= x < 1)]
MOST_LATENTS = 2**31 - 1
ROWS_PER_LATENT = 20
"""What the paper's widest SAE had: the 1.28 million pictures of ImageNet's training set for 64 · 1,024 latents."""
PAPER_GROUPS = (0.0625, 0.125, 0.25, 0.5625)


@dataclass(frozen=True)
class SaeConfig:
    """One SAE to train (paper §4.1; the values of the authors' code are named where a default differs).

    Fields left at ``None`` follow from the others by a rule that gives the paper's number for a run of the paper's
    length and scales with shorter ones; ``schedule`` resolves them and the artefact's metadata records them.

    Raises ``UserError`` for a value of the wrong type or that makes no sense, and for an unknown keyword, naming the
    known ones.
    """

    kind: Kind = "matryoshka_batch_top_k"
    """One of ``KINDS``. Both batch-top-k kinds select the k·B largest of a whole batch, over all groups together."""
    expansion: Positive = 4
    """Latents per input dimension, ε: F = int(ε·d)."""
    k: Count = 20
    """Active latents per sample: exactly (top_k), on average (batch kinds), the target (jump_relu); relu ignores it."""
    group_fractions: Shares = PAPER_GROUPS
    """Matryoshka groups as fractions of F: sizes int(fraction·F), the remainder to the last. Other kinds ignore it."""
    steps: Count = 2000
    """Optimiser steps (paper: 100,000)."""
    batch_size: Count = 1024
    """Samples per step (paper: 4,096); never more than there are rows."""
    lr: Positive | Literal["text"] | None = None
    """Adam's learning rate; ``None``: the authors' code, 2e-4 / sqrt(F / 2^14) = 16 / (625 sqrt(F)); ``"text"``: what
    the paper prints (v3 §4.1), 16 / (125 sqrt(F)), five times as much."""
    lr_decay: Share = 0.0
    """The fraction of the run, at its end, over which the rate falls linearly to zero (paper: none)."""
    warmup: Count | None = None
    """Steps of linear warm-up; ``None``: 5 % of the run, at most the paper's 1,000."""
    threshold_start: Index | None = None
    """First step at which the inference threshold is learned; ``None``: 10 % of the run, at most the paper's 1,000."""
    threshold_momentum: Momentum | None = None
    """Momentum of the threshold's moving average; ``None``: a memory of 2 % of the run, at most the paper's .999."""
    dead_window: Count | None = None
    """Samples without firing after which a latent is dead; ``None``: 5 % of the run, at most the paper's 10^7."""
    aux_coefficient: AtLeastZero = 0.03
    """Weight of the aux-k loss, by which dead latents explain the residual (paper: .03); relu and jump_relu: unused."""
    l1_coefficient: AtLeastZero = 0.1
    """Weight of the mean L1 norm of the latents (relu), for inputs scaled to E‖x‖² = 1."""
    l0_coefficient: AtLeastZero = 1.0
    """Weight of (L0/k − 1)² (jump_relu)."""
    mono_coefficient: AtLeastZero = 0.0
    """Weight λ of 1 − the mean monosemanticity of the batch's latents (MonoLoss); 0: not asked for, as in the paper."""
    bandwidth: Positive = 0.01
    """Width of the rectangle that stands in for the jump's derivative (jump_relu), for inputs with E‖x‖² = 1."""
    normalise: bool = True
    """Scale the inputs to E‖x‖² = 1 while training; the factor is folded into the finished SAE."""
    seed: Seed = 0
    """Decides the initial weights and the order of the data."""
    frozen: Frozen = "nothing"
    """What stays at its random start, as a baseline (arXiv 2602.14111). ``"decoder"``: the directions W_dec, while the
    encoder (which starts as their transpose), b_dec and the threshold learn. ``"soft_decoder"``: after each step every
    direction is brought back to a cosine of at least .8 to its start. ``"encoder"``: W_enc and b_enc, which is zero, so
    that only b_dec and the threshold change what is active, and W_dec learns to make the most of it."""

    def __new__(cls, *args: Any, **keywords: Any) -> "SaeConfig":
        refuse_unknown("SaeConfig", cls, keywords)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        hold(self, "SaeConfig")
        object.__setattr__(self, "group_fractions", tuple(map(float, self.group_fractions)))
        if self.warmup is not None and self.warmup > self.steps:
            raise UserError(
                f"SaeConfig warmup={self.warmup!r} is longer than the run of {self.steps} steps: the learning rate "
                "would never be reached, so lower warmup or raise steps."
            )
        if self.threshold_start is not None and self.threshold_start >= self.steps:
            raise UserError(
                f"SaeConfig threshold_start={self.threshold_start!r} is not before the last of {self.steps} steps: the "
                "inference threshold would never be learned."
            )

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

    def schedule(self, dim: int, rows: int | None = None) -> "Schedule":
        """Every number of the run for ``dim``-wide activations, none left open.

        Of fewer ``rows`` than the batch size a step takes all, and what is counted in samples follows from those.

        Raises ``UserError`` where k exceeds the number of latents or the SAE would have none, or too many to count.
        """
        width = self.n_latents(dim)
        if not 1 <= width <= MOST_LATENTS:
            many = "no latent" if width < 1 else "too many latents"
            raise UserError(
                f"SaeConfig expansion={self.expansion} gives {many} for {dim}-wide activations: "
                f"{'raise' if width < 1 else 'lower'} it."
            )
        batch = self.batch_size if rows is None else min(self.batch_size, rows)
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
            dead_window=chosen(self.dead_window, min(10_000_000, max(1, self.steps // 20) * batch)),
            k_aux=max(1, dim // 2),
        )

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON values.

        That nothing is frozen is left out: an SAE keeps the bytes, and a checkpoint the run, that it had before SAEs
        could be frozen.
        """
        settings = {**asdict(self), "group_fractions": list(self.group_fractions)}
        return {name: value for name, value in settings.items() if (name, value) != ("frozen", "nothing")}


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
