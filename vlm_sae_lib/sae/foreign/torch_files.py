"""Torch files of strangers: tensors and plain containers, never code."""

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae.foreign.outline import outline

SETTINGS = type("VisionModelSAERunnerConfig", (), {"__module__": "vit_prisma.sae.config"})
"""An empty class under the name of ViT-Prisma's settings, so that a file of it gives up its fields and runs nothing."""


def tensors_only(path: Path, data: bytes | None = None) -> dict[str, Any]:
    """``torch.load`` that builds nothing but tensors, plain containers and ``SETTINGS``; ``data`` is the file's part
    to read, by default all of it. Raises ``UserError`` for a file that needs more, is damaged, claims more than it has
    or holds no dict."""
    torch.serialization.add_safe_globals([SETTINGS])
    try:
        with path.open("rb") if data is None else io.BytesIO(data) as stream:
            outline(stream)
        state = torch.load(path if data is None else io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} needs unpickling, which can run any code, or is no torch file: open it in the library that wrote "
            "it and save its state_dict alone."
        ) from error
    except Exception as error:  # a damaged pickle raises anything: it is a program whose steps no longer fit together
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"{path} is no readable torch file ({reason}): fetch it again.") from error
    if not isinstance(state, dict):
        raise UserError(f"{path} holds a {type(state).__name__}, not a state dict: save the SAE's state_dict.")
    return state


def uncentred(
    w_enc: Float[Tensor, "d latents"], b_enc: Float[Tensor, " latents"], b_dec: Float[Tensor, " d"]
) -> Float[Tensor, " latents"]:
    """The encoder bias of an SAE that does not subtract b_dec from its input, for ours, which does."""
    return b_enc + b_dec @ w_enc


def just_below(threshold: Tensor) -> Tensor:
    """The largest float32 below a threshold: p ≥ θ is p > just_below(θ)."""
    return torch.nextafter(threshold.float(), torch.tensor(-torch.inf))


def need(state: dict[str, Any], names: tuple[str, ...], path: Path, family: str) -> None:
    """Raise ``UserError`` where tensors are missing, naming them."""
    missing = [name for name in names if not isinstance(state.get(name), Tensor)]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}: it is no {family} SAE that can be read, fetch it again.")
