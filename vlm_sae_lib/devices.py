"""Where a model runs, and whether there was too little room."""

import torch
from torch import nn


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """The device named, or else the first GPU, or else the CPU."""
    if device is not None:
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def place(model: nn.Module, device: torch.device | None) -> torch.device:
    """Move a model there, and say where its inputs go; one that accelerate or a quantiser has placed stays."""
    placed = getattr(model, "hf_device_map", None) or getattr(model, "is_quantized", False)
    if device is not None and not placed:
        model.to(device)
    return next(model.parameters()).device


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or the host, has too little memory: not every one has a class of its own."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    signs = ("not enough memory", "can't allocate memory", "out of memory", "alloc_failed")
    return any(sign in str(error).lower() for sign in signs)
