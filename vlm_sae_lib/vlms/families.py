"""What differs between families of VLMs: which block the projector reads, and how its states become picture tokens.

Each is found from the model's configuration and its parts, by the model type that ``config.json`` names:

- ``llava`` (LLaVA-1.5): one tile per picture; ``vision_feature_layer`` says the block (−2: the last but one).
- ``llava_next``, ``llava_onevision``: the picture as a whole and then cut into tiles, each seen by the tower by itself;
  the projected tiles are laid side by side, their padding cut away and a token put at the end of each line.
- ``idefics3``, ``smolvlm`` (SmolVLM): tiles too; the connector reads the tower's last block through its last norm.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures.rgb import to_rgb


class Llava:
    """LLaVA-1.5, and what the other families share. ``model`` and ``processor`` are those of ``transformers``."""

    tiled = False

    def __init__(self, model: Any, processor: Any):
        self.model, self.processor, self.config = model, processor, model.config
        self.core = model.model

    @property
    def tower(self) -> nn.Module:
        return self.core.vision_tower

    @property
    def language_model(self) -> nn.Module:
        return self.core.language_model

    @property
    def projector(self) -> nn.Module:
        """What makes the tower's states into picture tokens."""
        return self.core.multi_modal_projector

    @property
    def drops_first_token(self) -> bool:
        """Whether the projector is kept from the tower's class token."""
        return self.config.vision_feature_select_strategy == "default"

    def block_read(self, n_blocks: int) -> int:
        """Which block's output the projector reads, counted from 0. Raises: UserError unless it is exactly one."""
        # hidden_states[0] is what goes into the first block, so hidden state i + 1 is the output of block i.
        layer = self.config.vision_feature_layer
        layers = [layer] if isinstance(layer, int) else list(layer)
        if len(layers) != 1:
            raise UserError(f"the projector reads {len(layers)} hidden states {layers}: steering needs a single one")
        index = (layers[0] if layers[0] >= 0 else n_blocks + 1 + layers[0]) - 1
        if not 0 <= index < n_blocks:
            raise UserError(f"vision_feature_layer {layers[0]} is not the output of one of the {n_blocks} blocks")
        return index

    def count_tokens_by(self, a_tile: int) -> None:
        """Have the processor put in as many picture tokens as the model makes of so many tokens of a tile.

        Folders of older dates do not say what it counts by, and what others say may be another model's.
        """
        vision = self.config.vision_config
        if hasattr(self.processor, "num_additional_image_tokens"):
            self.processor.patch_size = vision.patch_size
            self.processor.num_additional_image_tokens = a_tile - (vision.image_size // vision.patch_size) ** 2
            self.processor.vision_feature_select_strategy = self.config.vision_feature_select_strategy

    def see_squares(self) -> int | None:
        """Have every picture cut alike; the side in pixels to which it must be brought before, None if as it is."""
        return self.cut_alike(self.processor.image_processor)

    def cut_alike(self, image_processor: Any) -> int | None:
        """What ``see_squares`` does, to one image processor. The first tile is then the picture as a whole."""
        return None

    @staticmethod
    def nested(pictures: Sequence[Image.Image]) -> list:
        """Pictures of as many prompts, one each, as the processor takes them."""
        return list(pictures)

    def features(
        self, states: Float[Tensor, "n tiles tokens d"], size: tuple[int, int] | None
    ) -> Float[Tensor, "n image_tokens width"]:
        """The hook point's output as the language model's picture tokens; ``size``: (height, width) of all pictures."""
        return self._project(states).flatten(1, 2)

    def _project(self, states: Float[Tensor, "n tiles tokens d"]) -> Float[Tensor, "n tiles kept width"]:
        kept = states[:, :, 1:] if self.drops_first_token else states
        return self.projector(kept.flatten(0, 1)).unflatten(0, states.shape[:2])


class LlavaNext(Llava):
    """LLaVA-1.6: the picture as a whole, then its tiles."""

    tiled = True

    def count_tokens_by(self, a_tile: int) -> None:
        super().count_tokens_by(a_tile)
        self.processor.image_processor.image_grid_pinpoints = self.config.image_grid_pinpoints

    def see_squares(self) -> int:
        side = self.cut_alike(self.processor.image_processor)
        self.config.image_grid_pinpoints = [[side, side]]
        return side

    def cut_alike(self, image_processor: Any) -> int:
        side = self.config.vision_config.image_size
        image_processor.image_grid_pinpoints = [[side, side]]
        return side

    def features(self, states: Tensor, size: tuple[int, int] | None) -> Tensor:
        if size is None:
            raise UserError("how tiles are put together follows the picture's size: say it, or load with square=True")
        sizes = torch.tensor([size] * len(states))
        packed, _ = self.core.pack_image_features(
            list(self._project(states)), sizes, image_newline=self.core.image_newline, **self._packing
        )
        return torch.stack(list(packed))

    @property
    def _packing(self) -> dict[str, Any]:
        return {"vision_feature_select_strategy": self.config.vision_feature_select_strategy}


class LlavaOnevision(LlavaNext):
    """LLaVA-OneVision: as LLaVA-1.6, on a SigLIP; too many tiles are drawn together after the projector."""

    def count_tokens_by(self, a_tile: int) -> None:
        super().count_tokens_by(a_tile)
        self.processor.num_image_tokens = a_tile
        self.processor.vision_feature_select_strategy = self.config.vision_feature_select_strategy
        self.processor.vision_aspect_ratio = self.config.vision_aspect_ratio

    @property
    def _packing(self) -> dict[str, Any]:
        return {"vision_aspect_ratio": self.config.vision_aspect_ratio}


class Idefics3(Llava):
    """Idefics3 and SmolVLM: tiles and then the whole, every token through the tower's last norm and the connector."""

    tiled = True
    drops_first_token = False

    @property
    def tower(self) -> nn.Module:
        return self.core.vision_model

    @property
    def projector(self) -> nn.Module:
        return self.core.connector

    @property
    def language_model(self) -> nn.Module:
        return self.core.text_model

    def block_read(self, n_blocks: int) -> int:
        return n_blocks - 1

    def count_tokens_by(self, a_tile: int) -> None:
        self.processor.image_seq_len = a_tile // self.config.scale_factor**2

    def cut_alike(self, image_processor: Any) -> int:
        image_processor.do_image_splitting = False
        return self.config.vision_config.image_size

    @staticmethod
    def nested(pictures: Sequence[Image.Image]) -> list:
        return [[picture] for picture in pictures]

    def features(self, states: Tensor, size: tuple[int, int] | None) -> Tensor:
        normed = self.core.vision_model.post_layernorm(states.flatten(0, 1))
        return self.projector(normed).unflatten(0, states.shape[:2]).flatten(1, 2)


FAMILIES: dict[str, type[Llava]] = {
    "llava": Llava,
    "llava_next": LlavaNext,
    "llava_onevision": LlavaOnevision,
    "idefics3": Idefics3,
    "smolvlm": Idefics3,
}
"""By the model type in config.json."""


def squared(image: Image.Image, side: int | None) -> Image.Image:
    """Any picture as upright RGB, brought to a square of so many pixels a side where there is one to be brought to."""
    image = to_rgb(image)
    return image if side is None else image.resize((side, side), Image.Resampling.BICUBIC)


def exact_parts(config: Any) -> list[str]:
    """Names of the modules that are never quantised, as this release of transformers spells them: the vision tower,
    whose states an intervention changes, what it hands them to, and the scores of the words."""
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    family = family_of(model, None)
    parts = {id(part) for part in (family.tower, family.projector, model.get_output_embeddings())}
    return [name for name, module in model.named_modules() if id(module) in parts]


def family_of(model: Any, processor: Any) -> Llava:
    """The family that a model belongs to. Raises: UserError for one that is not among them."""
    return known_family(model.config.model_type)(model, processor)


def known_family(model_type: str, where: str = "this") -> type[Llava]:
    if model_type not in FAMILIES:
        raise UserError(
            f"{where} is a {model_type!r} model, not a LLaVA or another VLM that can be steered here, which are: "
            f"{', '.join(FAMILIES)}"
        )
    return FAMILIES[model_type]
