"""Towers made by transformers: CLIP, SigLIP, DINOv2, AIMv2, ResNet …, also the vision part of a LLaVA or of a CLIP."""

import json
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.hooks import find_blocks
from vlm_sae_lib.loading import loading, model_config, split_revision, way_out
from vlm_sae_lib.towers import masking, patches
from vlm_sae_lib.towers.tower import Tower

# A full model's checkpoint calls its vision part by some of these names, of which releases add and drop levels.
VISION_PREFIX = r"^(model\.)?(vision_tower\.|vision_model\.)+"


def load_transformers(
    path: str, *, spec: str, name: str, device: torch.device | None, dtype: torch.dtype = torch.float32
) -> Tower:
    """A tower from a repository on the hub (``owner/name``, or ``owner/name@revision``) or a saved folder.

    Of a model with language (LLaVA, SigLIP) only the vision part is read. ``device`` None lets accelerate place it.

    Raises:
        UserError: nothing there, no vision in it, weights or preprocessing missing.
    """
    module, missing = _load_module(path, spec, device)
    pooler_missing = bool(missing) and all("pooler" in key for key in missing)
    if missing and not pooler_missing:
        raise UserError(f"{spec} lacks {len(missing)} of its vision tower's weights, among them {sorted(missing)[0]}.")
    processor = _load_processor(path, spec)
    return transformers_tower(module, processor, spec=spec, name=name, device=device, dtype=dtype,
                              pooled=not pooler_missing)  # fmt: skip


def transformers_tower(
    module: Any,
    processor: Any,
    *,
    spec: str,
    name: str,
    device: torch.device | None,
    dtype: torch.dtype = torch.float32,
    pooled: bool = True,
) -> Tower:
    """A tower around a vision model of transformers and its image processor.

    ``projection`` is ``image_embeds`` for a CLIP that has its projection, else the pooled output (SigLIP's and AIMv2's
    attention head, DINO's normalised class token); the bare vision part of a CLIP has none, nor does a tower with
    ``pooled`` False, whose pooler came without weights.
    """
    # CLIP's pooled output is not its image embedding, and a pooler without weights is noise: neither is a projection.
    pooled = pooled and module.config.model_type != "clip_vision_model"
    forward: Callable[[Tensor], Any] = lambda pixels: module(pixel_values=pixels)  # noqa: E731
    preprocess = _preprocess(processor)
    if patches.takes_patches(module):
        forward, preprocess = patches.forward(module), patches.preprocess(module, processor)
    if masking.masks_patches(module):
        forward = masking.forward(module)

    def project(pixels: Tensor) -> Tensor | None:
        output = forward(pixels)
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
        preprocessing=facts(processor),
        config=essential(module.config),
        device=device,
        dtype=dtype,
        widths=stage_widths(module.config),
    )


def block_count(config: Any) -> int | None:
    """How many blocks (or stages) the configuration says the tower has."""
    count = getattr(config, "num_hidden_layers", None)
    return count if count is not None else len(getattr(config, "depths", ())) or None


def stage_widths(config: Any) -> tuple[int, ...]:
    """Channels of a convolutional tower's stages; the one width of a transformer, which may keep a map, too (SAM's)."""
    width = getattr(config, "hidden_size", None)
    return tuple(getattr(config, "hidden_sizes", ()) or ((width,) if isinstance(width, int) else ()))


def essential(config: Any) -> dict[str, Any]:
    """A configuration without the names, versions and dtypes that do not change what the model computes."""
    loose = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures")
    return json.loads(json.dumps({k: v for k, v in config.to_diff_dict().items() if k not in loose}, default=str))


def _load_module(path: str, spec: str, device: torch.device | None) -> tuple[Any, set[str]]:
    """The vision module and the names of its weights that the checkpoint does not have."""
    import transformers

    path, revision = split_revision(path)
    with loading(spec, "transformers"):
        config = model_config(path, revision)
        vision = getattr(config, "vision_config", None)
        with_projection = "CLIPVisionModelWithProjection" in (config.architectures or [])
        options: dict[str, Any] = {"output_loading_info": True, "revision": revision, "trust_remote_code": False}
        if device is None:
            options["device_map"] = "auto"
        if config.model_type == "clip" or with_projection:
            factory = transformers.CLIPVisionModelWithProjection
            if vision is not None:  # the whole model's configuration decides how wide the projection is
                vision.projection_dim = config.projection_dim
                options["config"] = vision
        else:
            factory = transformers.AutoModel
            if type(vision or config) not in transformers.MODEL_MAPPING:
                part = f"the vision part of {config.model_type}" if vision is not None else config.model_type
                raise UserError(f"{spec} cannot be loaded, since transformers has no model class for {part} alone: "
                                "name another vision model.")  # fmt: skip
            if vision is not None:
                options |= {"config": vision, "key_mapping": {VISION_PREFIX: _own_prefix(factory, vision)}}
        module, loaded = factory.from_pretrained(path, **options)
    _refuse_without_pictures(module, spec)
    return module, set(loaded["missing_keys"])


def _refuse_without_pictures(module: Any, spec: str) -> None:
    """Raises UserError, with the reason, for a model that is not handed pictures of one size and nothing else."""
    takes = signature(module.forward).parameters
    who = f"{spec} is a {module.config.model_type}"
    if {"grid_thw", "image_grid_thw"} & takes.keys():
        raise UserError(f"{who}, whose tower takes the patches of all pictures as one list, as many as each picture's "
                        "size makes, so that a hook point has no fixed number of tokens: name a tower that takes "
                        "pictures of one size.")  # fmt: skip
    if "input_ids" in takes and "pixel_values" in takes:
        raise UserError(f"{who}, which takes text beside the picture: name the checkpoint of a vision model alone.")
    if any("video" in name for name in takes) and "pixel_values" not in takes:
        raise UserError(f"{who}, which takes videos and no pictures: name a vision model for pictures.")
    if "pixel_values" not in takes:
        raise UserError(f"{who} and takes no pictures (its input is {next(iter(takes))}): name a vision model.")
    if not patches.takes_patches(module):
        others = [name for name, p in takes.items() if name != "pixel_values" and p.default is p.empty
                  and p.kind is not p.VAR_KEYWORD and p.kind is not p.VAR_POSITIONAL]  # fmt: skip
        if others:
            raise UserError(f"{who}, which takes {' and '.join(others)} beside the pixels: name a vision model that "
                            "takes a picture alone.")  # fmt: skip


def _own_prefix(factory: Any, config: Any) -> str:
    """What this release calls the vision part within the vision model: nothing since 5.6, ``vision_model.`` before."""
    with torch.device("meta"):
        names = factory.from_config(config).state_dict()
    return "vision_model." if all(name.startswith("vision_model.") for name in names) else ""


def _load_processor(path: str, spec: str) -> Any:
    from transformers import AutoImageProcessor

    path, revision = split_revision(path)
    try:
        return AutoImageProcessor.from_pretrained(path, revision=revision, trust_remote_code=False)
    except Exception as error:
        if not Path(path).expanduser().is_dir():  # of a repository it may be the network's fault
            raise UserError(f"transformers could not load {spec}: {way_out(error, spec)}.") from error
        raise UserError(f"{spec} says nothing of preprocessing: add its preprocessor_config.json.") from error


def _preprocess(processor: Any) -> Callable[[Image.Image], Tensor]:
    return lambda picture: processor(images=picture, return_tensors="pt")["pixel_values"][0]


def facts(processor: Any) -> dict[str, Any]:
    """What an image processor does, as plain JSON."""
    loose = ("image_processor_type", "processor_class", "transformers_version", "return_tensors", "device")
    facts = {key: value for key, value in processor.to_dict().items() if value is not None and key not in loose}
    return json.loads(json.dumps(facts, default=str, sort_keys=True))
