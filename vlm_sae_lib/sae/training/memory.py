"""Whether there is room to train: what learning holds beside the data, against what the device has free."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.machine.devices import free_bytes, out_of_memory
from vlm_sae_lib.sae.config import Frozen, SaeConfig

GB = 10**9


def learning_bytes(dim: int, n_latents: int, frozen: Frozen = "nothing") -> int:
    """What one SAE holds while it learns, at least: encoder and decoder, and of each that learns the gradient and
    Adam's two moments, all in float32; where the decoder is softly frozen its start too. What a batch takes comes on
    top, and is gone after the step."""
    matrices: dict[Frozen, int] = {"nothing": 4 + 4, "decoder": 4 + 1, "soft_decoder": 4 + 5, "encoder": 1 + 4}
    return matrices[frozen] * dim * n_latents * torch.float32.itemsize


@contextmanager
def room_for(configs: Sequence[SaeConfig], dim: int, device: torch.device) -> Iterator[None]:
    """Inside, SAEs are trained together on ``dim``-wide rows.

    Raises ``UserError``, before anything is made, where what they hold is more than is free; and where memory runs out
    all the same.
    """
    need = sum(learning_bytes(dim, config.n_latents(dim), config.frozen) for config in configs)
    free = free_bytes(device)
    if free is not None and need > free:
        raise UserError(_short(configs, dim, device, need, free))
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise UserError(_short(configs, dim, device, need, free)) from error


def _short(configs: Sequence[SaeConfig], dim: int, device: torch.device, need: int, free: int | None) -> str:
    widths = " + ".join(f"{config.n_latents(dim):,}" for config in configs)
    has = "" if free is None else f", and {free / GB:,.1f} GB were free"
    fewer = ", train fewer SAEs at a time" if len(configs) > 1 else ""
    return (
        f"There is too little memory on {str(device)!r} to train {widths} latents on {dim}-wide activations: they take "
        f"at least {need / GB:,.1f} GB beside the batches{has}; lower expansion or batch_size{fewer}, or close what "
        "else runs there."
    )
