"""Where a model runs, how much room there is, and whether it was too little."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

import torch
from torch import nn

from vlm_sae_lib.errors import UserError

MEMINFO = Path("/proc/meminfo")
CONTAINERS = (  # limit, what is taken, and in which line of its statistics the cached files stand that can be given up
    ("/sys/fs/cgroup/memory.max", "memory.current", "inactive_file"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


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


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside, torch makes what it is not told otherwise in float32 on the CPU, and knows gradients: whatever default
    type, device or mode the caller has set. For what draws and learns, and promises the same bytes everywhere."""
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def place(model: nn.Module, device: torch.device | None) -> torch.device:
    """Move a model there, and say where its inputs go; one that accelerate or a quantiser has placed stays."""
    placed = getattr(model, "hf_device_map", None) or getattr(model, "is_quantized", False)
    if device is not None and not placed:
        model.to(device)
    return next(model.parameters()).device


def free_bytes(device: torch.device) -> int | None:
    """Memory that can be had on a device, in bytes; None where it does not say.

    On a GPU what the driver has, and what torch's allocator holds without using it; on the CPU what the system can give
    without swapping, within the limit of the container.
    """
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    if device.type != "cpu":
        return None
    limits = [left for files in CONTAINERS if (left := _left_in_container(*files)) is not None]
    available = _line(MEMINFO, "MemAvailable:")
    return min([*limits, *([available * 1024] if available is not None else [])], default=None)


def _left_in_container(limit: str, taken: str, cached: str) -> int | None:
    path = Path(limit)
    try:
        most, used = int(path.read_text()), int((path.parent / taken).read_text())
    except (OSError, ValueError):  # no such container, or "max"
        return None
    return max(0, most - used + (_line(path.parent / "memory.stat", cached) or 0))


def _line(path: Path, name: str) -> int | None:
    """The number behind a name in a file of one per line."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(parts[1]) for parts in map(str.split, lines) if parts and parts[0] == name), None)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or the host, has too little memory: not every one has a class of its own."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    signs = ("not enough memory", "can't allocate memory", "out of memory", "alloc_failed")
    return any(sign in str(error).lower() for sign in signs)
