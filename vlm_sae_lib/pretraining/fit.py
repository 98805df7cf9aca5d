"""One training loop for every pocket model: seeded per step, resumable, with progress."""

import math
import pickle
import time
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import content_hash, whole_file
from vlm_sae_lib.progress import progress

CHECKPOINT_SECONDS = 60


def make_optimisers(model: nn.Module, lr: float, weight_decay: float, muon: Callable[[str], bool]) -> list:
    """Muon for the weight matrices whose name ``muon`` accepts, fused AdamW for the rest.

    Muon reached in five minutes what AdamW alone did not reach in six and a half (one run each, on two cores).
    """
    matrices, others, plain = list[nn.Parameter](), list[nn.Parameter](), list[nn.Parameter]()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            chosen = parameter.ndim == 2 and muon(name)
            (matrices if chosen else others if parameter.ndim >= 2 else plain).append(parameter)
    groups = [{"params": others, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimisers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=True)]
    if matrices:
        optimisers.append(
            torch.optim.Muon(matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        )
    return optimisers


@contextmanager
def mixed_precision(device: str | torch.device):
    """bf16 products with fp32 weights. On a CPU the fused attention's bf16 backward is slower than the plain one
    (29 ms against 4 ms a block, batch 128), so the plain one is asked for there.
    """
    kind = torch.device(device).type
    attention = sdpa_kernel(SDPBackend.MATH) if kind == "cpu" else nullcontext()
    with torch.autocast(kind, torch.bfloat16), attention:
        yield


def cosine_with_warmup(step: int, steps: int, warmup: int = 80) -> float:
    return min(1.0, (step + 1) / warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def fit(
    name: str,
    model: nn.Module,
    optimisers: list,
    loss_at: Callable[[int], Tensor],
    *,
    steps: int,
    lr: float,
    seed: int,
    workspace: Path,
    clip: float = 1.0,
) -> list[tuple[int, float]]:
    """Train ``model`` for ``steps`` steps; ``loss_at(step)`` builds that step's batch and returns its loss.

    Randomness is seeded anew at every step, so that a resumed run takes the very same steps. A checkpoint is written
    every minute; a finished model's checkpoint is kept, and calling again returns at once.

    Returns:
        (step, smoothed loss) at about fifty points.
    """
    path = workspace / f"{name}.pt"
    start, history, smoothed = 0, [], None
    if path.exists():
        state = _read(path)
        model.load_state_dict(state["model"])
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        start, history, smoothed = state["step"], [tuple(row) for row in state["history"]], state["smoothed"]
    saved_at = time.monotonic()
    bar = progress(range(start, steps), name, total=steps)
    bar.update(start)
    for step in bar:
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = lr * cosine_with_warmup(step, steps)
        torch.manual_seed(seed * 1_000_003 + step)
        loss = loss_at(step)
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        for optimiser in optimisers:
            optimiser.step()
        value = float(loss.detach())
        smoothed = value if smoothed is None else 0.98 * smoothed + 0.02 * value
        if step % max(1, steps // 50) == 0 or step == steps - 1:
            history.append((step, smoothed))
            bar.set_postfix(loss=f"{smoothed:.3f}")
        if time.monotonic() - saved_at > CHECKPOINT_SECONDS or step == steps - 1:
            _save(path, model, optimisers, step + 1, history, smoothed)
            saved_at = time.monotonic()
    return history


def _read(path: Path) -> dict:
    try:
        return torch.load(path, weights_only=True)
    except (RuntimeError, OSError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"The half-trained model {path} is damaged: delete it, and training begins anew.") from error


def _save(path: Path, model, optimisers, step: int, history, smoothed) -> None:
    state = {
        "model": model.state_dict(), "optimisers": [optimiser.state_dict() for optimiser in optimisers],
        "step": step, "history": [list(row) for row in history], "smoothed": smoothed,
    }  # fmt: skip
    with whole_file(path) as file:
        torch.save(state, file)


def settings_tag(*parts) -> str:
    """A short tag of what determines a run, so that another request never resumes it."""
    return content_hash([str(part) for part in parts])[:10]


