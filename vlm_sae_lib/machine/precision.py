"""In what precision a model's weights are held, and how much memory there is for them."""

from collections.abc import Sequence
from typing import Any

import torch

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.machine.devices import free_bytes


def free_gpu_gib() -> float | None:
    """Memory that can be had on the first GPU in GiB (2^30 bytes), see ``free_bytes``; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    free = free_bytes(torch.device("cuda", 0))
    return None if free is None else free / 2**30


def half_precision(device: torch.device, own: Any = None) -> torch.dtype:
    """What a quantised model computes in: the checkpoint's ``own`` half precision where the device has it, float16 on a
    GPU older than bfloat16 (a T4), float32 on the CPU."""
    if device.type == "cpu":
        return torch.float32
    if str(own).removeprefix("torch.") == "float16":
        return torch.float16
    has_bfloat16 = device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if has_bfloat16 else torch.float16


def quantised(bits: int, device: torch.device, dtype: torch.dtype, exact: Sequence[str]) -> Any:
    """The ``BitsAndBytesConfig`` of weights in 4 or 8 bits, all but those of the modules named in ``exact``.

    4 bits are NF4 with quantised constants (QLoRA, arXiv 2305.14314), computed in ``dtype``; 8 are LLM.int8().
    Raises: UserError for other bits, without bitsandbytes, and on a device that it does not know.
    """
    from transformers import BitsAndBytesConfig

    if bits not in (4, 8):
        raise UserError(f"weights are quantised to 4 or 8 bits, not to {bits!r}: leave bits out to keep them whole")
    try:
        import bitsandbytes
    except ImportError as error:
        raise UserError(
            f"{bits} bits need bitsandbytes: install it by `pip install bitsandbytes`, or leave bits out"
        ) from error
    known = getattr(bitsandbytes, "supported_torch_devices", {"cuda"})
    if device.type not in known:
        raise UserError(
            f"{bits} bits need a GPU, and bitsandbytes here does not know {device.type!r}: run where there is one, or "
            "leave bits out, with a smaller model where memory is short"
        )
    if bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(exact))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(exact),  # both kinds of quantisation read it, whatever its name says
    )
