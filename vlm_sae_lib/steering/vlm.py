"""A LLaVA behind one small interface: what it says about a picture, and the place where its vision tower can be edited.

LLaVA's projector reads the output of one block of the vision tower (``vision_feature_layer``, −2 in LLaVA-1.5: the
last block but one). That block is the hook point; whatever stands there is all that the language model ever sees of
the picture (paper §6.1).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from vlm_sae_lib import paths
from vlm_sae_lib.devices import choose_device
from vlm_sae_lib.errors import UserError

Edit = Callable[[Float[Tensor, "n tokens d"]], Float[Tensor, "n tokens d"]]


class Vlm:
    """A LLaVA-style model with its processor.

    Made by :func:`load_vlm`. ``hook_point`` names the tower block the projector reads ("block_4"), ``dim`` is that
    block's width d, ``model`` and ``processor`` are the ``transformers`` objects themselves.
    """

    def __init__(self, model: nn.Module, processor: Any, *, spec: str = "", device: str | torch.device | None = None):
        self.spec = spec
        self.device = choose_device(device)
        self.model = model.to(self.device).eval().requires_grad_(False)
        self.processor = processor
        self._edits: list[Edit] = []
        config = model.config
        blocks = _tower_blocks(model.model.vision_tower, config.vision_config.num_hidden_layers)
        index = _block_read_by_projector(config.vision_feature_layer, len(blocks))
        self.block: nn.Module = blocks[index]
        self.hook_point = f"block_{index}"
        self.dim: int = config.vision_config.hidden_size
        self.drops_first_token: bool = config.vision_feature_select_strategy == "default"

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
        batch_size: int = 64,
    ) -> list[str]:
        """Greedy answers, one for each picture and its prompt; one prompt alone is put to every picture.

        Raises: ValueError when there are not as many prompts as pictures.
        """
        prompts = [prompts] * len(images) if isinstance(prompts, str) else list(prompts)
        if len(prompts) != len(images):
            raise ValueError(f"{len(images)} pictures need as many prompts, not {len(prompts)}")
        words = [""] * len(images)
        for group in self._same_length(prompts, batch_size):
            inputs = self.inputs([images[i] for i in group], [prompts[i] for i in group])
            output = self.model.generate(**inputs, **greedy(max_new_tokens))
            for i, text in zip(group, self.decode(output[:, inputs["input_ids"].shape[1] :]), strict=True):
                words[i] = text
        return words

    @torch.no_grad()
    def logits(self, image: Image.Image, prompt: str) -> Float[Tensor, " vocabulary"]:
        """Scores of the first word of the answer, before the softmax, in float32."""
        return self.model(**self.inputs([image], [prompt]), logits_to_keep=1).logits[0, -1].float()

    # ---- inputs --------------------------------------------------------------------------------------------------

    def chat(self, prompt: str) -> str:
        """The prompt in the model's own chat template, one picture first, the assistant to speak."""
        turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}
        return self.processor.apply_chat_template([turn], add_generation_prompt=True)

    def inputs(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> dict[str, Tensor]:
        """What the model's forward takes. The prompts of one call must have equally many tokens: nothing is padded."""
        pictures = [image.convert("RGB") for image in images]
        batch = self.processor(images=pictures, text=[self.chat(p) for p in prompts], return_tensors="pt")
        return dict(batch.to(self.device, self.model.dtype))

    def pixels(self, images: Sequence[Image.Image]) -> Float[Tensor, "n 3 height width"]:
        """The pictures as the vision tower takes them."""
        pictures = [image.convert("RGB") for image in images]
        pixels = self.processor.image_processor(pictures, return_tensors="pt")["pixel_values"]
        return pixels.to(self.device, self.model.dtype)

    def decode(self, tokens: Tensor) -> list[str]:
        """Token ids to text, one string per row, without special tokens and outer blanks."""
        return [text.strip() for text in self.processor.batch_decode(tokens, skip_special_tokens=True)]

    def _same_length(self, prompts: list[str], batch_size: int) -> Iterator[list[int]]:
        # Prompts of one length go together, so that no padding, and no padding side, can change an answer.
        length = {p: len(self.processor.tokenizer(self.chat(p))["input_ids"]) for p in set(prompts)}
        groups: dict[int, list[int]] = {}
        for i, prompt in enumerate(prompts):
            groups.setdefault(length[prompt], []).append(i)
        for group in groups.values():
            for start in range(0, len(group), batch_size):
                yield group[start : start + batch_size]

    # ---- the hook point ------------------------------------------------------------------------------------------

    @contextmanager
    def edited(self, edit: Edit) -> Iterator["Vlm"]:
        """Replace the hook point's output by ``edit(output)`` while the context lasts; nested edits follow each other.

        The hook is *prepended*. Since version 5, transformers hands the block's output to the projector by a hook of
        its own, installed at the first forward; a hook registered after that with ``register_forward_hook`` alone
        runs too late, and nothing changes but the time it takes.
        """
        if not self._edits:
            self._hook = self.block.register_forward_hook(self._apply_edits, prepend=True)
        self._edits.append(edit)
        try:
            yield self
        finally:
            self._edits.remove(edit)
            if not self._edits:
                self._hook.remove()

    def _apply_edits(self, module: nn.Module, arguments: tuple, output: Tensor | tuple) -> Tensor | tuple:
        states = output[0] if isinstance(output, tuple) else output  # a tuple before transformers 5
        for edit in self._edits:
            states = edit(states)
        return (states, *output[1:]) if isinstance(output, tuple) else states

    @torch.no_grad()
    def states(self, images: Sequence[Image.Image], *, batch_size: int = 64) -> Float[Tensor, "n tokens d"]:
        """The hook point's output as the model has it, before any edit, CLS first where the tower has one; float32."""
        kept: list[Tensor] = []

        def keep(module: nn.Module, arguments: tuple, output: Tensor | tuple) -> None:
            kept.append((output[0] if isinstance(output, tuple) else output).float())

        handle = self.block.register_forward_hook(keep, prepend=True)
        try:
            for start in range(0, len(images), batch_size):
                self.model.model.vision_tower(self.pixels(images[start : start + batch_size]))
        finally:
            handle.remove()
        return torch.cat(kept)

    @cached_property
    def tower_tokens(self) -> int:
        """Tokens per picture at the hook point, CLS included."""
        return self.states([Image.new("RGB", (64, 64), "white")]).shape[1]

    def features(self, states: Float[Tensor, "n tokens d"]) -> Float[Tensor, "n image_tokens width"]:
        """Hook-point states to the language model's picture tokens: drop CLS as configured, project."""
        kept = states[:, 1:] if self.drops_first_token else states
        return self.model.model.multi_modal_projector(kept.to(self.device, self.model.dtype))

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


def load_vlm(spec: str, *, device: str | torch.device | None = None) -> Vlm:
    """Load a LLaVA: ``"pocket"``, or ``"hf:<repo id or folder>"`` for one in the format of ``transformers``.

    Raises: UserError when there is no such folder or repository, or what lies there is not a LLaVA.
    """
    if spec == "pocket":
        return _load(str(paths.pocket() / "llava"), spec, device)
    if spec.startswith("hf:") and len(spec) > 3:
        return _load(spec.removeprefix("hf:"), spec, device)
    raise UserError(f"there is no vision-language model {spec!r}: use 'pocket' or 'hf:<repo id or folder>'")


def _load(where: str, spec: str, device: str | torch.device | None) -> Vlm:
    from transformers import AutoConfig, AutoProcessor, LlavaForConditionalGeneration
    from transformers.utils import logging

    folder = Path(where).expanduser()
    looks_like_a_folder = folder.is_absolute() or where.startswith((".", "~")) or where.count("/") > 1
    if folder.is_dir():
        where = str(folder)
    elif looks_like_a_folder:
        raise UserError(f"there is no folder {where}: give the folder of a LLaVA, or a repository as hf:<owner>/<name>")
    device = choose_device(device)
    logging.disable_progress_bar()  # its bars would stay in a notebook's outputs
    try:
        config = AutoConfig.from_pretrained(where)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{where} has no readable config.json of a LLaVA ({_first_sentence(error)})") from error
    if config.model_type != "llava":
        raise UserError(f"{where} holds a {config.model_type!r} model, not a LLaVA: give a LLaVA-1.5-style model")
    try:
        dtype = torch.float32 if device.type == "cpu" else "auto"  # half precision on a CPU is slow and coarse
        model = LlavaForConditionalGeneration.from_pretrained(where, dtype=dtype, use_safetensors=True)
        processor = AutoProcessor.from_pretrained(where)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"the LLaVA in {where} is incomplete or damaged ({_first_sentence(error)})") from error
    if getattr(processor, "chat_template", None) is None:
        raise UserError(f"the processor in {where} has no chat template: add a chat_template.jinja to it")
    return Vlm(model, processor, spec=spec, device=device)


def _tower_blocks(tower: nn.Module, n_blocks: int) -> nn.ModuleList:
    # By structure, not by name: transformers has moved encoder.layers in and out of .vision_model.
    for module in tower.modules():
        if isinstance(module, nn.ModuleList) and len(module) == n_blocks:
            return module
    raise UserError(f"no list of {n_blocks} blocks was found in the vision tower {type(tower).__name__}")


def _block_read_by_projector(layer: int | list[int], n_blocks: int) -> int:
    # hidden_states[0] is what goes into the first block, so hidden state i + 1 is the output of block i.
    layers = [layer] if isinstance(layer, int) else list(layer)
    if len(layers) != 1:
        raise UserError(f"the projector reads {len(layers)} hidden states {layers}: steering needs one that reads one")
    index = (layers[0] if layers[0] >= 0 else n_blocks + 1 + layers[0]) - 1
    if not 0 <= index < n_blocks:
        raise UserError(f"vision_feature_layer {layers[0]} is not the output of one of the tower's {n_blocks} blocks")
    return index


def _first_sentence(error: Exception) -> str:
    return str(error).strip().splitlines()[0].split(". ")[0].rstrip(".") if str(error).strip() else type(error).__name__
