"""A VLM behind one small interface: what it says about a picture, and the place where its vision tower can be edited.

LLaVA's projector reads the output of one block of the vision tower (``vision_feature_layer``, −2 in LLaVA-1.5: the
last block but one). That block is the hook point; whatever stands there is all that the language model ever sees of
the picture (paper §6.1). What other families do differently stands in ``families.py``.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.hooks import changed_output, find_blocks, first_tensor, watched
from vlm_sae_lib.machine.devices import choose_device, place
from vlm_sae_lib.pictures.rgb import to_rgb
from vlm_sae_lib.vlms.families import family_of, squared
from vlm_sae_lib.vlms.memory import Room, picture_bytes, prompt_bytes
from vlm_sae_lib.vlms.processors import WHITE, tokens_of_a_tile

Edit = Callable[[Float[Tensor, "n tokens d"]], Float[Tensor, "n tokens d"]]
AT_MOST = 64
"""Pictures at once where memory has room for more: a larger batch is no quicker."""


class Vlm:
    """A vision-language model with its processor.

    Made by :func:`~vlm_sae_lib.vlms.load.load_vlm`. ``hook_point`` names the tower block the projector reads
    ("block_4"), ``dim`` is that block's width d, ``model`` and ``processor`` are the ``transformers`` objects
    themselves, ``dtype`` is what the tower computes in, which a quantised model's weights do not tell.

    A family that cuts a picture into tiles cuts one of another size otherwise. ``square`` brings every picture to the
    tower's own square first, so that all have equally many tokens; a family without tiles takes them as ever.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        spec: str = "",
        device: str | torch.device | None = None,
        square: bool = False,
    ):
        self.spec = spec
        self.model = model.eval().requires_grad_(False)
        self.device = place(self.model, choose_device(device))
        self.processor = processor
        self._edits: list[Edit] = []
        self._changed = ExitStack()
        self.family = family_of(model, processor)
        depth = model.config.vision_config.num_hidden_layers
        index = self.family.block_read(depth)
        blocks = find_blocks(self.family.tower, depth, f"the vision tower of {spec or 'this model'}")
        self.block: nn.Module = blocks[index]
        self.hook_point = f"block_{index}"
        self.dim: int = model.config.vision_config.hidden_size
        self.dtype = next(weight.dtype for weight in self.family.tower.parameters())
        self.room = Room(self.device)
        self._counted: dict[tuple[int, int], tuple[int, int]] = {}
        self._side: int | None = None
        self.tokens_of_a_tile = tokens_of_a_tile(self, blocks[0])
        self.family.count_tokens_by(self.tokens_of_a_tile)
        if square:
            self._side = self.family.see_squares()

    # ---- words ---------------------------------------------------------------------------------------------------

    def answer(self, image: Image.Image, prompt: str, *, max_new_tokens: int = 32) -> str:
        """What the model says, greedily, about one picture."""
        return self.answers([image], [prompt], max_new_tokens=max_new_tokens)[0]

    @torch.no_grad()
    def answers(
        self,
        images: Sequence[Image.Image],
        prompts: str | Sequence[str],
        *,
        max_new_tokens: int = 32,
        batch_size: int | None = None,
    ) -> list[str]:
        """Greedy answers, one for each picture and its prompt; one prompt alone is put to every picture.

        batch_size: how many at once; None: as many as memory holds. Where there was too little, it is halved.
        Raises: ValueError when there are not as many prompts as pictures; UserError where not even one fits in memory.
        """
        prompts = [prompts] * len(images) if isinstance(prompts, str) else list(prompts)
        if len(prompts) != len(images):
            raise ValueError(f"{len(images)} pictures need as many prompts, not {len(prompts)}")
        words = [""] * len(images)

        def say(group: list[int]) -> None:
            inputs = self.inputs([images[i] for i in group], [prompts[i] for i in group])
            output = self.model.generate(**inputs, **greedy(max_new_tokens))
            for i, text in zip(group, self.decode(output[:, inputs["input_ids"].shape[1] :]), strict=True):
                words[i] = text

        for (length, size), group in self._alike(images, prompts).items():
            cost = self._answer_bytes(length + max_new_tokens, size)
            self.room.run(say, group, cost, at_once=batch_size, at_most=AT_MOST)
        return words

    @torch.no_grad()
    def logits(self, image: Image.Image, prompt: str) -> Float[Tensor, " vocabulary"]:
        """Scores of the first word of the answer, before the softmax, in float32.

        Raises: UserError where memory is too short for it.
        """

        def read(group: list[Image.Image]) -> Tensor:
            return self.model(**self.inputs(group, [prompt]), logits_to_keep=1).logits[0, -1].float()

        return self.room.run(read, [image], 1)[0]

    # ---- inputs --------------------------------------------------------------------------------------------------

    def chat(self, prompt: str) -> str:
        """The prompt in the model's own chat template, one picture first, the assistant to speak."""
        turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}
        return self.processor.apply_chat_template([turn], add_generation_prompt=True)

    def inputs(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> dict[str, Tensor]:
        """What the model's forward takes. The prompts of one call must have equally many tokens: nothing is padded."""
        pictures = self.family.nested([squared(image, self._side) for image in images])
        batch = self.processor(images=pictures, text=[self.chat(p) for p in prompts], return_tensors="pt")
        batch.pop("token_type_ids", None)  # some tokenizers make them, and no model here takes them
        return dict(batch.to(self.device, self.dtype))

    def pixels(self, images: Sequence[Image.Image]) -> Float[Tensor, "n *tiles 3 height width"]:
        """The pictures as the vision tower takes them, with an axis of tiles where the family has them.

        Raises: UserError when the pictures are cut into different numbers of tiles.
        """
        pictures, processor = [squared(image, self._side) for image in images], self.processor.image_processor
        if not self.family.tiled:
            return processor(pictures, return_tensors="pt")["pixel_values"].to(self.device, self.dtype)
        tiles = [processor(self.family.nested([p]), return_tensors="pt")["pixel_values"][0] for p in pictures]
        if len({len(cut) for cut in tiles}) > 1:
            raise UserError("pictures of these sizes are cut into different numbers of tiles: load with square=True")
        return torch.stack(tiles).to(self.device, self.dtype)

    def decode(self, tokens: Tensor) -> list[str]:
        """Token ids to text, one string per row, without special tokens and outer blanks."""
        return [text.strip() for text in self.processor.batch_decode(tokens, skip_special_tokens=True)]

    def _alike(
        self, images: Sequence[Image.Image], prompts: list[str]
    ) -> dict[tuple[int, tuple[int, int] | None], list[int]]:
        # Prompts of one length go together, so that no padding, and no padding side, can change an answer; where
        # pictures are cut into tiles, so do pictures of one size.
        length = {p: len(self.processor.tokenizer(self.chat(p))["input_ids"]) for p in set(prompts)}
        groups: dict[tuple[int, tuple[int, int] | None], list[int]] = {}
        for i, prompt in enumerate(prompts):
            size = to_rgb(images[i]).size if self.family.tiled and self._side is None else None
            groups.setdefault((length[prompt], size), []).append(i)
        return groups

    def _answer_bytes(self, words: int, size: tuple[int, int] | None) -> int:
        """What an answer costs in memory: first the picture in the tower, then all tokens in the language model."""
        tokens, tiles = self.picture_tokens(size or WHITE.size)
        text = prompt_bytes(self.model.config, words + tokens, self.text_dtype)
        return max(picture_bytes(self.model.config, self.dtype, tiles=tiles), text)

    @property
    def text_dtype(self) -> torch.dtype:
        """What the language model computes in."""
        return self.model.get_input_embeddings().weight.dtype

    def picture_tokens(self, size: tuple[int, int]) -> tuple[int, int]:
        """How many tokens the processor puts in for a picture of a size (width, height), and how many tiles it cuts."""
        if size not in self._counted:
            inputs = self.inputs([WHITE.resize(size)], ["?"])
            tokens = int((inputs["input_ids"] == self.model.config.image_token_id).sum())
            self._counted[size] = tokens, len(inputs["pixel_values"].flatten(0, -4))
        return self._counted[size]

    # ---- the hook point ------------------------------------------------------------------------------------------

    @contextmanager
    def edited(self, edit: Edit) -> Iterator["Vlm"]:
        """Replace the hook point's output by ``edit(output)`` while the context lasts; nested edits follow each other.

        The block's ``forward`` itself is replaced: a hook may come too late for the projector, and nothing would change
        but the time it takes (see ``changed_output``).
        """
        if not self._edits:
            self._changed.enter_context(changed_output(self.block, self._apply_edits))
        self._edits.append(edit)
        try:
            yield self
        finally:
            self._edits.remove(edit)
            if not self._edits:
                self._changed.close()

    def _apply_edits(self, output: Tensor | tuple) -> Tensor | tuple:
        states = first_tensor(output)  # some towers' blocks give a tuple
        for edit in self._edits:
            states = edit(states)
        return (states, *output[1:]) if isinstance(output, tuple) else states

    @torch.no_grad()
    def states(self, images: Sequence[Image.Image], *, batch_size: int | None = None) -> Float[Tensor, "n tokens d"]:
        """The hook point's output as the model has it, before any edit, CLS first where the tower has one; float32.

        The tokens of a picture's tiles follow each other. batch_size: as in :meth:`answers`.
        Raises: UserError as :meth:`pixels`, and where not even one picture fits in memory.
        """

        def see(group: list[Image.Image]) -> Tensor:
            pixels = self.pixels(group)
            kept: list[Tensor] = []
            with watched(self.block, lambda module, arguments, output: kept.append(first_tensor(output).float())):
                self.family.tower(pixels.flatten(0, -4))
            return kept[0].reshape(len(pixels), -1, self.dim)

        edits, self._edits = self._edits, []
        try:
            cost = picture_bytes(self.model.config, self.dtype, tiles=self._tiles)
            seen = self.room.run(see, images, cost, at_once=batch_size, at_most=AT_MOST, what="pictures")
        finally:
            self._edits = edits
        return torch.cat(seen)

    @property
    def tower_tokens(self) -> int:
        """Tokens per picture at the hook point, CLS included."""
        return self.tokens_of_a_tile * self._tiles

    @cached_property
    def _tiles(self) -> int:
        """Into how many tiles a white square is cut."""
        return len(self.pixels([WHITE]).flatten(0, -4))

    def features(
        self, states: Float[Tensor, "n tokens d"], size: tuple[int, int] | None = None
    ) -> Float[Tensor, "n image_tokens width"]:
        """Hook-point states to the language model's picture tokens: drop CLS as configured, project, join the tiles.

        size: (height, width) of the pictures; only families with tiles ask for it, and not under ``square``.
        """
        a_tile = self.tokens_of_a_tile if self.family.tiled else states.shape[1]
        tiles = states.to(self.device, self.dtype).unflatten(1, (-1, a_tile))
        return self.family.features(tiles, (self._side, self._side) if self._side else size)

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 over the names and bytes of all weights."""
        digest = hashlib.sha256()
        for name, weight in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def greedy(max_new_tokens: int) -> dict[str, Any]:
    """Settings for ``generate`` under which the same picture always gets the same words."""
    return {"max_new_tokens": max_new_tokens, "do_sample": False, "num_beams": 1, "temperature": None, "top_p": None}
