"""Training: batches in, finished sparse autoencoders out, several in one pass over the data."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.machine.allocator import keep_freed_memory
from vlm_sae_lib.machine.devices import choose_device, exactly, undisturbed
from vlm_sae_lib.overrides import Count, held
from vlm_sae_lib.progress import progress
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.config import SaeConfig
from vlm_sae_lib.sae.rows import Batches, Rows
from vlm_sae_lib.sae.training import checkpoint
from vlm_sae_lib.sae.training.ahead import Ahead
from vlm_sae_lib.sae.training.learner import Learner
from vlm_sae_lib.sae.training.memory import room_for

NORM_BATCHES = 101
"""Batches over which the norm factor is averaged (the authors' code)."""


def train_sae(
    activations: Any,
    config: SaeConfig,
    *,
    checkpoint_dir: str | Path | None = None,
    checkpoint_every: int | None = None,
    device: str | torch.device | None = None,
) -> SparseAutoencoder:
    """Train one SAE; see ``train_saes``."""
    options: dict[str, Any] = {"checkpoint_dir": checkpoint_dir, "checkpoint_every": checkpoint_every, "device": device}
    return train_saes(activations, [config], **options)[0]


def train_saes(
    activations: Any,
    configs: Sequence[SaeConfig],
    *,
    checkpoint_dir: str | Path | None = None,
    checkpoint_every: int | None = None,
    device: str | torch.device | None = None,
) -> list[SparseAutoencoder]:
    """Train several SAEs in one pass over the data (paper §4.1; recipe in ``losses.py`` and ``learner.py``).

    ``activations`` is an activation store, or an ``(n, d)`` array or tensor. SAEs of one seed and batch size see the
    same batches, each read once; every SAE comes out as it would have alone. Epochs are reshuffled, seeded.

    With ``checkpoint_dir`` the state is written every ``checkpoint_every`` steps (a tenth of the run) and at the end,
    and a later call with the same data and configs continues from there, to the same bytes.

    Raises ``UserError`` for a device that is not there, for data without rows, of a wrong shape or not finite, for a
    config that does not fit them, for SAEs that do not fit in memory, for a checkpoint of another run, and where
    training diverges. Autocast around the call changes nothing, nor do torch's defaults and modes.
    """
    keep_freed_memory()
    device = choose_device(device)
    every = None if checkpoint_every is None else held("checkpoint_every", checkpoint_every, Count)
    with undisturbed():
        rows = Rows(activations)
        for config in configs:
            config.schedule(rows.dim, rows.n)
        folder = Path(checkpoint_dir) if checkpoint_dir is not None else None
        with exactly(device), room_for(configs, rows.dim, device):
            return _train(rows, configs, folder, every, device)


def _train(
    rows: Rows, configs: Sequence[SaeConfig], folder: Path | None, every: int | None, device: torch.device
) -> list[SparseAutoencoder]:
    batches = {key: Batches(rows.n, key[1], key[0]) for key in map(_order, configs)}
    learners = _learners(rows, configs, batches, device)
    identity = rows.identity()
    run = {"data": identity, "configs": [config.as_dict() for config in configs]}
    if folder is not None:
        _restore(learners, folder, run)

    steps = max((config.steps for config in configs), default=0)
    first = min((learner.step_number for learner in learners), default=0)
    every = every or max(1, steps // 10)
    with closing(Ahead(lambda key, step: _batch_of(rows, batches[key][step], step), steps, device)) as ahead:
        for step in progress(range(first, steps), "training", unit="step"):
            drawn: dict[tuple[int, int], torch.Tensor] = {}
            for learner in learners:
                if learner.finished or learner.step_number > step:
                    continue
                key = _order(learner.config)
                if key not in drawn:
                    drawn[key] = ahead(key, step)
                learner.step(drawn[key])
            if folder is not None and ((step + 1) % every == 0 or step + 1 == steps):
                _write(folder, run, learners)
    return [learner.finish(identity) for learner in learners]


def _batch_of(rows: Rows, indices: np.ndarray, step: int) -> torch.Tensor:
    try:
        return rows.take(indices)
    except UserError as error:  # of a store that is read a batch at a time
        raise UserError(f"Training stopped at step {step}: {error}") from error


def _order(config: SaeConfig) -> tuple[int, int]:
    """What decides the order of the data."""
    return config.seed, config.batch_size


def _learners(rows: Rows, configs: Sequence[SaeConfig], batches: dict, device: torch.device) -> list[Learner]:
    scales = {key: _norm_factor(rows, batches[key]) for key in batches}
    first = {key: rows.take(batches[key][0]).to(device) for key in batches}
    keyed = [(config, _order(config)) for config in configs]
    return [Learner(config, first[key], scales[key] if config.normalise else 1.0) for config, key in keyed]


def _norm_factor(rows: Rows, batches: Batches) -> float:
    """c = sqrt(E‖x‖²), over the first 101 batches or the whole data, whichever is less; 1 for zeros."""
    count = min(NORM_BATCHES, -(-rows.n // batches.size))
    squares = [float(rows.take(batches[step]).pow(2).sum(dim=1, dtype=torch.float64).mean()) for step in range(count)]
    return float(np.sqrt(np.mean(squares))) or 1.0


def _write(folder: Path, run: dict[str, Any], learners: list[Learner]) -> None:
    for learner in learners:
        learner.check_finite()
    tensors = {f"{i}/{name}": t for i, learner in enumerate(learners) for name, t in learner.tensors().items()}
    checkpoint.write(folder, run, tensors, [learner.facts() for learner in learners])


def _restore(learners: list[Learner], folder: Path, run: dict[str, Any]) -> None:
    if (state := checkpoint.read(folder, run)) is None:
        return
    tensors, facts = state
    try:
        for i, learner in enumerate(learners):
            prefix = f"{i}/"
            own = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
            learner.restore(own, facts[i])
    except Exception as error:  # of another version
        raise checkpoint.unreadable(folder) from error
