"""Towers made by open_clip: built-in models with a tag or a file of weights, and local model folders."""

from pathlib import Path
from typing import Any

import torch

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.hooks import find_blocks, find_stages
from vlm_sae_lib.loading import believable, loading
from vlm_sae_lib.towers.tower import Tower


def load_open_clip(
    model_name: str,
    tag: str | None,
    *,
    spec: str,
    name: str,
    device: torch.device | None,
    dtype: torch.dtype = torch.float32,
    untrained: int | None = None,
) -> Tower:
    """A tower from open_clip's own factory.

    Args:
        model_name: a built-in model (``ViT-B-32``), ``local-dir:<folder>`` or ``hf-hub:<repo>``.
        tag: a pretrained tag or a file of weights; None for the two kinds of folder, which bring their own.
        untrained: read no weights, and keep those that open_clip draws from this seed.

    Raises:
        UserError: unknown model or tag, missing weights, or a tag trained with QuickGELU for a model without it (or
            the other way round), which open_clip only warns of while every activation is wrong.
    """
    import open_clip

    with loading(spec, "open_clip"):
        believable(config := _config(model_name, tag, spec))
    with loading(spec, "open_clip"), torch.random.fork_rng(enabled=untrained is not None):
        if untrained is not None:
            torch.manual_seed(untrained)
        model, _, preprocess = open_clip.create_model_and_transforms(
            model_name, pretrained=tag, device="cpu", load_weights=untrained is None
        )
        depth = config["vision_cfg"].get("layers", 12)  # 12 is the default of open_clip's CLIPVisionCfg
        if "timm_model_name" in config["vision_cfg"]:
            depth = None  # timm's configurations do not say
    find = find_stages if isinstance(depth, list | tuple) else find_blocks
    return Tower(
        spec=spec,
        name=name,
        module=model.visual,
        model=model,
        blocks=find(model.visual, depth, name),
        project=lambda pixels: model.encode_image(pixels, normalize=False),
        preprocess=preprocess,
        preprocessing=plain(model.visual.preprocess_cfg),
        config={"vision_cfg": config["vision_cfg"], "quick_gelu": config.get("quick_gelu", False)},
        device=device,
        dtype=dtype,
    )


def _config(model_name: str, tag: str | None, spec: str) -> dict[str, Any]:
    """The model's configuration, checked against what its weights were trained with."""
    import open_clip

    folder = Path(model_name.removeprefix("local-dir:"))
    if model_name.startswith("local-dir:") and not list(folder.glob("open_clip*.safetensors")):
        raise UserError(f"{folder} holds no open_clip*.safetensors, so there are no weights to load from it.")
    if model_name.startswith("hf-hub:"):
        return open_clip.get_model_config(model_name)
    try:
        config = open_clip.get_model_config(model_name)
    except Exception as error:  # a damaged file holds anything
        raise UserError(f"{model_name} has no readable open_clip_config.json ({type(error).__name__}).") from error
    if config is None:
        raise UserError(f"open_clip knows no model {model_name}; open_clip.list_models() names those it knows.")
    if tag is None or Path(tag).is_file():
        return config
    trained = open_clip.get_pretrained_cfg(model_name, tag)
    if not trained:
        known = ", ".join(open_clip.list_pretrained_tags_by_model(model_name)) or "none"
        raise UserError(f"{tag} is neither a file nor a tag of open_clip's {model_name}, whose tags are: {known}.")
    if trained.get("quick_gelu", False) != config.get("quick_gelu", False):
        other = model_name.removesuffix("-quickgelu")
        other = other if model_name.endswith("-quickgelu") else f"{model_name}-quickgelu"
        raise UserError(f"QuickGELU mismatch: the weights {tag} need open_clip:{other}/{tag} and not {model_name}.")
    return config


def plain(value: Any) -> Any:
    """Tuples as lists, so that the value is the same before and after a trip through JSON."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, tuple | list) else value
