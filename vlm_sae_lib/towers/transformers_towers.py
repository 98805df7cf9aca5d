"""Towers made by transformers: CLIP, SigLIP, DINOv2, ResNet …, also the vision part of a LLaVA or a full CLIP."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.towers.hooks import find_blocks
from vlm_sae_lib.towers.tower import Tower

# A full model's checkpoint calls its vision part by one of these names, of which releases add and drop levels.
VISION_PREFIX = r"^(model\.)?(vision_tower\.|vision_model\.)+"


def load_transformers(path: str, *, spec: str, name: str, device: torch.device) -> Tower:
    """A tower from a repository on the hub or a folder written by ``save_pretrained``.

    Of a model with language (LLaVA, SigLIP) only the vision part is read. ``projection`` is ``image_embeds`` for a CLIP
    that has its projection, else the pooled output; the bare vision part of a CLIP has none.

    Raises:
        UserError: nothing there, no vision in it, weights or preprocessing missing.
    """
    module, missing = _load_module(path, spec)
    pooler_missing = bool(missing) and all("pooler" in key for key in missing)
    if missing and not pooler_missing:
        raise UserError(f"{spec} lacks {len(missing)} of its vision tower's weights, among them {sorted(missing)[0]}.")
    preprocess, preprocessing = _load_preprocessing(path, spec)
    # CLIP's pooled output is not its image embedding, and a pooler without weights is noise: neither is a projection.
    pooled = module.config.model_type != "clip_vision_model" and not pooler_missing

    def project(pixels: Tensor) -> Tensor | None:
        output = module(pixel_values=pixels)
        embedding = getattr(output, "image_embeds", None)
        if embedding is None and pooled:
            embedding = getattr(output, "pooler_output", None)
        return None if embedding is None else embedding.flatten(1)

    return Tower(
        spec=spec,
        name=name,
        module=module,
        blocks=find_blocks(module, block_count(module.config), name),
        project=project,
        preprocess=preprocess,
        preprocessing=preprocessing,
        config=essential(module.config),
        device=device,
        widths=stage_widths(module.config),
    )


def block_count(config: Any) -> int | None:
    """How many blocks (or stages) the configuration says the tower has."""
    count = getattr(config, "num_hidden_layers", None)
    return count if count is not None else len(getattr(config, "depths", ())) or None


def stage_widths(config: Any) -> tuple[int, ...]:
    """Channels of a convolutional tower's stages, empty for a transformer."""
    return tuple(getattr(config, "hidden_sizes", ()) or ())


def essential(config: Any) -> dict[str, Any]:
    """A configuration without the names, versions and dtypes that do not change what the model computes."""
    loose = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures")
    return json.loads(json.dumps({k: v for k, v in config.to_diff_dict().items() if k not in loose}, default=str))


def _load_module(path: str, spec: str) -> tuple[nn.Module, set[str]]:
    """The vision module and the names of its weights that the checkpoint does not have."""
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(path)
        vision = getattr(config, "vision_config", None)
        with_projection = "CLIPVisionModelWithProjection" in (config.architectures or [])
        options: dict[str, Any] = {"output_loading_info": True}
        if config.model_type == "clip" or with_projection:
            factory = transformers.CLIPVisionModelWithProjection
            if vision is not None:  # the whole model's configuration decides how wide the projection is
                vision.projection_dim = config.projection_dim
                options["config"] = vision
        else:
            factory = transformers.AutoModel
            if vision is not None:
                options |= {"config": vision, "key_mapping": {VISION_PREFIX: ""}}
        with quiet():
            module, loading = factory.from_pretrained(path, **options)
    except Exception as error:  # OSError, ValueError, safetensors' and the hub's own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"transformers could not load {spec}: {reason.rstrip('.')}.") from error
    if getattr(module, "main_input_name", None) != "pixel_values":
        raise UserError(f"{spec} is a {module.config.model_type} and takes no pictures: name a vision model.")
    return module, set(loading["missing_keys"])


@contextmanager
def quiet() -> Iterator[None]:
    """No bar per file and no report on unused weights, which for a text part is as long as the model is deep."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _load_preprocessing(path: str, spec: str) -> tuple[Callable[[Image.Image], Tensor], dict[str, Any]]:
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(path)
    except Exception as error:
        raise UserError(f"{spec} says nothing of preprocessing: add its preprocessor_config.json.") from error

    def preprocess(picture: Image.Image) -> Tensor:
        return processor(images=picture, return_tensors="pt")["pixel_values"][0]

    loose = ("image_processor_type", "processor_class", "transformers_version", "return_tensors", "device")
    facts = {key: value for key, value in processor.to_dict().items() if value is not None and key not in loose}
    return preprocess, json.loads(json.dumps(facts, default=str, sort_keys=True))
