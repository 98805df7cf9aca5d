"""Where a model runs, and whether there was too little room."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from vlm_sae_lib.errors import UserError


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """The device named; for ``None`` and ``"auto"`` the first GPU, or else the CPU.

    Raises ``UserError`` where there is none of that name, and lists those that there are; and where it does not work.
    """
    if device is None or device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        # torch makes devices that are not there, and one, "meta", that holds no numbers
        torch.zeros(1, device=chosen).item()
    except Exception as error:  # each of torch's backends has its own kind
        here, name = devices_here(), str(device)
        if name in (*here, "cuda") and len(here) > 1:
            why = str(error).strip().partition("\n")[0].rstrip(".")
            raise UserError(f"The device {name!r} does not work ({why}): free it, or name another.") from error
        raise UserError(f"There is no device {name!r} here: leave it out, or name {' or '.join(here)}.") from error
    return chosen


def devices_here() -> list[str]:
    """The devices by the names that torch gives them."""
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]


def exactly(device: torch.device) -> AbstractContextManager:
    """Inside, ``torch.autocast`` is off on this kind of device: what promises float32 also computes in it."""
    kind = device.type
    on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if on else nullcontext()


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
