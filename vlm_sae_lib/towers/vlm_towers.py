"""The vision tower inside a VLM, which is the VLM's own: most are trained further together with the language model."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from vlm_sae_lib.hooks import find_blocks
from vlm_sae_lib.towers.tower import Tower
from vlm_sae_lib.towers.transformers_towers import essential, facts

if TYPE_CHECKING:
    from vlm_sae_lib.vlms.vlm import Vlm


def load_vlm_tower(vlm_spec: str, *, device: str | torch.device | None, dtype: torch.dtype) -> Tower:
    """The tower of a VLM as ``load_vlm`` spells it; of its language model no layer is read. Raises: UserError."""
    from vlm_sae_lib.vlms.load import load_seeing

    return tower_of(load_seeing(vlm_spec, device=device, dtype=dtype))


def tower_of(vlm: "Vlm") -> Tower:
    """The vision tower of a loaded VLM, which shares its weights: an edit of the VLM is seen here, too.

    It computes in the VLM's precision. A picture is preprocessed as under ``Vlm(square=True)``: by the VLM's own image
    processor, and where that cuts tiles (all families but LLaVA-1.5) brought to the tower's square, of which only the
    picture as a whole is kept and no tile, so that ``activations`` are the first tile's part of ``Vlm.states``.
    There is no ``projection``: the language model reads a block.
    """
    module, config = vlm.family.tower, vlm.model.config.vision_config
    name = _name(vlm.spec)
    preprocess, preprocessing = _whole_picture(vlm)

    def project(pixels: Tensor) -> None:
        module(pixels)

    return Tower(
        spec=f"vlm:{vlm.spec}",
        name=name,
        module=module,
        blocks=find_blocks(module, config.num_hidden_layers, name),
        project=project,
        preprocess=preprocess,
        preprocessing=preprocessing,
        config=essential(config),
        device=None,  # it stays where the VLM is
        dtype=vlm.dtype,
    )


def _name(vlm_spec: str) -> str:
    """Without an absolute path."""
    folder = Path(vlm_spec.removeprefix("hf:")).expanduser()
    return f"vlm:hf:{folder.resolve().name}" if folder.is_dir() and vlm_spec != "pocket" else f"vlm:{vlm_spec}"


def _whole_picture(vlm: "Vlm") -> tuple[Callable[[Image.Image], Tensor], dict[str, Any]]:
    """From a picture to the tower's pixels (3, height, width), and what that does as plain JSON; without weights."""
    from vlm_sae_lib.vlms.families import squared

    processor = copy.deepcopy(vlm.processor.image_processor)  # the VLM's own goes on cutting as it did
    side, nested, tiled = vlm.family.cut_alike(processor), vlm.family.nested, vlm.family.tiled

    def preprocess(picture: Image.Image) -> Tensor:
        pixels = processor(nested([squared(picture, side)]), return_tensors="pt")["pixel_values"][0]
        return pixels[0] if tiled else pixels

    return preprocess, facts(processor) | ({"first_resized_to": [side, side], "tiles": "whole"} if tiled else {})
