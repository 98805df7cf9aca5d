"""What a model costs, from its configuration: laid out on the meta device, where a weight has a shape and no bytes.

The configurations of the checkpoints that the profiles name travel with the repository (``data/checkpoints.json``), so
that a plan needs no network; of others ``transformers`` is asked. Operations are counted by torch's own counter.
"""

import json
from dataclasses import dataclass, replace
from functools import cache, cached_property
from inspect import signature
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.hooks import PROJECTION, find_blocks
from vlm_sae_lib.loading import loading, model_config, split_revision
from vlm_sae_lib.towers import Tower, load_tower
from vlm_sae_lib.vlms.families import family_of

MULTIPLY_ADD = 2
"""Operations of one weight for one token."""


@dataclass(frozen=True, eq=False)
class ModelCost:
    """A tower or a VLM of ``transformers``, known by its configuration.

    ``fetched`` is the size of its download in bytes, ``seen`` the side of the picture that its tower sees, in pixels.
    """

    name: str
    config: Any
    fetched: int
    seen: int

    @property
    def speaks(self) -> bool:
        """Whether it is a VLM."""
        import transformers as hf

        return type(self.config) in hf.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    @cached_property
    def model(self) -> nn.Module:
        """The model as the library loads it, without weights; of a CLIP the vision part with its projection, of another
        model of pictures and texts the vision part."""
        import transformers as hf

        config = self.config
        with torch.device("meta"):
            if self.speaks:
                model = hf.AutoModelForImageTextToText.from_config(config)
                model.tie_weights()
                return model.eval()
            if config.model_type == "clip":
                config.vision_config.projection_dim = config.projection_dim
                return hf.CLIPVisionModelWithProjection(config.vision_config).eval()
            return hf.AutoModel.from_config(self.vision).eval()

    @property
    def vision(self) -> Any:
        """The tower's configuration."""
        return getattr(self.config, "vision_config", None) or self.config

    @property
    def dim(self) -> int:
        """Width of a block's output."""
        return self.vision.hidden_size

    def width(self, hook_point: str) -> int:
        """Width d of the activations at a hook point."""
        return self.projection_dim if hook_point == PROJECTION else self.dim

    @property
    def projection_dim(self) -> int:
        """Width of the image embedding."""
        return self.config.projection_dim if self.config.model_type == "clip" else self.dim

    @cached_property
    def tower_tokens(self) -> int:
        """Tokens at a hook point, the class token included where there is one."""
        grid = (self.seen // self.vision.patch_size) ** 2
        return grid + ("siglip" not in self.vision.model_type and "idefics3" not in self.vision.model_type)

    @cached_property
    def tower_flop(self) -> int:
        """Operations for one picture: its blocks', which leave out the patches' embedding, less than a hundredth."""
        tower = family_of(self.model, None).tower if self.speaks else self.model
        blocks = find_blocks(tower, self.vision.num_hidden_layers, self.name)
        states = torch.empty(1, self.tower_tokens, self.dim, device="meta")
        masked = "attention_mask" in signature(blocks[0].forward).parameters
        return len(blocks) * _counted(lambda: blocks[0](states, **({"attention_mask": None} if masked else {})))

    @property
    def tower_weights(self) -> int:
        """How many weights the tower has."""
        return _weights(family_of(self.model, None).tower if self.speaks else self.model)

    # ---- of a VLM ------------------------------------------------------------------------------------------------

    @cached_property
    def picture_tokens(self) -> int:
        """Tokens of a picture that the language model reads; of a family with tiles, of the whole picture alone."""
        grid = (self.seen // self.vision.patch_size) ** 2
        return grid // getattr(self.config, "scale_factor", 1) ** 2

    def prompt_flop(self, words: int) -> int:
        """Operations of the language model for one prompt: a picture and so many other tokens."""
        return _prompt_flop(self, self.picture_tokens + words)

    @property
    def word_flop(self) -> int:
        """Operations for one more token of an answer."""
        return MULTIPLY_ADD * self.language_weights

    @cached_property
    def language_weights(self) -> int:
        """Weights that a quantiser takes: those of the language model's layers."""
        layers: Any = family_of(self.model, None).language_model.layers
        return sum(w.numel() for w in layers.parameters())

    @cached_property
    def weights(self) -> int:
        """All weights, shared ones once."""
        return _weights(self.model)

    def bytes_held(self, bits: int | None, per_weight: int) -> int:
        """Bytes in memory with the language model's layers in ``bits`` (None: as the others), the others exact.

        Four bits are NF4 with quantised constants: 0.516 bytes a weight (arXiv 2305.14314, §3).
        """
        held = {None: float(per_weight), 4: 0.516, 8: 1.0}[bits]
        quantised = self.language_weights if self.speaks else 0
        return int(quantised * held + (self.weights - quantised) * per_weight)


@dataclass(frozen=True)
class PocketTower:
    """A tower of the pocket world, small enough to be looked at itself: the same facts, counted on one picture."""

    spec: str
    fetched: int = 0

    @cached_property
    def tower(self) -> Tower:
        return load_tower(self.spec, device="cpu")

    @cached_property
    def tower_flop(self) -> int:
        return _counted(lambda: self.tower.activations([Image.new("RGB", (64, 64))], self.tower.hook_points[-1]))

    @property
    def tower_weights(self) -> int:
        return _weights(self.tower.module)

    @property
    def tower_tokens(self) -> int:
        return self.tower.tokens("block_0")

    @property
    def dim(self) -> int:
        return self.tower.dim("block_0")

    @property
    def projection_dim(self) -> int:
        return self.tower.dim(PROJECTION)

    def width(self, hook_point: str) -> int:
        return self.tower.dim(hook_point)


@cache
def tower_cost(spec: str) -> ModelCost | PocketTower:
    """What a tower costs, as ``load_tower`` spells it. Raises: UserError where nothing is known of it."""
    kind = spec.partition(":")[0]
    if kind not in ("pocket", "hf", "vlm"):
        raise UserError(f"Of {spec} no plan is made: only towers of transformers and of the pocket world are counted.")
    return PocketTower(spec) if kind == "pocket" else vlm_cost(spec.removeprefix("vlm:"))


@cache
def vlm_cost(spec: str) -> ModelCost:
    """What a VLM costs (or another model of the hub), as ``load_vlm`` spells it. Raises: UserError."""
    from transformers import AutoConfig

    given = str(paths.pocket() / "llava") if spec == "pocket" else spec.removeprefix("hf:")
    where, revision = split_revision(given)
    known = json.loads((paths.data() / "checkpoints.json").read_text(encoding="utf-8")).get(where)
    if known:
        facts = dict(known["config"])
        config = AutoConfig.for_model(facts.pop("model_type"), **facts)
        return ModelCost(where, config, int(known["fetched"]), known["seen"])
    with loading(spec, "transformers"):
        config = model_config(where, revision)
    vision = getattr(config, "vision_config", None) or config
    if not all(isinstance(getattr(vision, name, None), int) for name in ("patch_size", "image_size")):
        raise UserError(f"{spec} has a tower without square patches, of which no plan is made: name another model.")
    found = ModelCost(where, config, 0, vision.image_size)
    return found if spec == "pocket" else replace(found, fetched=2 * found.weights)


@cache
def _prompt_flop(cost: ModelCost, length: int) -> int:
    language = family_of(cost.model, None).language_model
    states = torch.empty(1, length, cost.config.get_text_config().hidden_size, device="meta")
    mask = torch.empty(1, 1, length, length, device="meta")
    places = torch.arange(length, device="meta")[None]
    return _counted(lambda: language(inputs_embeds=states, attention_mask=mask, position_ids=places, use_cache=False))


def _weights(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _counted(run: Any) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()
