"""One wide SAE that several processes learn together, each with its share of every batch.

All hold the same parameters. A step is that of one process but for the order of sums: the cut of BatchTopK and every
mean are taken over all shares, gradients are added up, and each process then takes the same step of the optimiser.
Gradients of the top-k kinds and of relu are zero but for latents that fired (or were dead and revived) on some share:
only those rows travel. Nothing here knows who started the processes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float
from torch import Tensor

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.machine.devices import choose_device, exactly, undisturbed
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.config import BATCH_TOP_K_KINDS, SaeConfig
from vlm_sae_lib.sae.kernels.coarse import Coarse
from vlm_sae_lib.sae.rows import Batches, Rows
from vlm_sae_lib.sae.selection import per_sample_top_k
from vlm_sae_lib.sae.training import run
from vlm_sae_lib.sae.training.learner import Learner
from vlm_sae_lib.sae.training.losses import _Step, prefix_reconstructions, training_latents
from vlm_sae_lib.sae.training.memory import room_for

ALL_ROWS = 0.5
"""From this share of the latents on, all rows of a gradient travel, and nobody picks them out."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that learn together: torch's default group, which somebody has formed."""

    rank: int
    world: int

    def sum(self, tensor: Tensor) -> Tensor:
        """Over all processes, in place."""
        dist.all_reduce(tensor)
        return tensor

    def any(self, mask: Bool[Tensor, " n"]) -> Bool[Tensor, " n"]:
        found = mask.to(torch.uint8)
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return found.bool()

    def gather(self, values: Float[Tensor, " n"]) -> Float[Tensor, " m"]:
        """The values of all processes, each of which may have another number of them."""
        sizes = self.sum(torch.eye(self.world, dtype=torch.int64, device=values.device)[self.rank] * len(values))
        padded = values.new_zeros(int(sizes.max()))
        padded[: len(values)] = values
        parts = [torch.empty_like(padded) for _ in range(self.world)]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes.tolist(), strict=True)])


class SharedLearner(Learner):
    """A learner that computes its share of each batch; ``step`` takes the whole of it, on every process.

    Raises ``UserError`` for MonoLoss, whose score of a latent is not a sum over samples.
    """

    def __init__(self, config: SaeConfig, first_batch: Float[Tensor, "batch d"], scale: float, ranks: Ranks) -> None:
        if config.mono_coefficient > 0:
            raise UserError("MonoLoss (mono_coefficient) cannot be learned by several workers together: leave it out, "
                            "or train with one.")  # fmt: skip
        super().__init__(config, first_batch, scale)
        self.ranks = ranks

    def _takes_device_kernels(self, x: Tensor) -> bool:
        return False

    def _sparse_gradients(self, x: Tensor) -> tuple[dict[str, float], Tensor | Coarse | None]:
        return self._dense_gradients(x), None

    def _dense_gradients(self, x: Tensor) -> dict[str, float]:
        share, kind = x[self.ranks.rank :: self.ranks.world], self.config.kind
        pre = self.weights.pre_activations(share)
        latents = self._latents(pre, len(x))
        positive = latents.detach() > 0
        if kind in BATCH_TOP_K_KINDS:
            kept = latents.detach()[positive]
            lowest = self.ranks.gather(kept.min().reshape(1) if len(kept) else kept)
            self._learn_threshold(float(lowest.min()) if len(lowest) else 0.0, self.step_number)
        fired = self.ranks.any(positive.any(dim=0))
        dead = self.silence.add(fired, len(x))
        self.optimiser.zero_grad()
        total, values = self._loss(share, pre, latents, dead, len(x))
        total.backward()
        self._add_up(None if kind == "jump_relu" else fired | dead)
        return values

    def _latents(self, pre: Tensor, samples: int) -> Tensor:
        """As ``training_latents`` of the whole batch; values equal at BatchTopK's cut all stay."""
        if self.config.kind not in BATCH_TOP_K_KINDS:
            return training_latents(pre, self.config, self.weights.threshold)
        positive, count = torch.relu(pre), self.config.k * samples
        if count >= samples * self.schedule.n_latents:
            return positive
        flat = positive.detach().flatten()
        largest = self.ranks.gather(flat.topk(min(count, len(flat)), sorted=False).values)
        return positive * (positive >= largest.topk(count).values[-1].clamp_min(torch.finfo(flat.dtype).tiny))

    def _loss(self, x: Tensor, pre: Tensor, latents: Tensor, dead: Tensor, samples: int) -> tuple[Tensor, dict]:
        """What this share adds to the loss of the whole batch, and the loss with its parts over all shares."""
        config, sizes = self.config, self.schedule.group_sizes
        prefixes = prefix_reconstructions(latents, self.weights, sizes)
        errors = torch.stack([(x - prefix).pow(2).sum() for prefix in prefixes])
        reconstruction = errors.sum() / (samples * len(sizes) ** 2)
        auxiliary = sparsity = x.new_zeros(())
        if config.kind == "relu":
            sparsity, factor = latents.abs().sum() / samples, config.l1_coefficient
        elif config.kind == "jump_relu":
            active = _Step.apply(pre, self.weights.threshold, config.bandwidth).sum() / samples
            off = float(self.ranks.sum(active.detach().clone())) / config.k - 1
            # (L0/k − 1)², which is no sum over samples: its slope, as L0 is over all shares, times this share of L0
            sparsity, factor = 2 * off / config.k * active, config.l0_coefficient
        else:
            auxiliary, factor = self._auxiliary(x - prefixes[-1], pre, dead, samples), config.aux_coefficient
        total = reconstruction + factor * (auxiliary + sparsity)
        parts = self.ranks.sum(torch.stack([reconstruction, auxiliary, sparsity]).detach())
        told = [*map(float, parts)]
        if config.kind == "jump_relu":
            told[2] = off**2
        return total, {"loss": told[0] + factor * (told[1] + told[2]), "auxiliary": told[1], "sparsity": told[2]}

    def _auxiliary(self, residual: Tensor, pre: Tensor, dead: Tensor, samples: int) -> Tensor:
        """This share of ``auxiliary_loss``."""
        if not dead.any():
            return residual.new_zeros(())
        residual = residual.detach()
        mean = self.ranks.sum(residual.sum(dim=0)) / samples
        spread = self.ranks.sum((residual - mean).pow(2).sum()) / (samples * residual.shape[1])
        revived = per_sample_top_k(torch.relu(pre[:, dead]), min(self.schedule.k_aux, int(dead.sum())))
        error = (residual - revived @ self.weights.decoder[dead]).pow(2).sum() / (samples * residual.shape[1])
        return error / spread if spread > 0 else error * 0.0

    @torch.no_grad()
    def _add_up(self, rows: Bool[Tensor, " latents"] | None) -> None:
        """Add the gradients of all shares; of those with a row or number for each latent these rows alone."""
        chosen = None if rows is None or float(rows.float().mean()) > ALL_ROWS else rows.nonzero().flatten()
        for name, parameter in self.weights.named().items():
            if parameter.grad is None:
                continue
            if chosen is None or name == "decoder_bias":
                self.ranks.sum(parameter.grad)
            else:
                parameter.grad[chosen] = self.ranks.sum(parameter.grad[chosen])

    def _write_log(self, x: Tensor, losses: dict[str, float], pre: Tensor | Coarse | None) -> None:
        if self.ranks.rank == 0:
            super()._write_log(x, losses, pre)


def train_together(
    activations: Any, config: SaeConfig, ranks: Ranks, *, checkpoint_dir: Path, device: Any = None
) -> SparseAutoencoder | None:
    """``train_sae``, by all processes of the group: the SAE on the first of them, None on the others.

    Checkpoints are written by the first and read by all; they are those of ``train_sae``, so that one process may go on
    where several were stopped.

    Raises ``UserError`` as ``train_sae`` does.
    """
    device = choose_device(device)
    with undisturbed():
        rows = Rows(activations)
        config.schedule(rows.dim, rows.n)
        with exactly(device), room_for([config], rows.dim, device):
            batches = Batches(rows.n, config.batch_size, config.seed)
            scale = run._norm_factor(rows, batches) if config.normalise else 1.0
            learner = SharedLearner(config, rows.take(batches[0]).to(device), scale, ranks)
            told = {"data": rows.identity(), "configs": [config.as_dict()]}
            run._restore([learner], checkpoint_dir, told)
            every = max(1, config.steps // 10)
            for step in range(learner.step_number, config.steps):
                learner.step(run._batch_of(rows, batches[step], step).to(device))
                if ranks.rank == 0 and ((step + 1) % every == 0 or step + 1 == config.steps):
                    run._write(checkpoint_dir, told, [learner])
            return learner.finish(rows.identity()) if ranks.rank == 0 else None
