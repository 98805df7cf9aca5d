"""A VLM from the hub, from a folder or from the pocket world, whole or as far as it sees."""

from typing import Any

import torch

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.loading import loading, locate, model_config
from vlm_sae_lib.machine.devices import choose_device
from vlm_sae_lib.machine.precision import half_precision, quantised
from vlm_sae_lib.pocket.islands import of_kind
from vlm_sae_lib.vlms.families import exact_parts, family_of, known_family
from vlm_sae_lib.vlms.processors import check_picture_tokens
from vlm_sae_lib.vlms.vlm import Vlm


def load_vlm(
    spec: str, *, device: str | torch.device | None = None, square: bool = False, bits: int | None = None
) -> Vlm:
    """Load a VLM: ``"pocket"``, or ``"hf:<repo id, repo id@revision, or folder>"`` in the format of ``transformers``.

    device: the first GPU or the CPU unless named; ``"auto"`` lets accelerate spread the model over what there is.
    square: bring pictures to the tower's own square before they are cut into tiles, see ``Vlm``.
    bits: 4 or 8 quantise the language model by bitsandbytes; the vision tower and the projector stay as they are. None
    leaves all as the checkpoint has it on a GPU, and computes in float32 on the CPU.

    Raises: UserError when there is no such folder or repository, it is gated or out of reach, what lies there is of no
    family known here or is incomplete, or memory is too small; there is no such device; or bits are asked for where
    there is no bitsandbytes.
    """
    return _load(spec, device, square=square, bits=bits)


def load_seeing(spec: str, *, device: str | torch.device | None, dtype: torch.dtype) -> Vlm:
    """A VLM that sees and cannot speak: as :func:`load_vlm`, without the layers of its language model, which are most
    of its weights. For what is asked of the vision tower alone, in ``dtype``."""
    return _load(spec, device, dtype=dtype, speaks=False)


def _load(
    spec: str,
    device: str | torch.device | None,
    *,
    square: bool = False,
    bits: int | None = None,
    dtype: torch.dtype | None = None,
    speaks: bool = True,
) -> Vlm:
    from transformers import AutoModelForImageTextToText, AutoProcessor, __version__

    island = of_kind(spec)
    if island is None and not (spec.startswith("hf:") and len(spec) > 3):
        raise UserError(f"there is no vision-language model {spec!r}: use 'pocket' or 'hf:<repo id or folder>'")
    where, revision = locate(str(island.folder("llava")) if island else spec.removeprefix("hf:"))
    spread = device == "auto"
    device = choose_device(device)
    options: dict[str, Any] = {"device_map": "auto"} if spread else {}
    # half precision on a CPU is slow and coarse
    options["dtype"] = dtype or (torch.float32 if device.type == "cpu" and not spread else "auto")
    with loading(spec, "transformers"):
        config = options["config"] = model_config(where, revision)
        known_family(config.model_type, where)
        if not speaks:
            config.get_text_config().num_hidden_layers = 0
        if bits is not None:
            options["dtype"] = half_precision(device, getattr(config, "dtype", None))
            options["quantization_config"] = quantised(bits, device, options["dtype"], exact_parts(config))
            options.setdefault("device_map", {"": device})
        model, loaded = AutoModelForImageTextToText.from_pretrained(
            where, revision=revision, use_safetensors=True, output_loading_info=True, trust_remote_code=False, **options
        )
        processor = AutoProcessor.from_pretrained(where, revision=revision, trust_remote_code=False)
    if lost := sorted(loaded["missing_keys"]):
        raise UserError(f"{spec} is incomplete: it lacks {len(lost)} of its weights, among them {lost[0]}")
    if getattr(processor, "chat_template", None) is None:
        raise UserError(f"the processor in {where} has no chat template: add a chat_template.jinja to it")
    family = family_of(model, processor)
    seeing = (family.tower, family.projector)
    if not all(weight.is_floating_point() for part in seeing for weight in part.parameters()):
        raise UserError(
            f"transformers {__version__} quantised the vision tower of {spec} too, so nothing can be steered exactly: "
            "leave bits out, or update it by `pip install -U transformers`"
        )
    with loading(spec, "torch"):
        vlm = Vlm(model, processor, spec=spec, device=device, square=square)
        if speaks:
            check_picture_tokens(vlm)
    return vlm
