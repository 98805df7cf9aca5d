"""How many prompts a device holds at once: what one costs, how many fit, and what to do when it was too many.

What a prompt costs at its peak follows from the model's configuration alone, so that it can be told before anything is
loaded. LLaVA-1.5-7B in half precision keeps 0.5 MB of keys and values a token, 0.34 GB for the 646 tokens of a picture
and a question. On a T4 there lie beside the prompts of a batch, at the peak of notebook 5 (profile ``colab``):

- the weights: 4.5 GB, the language model in 4 bits, the tower, the projector and the words' scores in half precision;
- one matrix of the language model unpacked from 4 bits: 0.1 GB;
- the SAE: 34 MB of 4,096 latents, 0.5 GB of 65,536; while a bench is made, three times ``ENCODED_BYTES`` of latents;
- the states of a bench's pictures in float32: 2.4 MB each (577 × 1,024), 0.02 GB of the eight that are scored;
- what CUDA, cuBLAS and the allocator's gaps take.

All but the last two is taken already when it is asked what is free, and for them stands ``RESERVE``.
"""

import gc
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import torch

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.machine.devices import free_bytes, out_of_memory
from vlm_sae_lib.progress import progress

Done = TypeVar("Done")

RESERVE = 0.3
"""The share of free memory that no prompt is promised: a T4 of 15 GB is then filled to less than 13 (``plan``)."""
SCORE_BYTES = 10
"""An attention score as it is, with its mask, and its softmax, taken in float32 whatever the model computes in."""

# ---- what a prompt costs ---------------------------------------------------------------------------------------------


def kv_bytes_per_token(config: Any, dtype: torch.dtype) -> int:
    """Keys and values of one token in all layers of the language model, in bytes.

    config: a ``transformers`` configuration, of the language model or of the VLM around it. Layers that keep a window
    or no cache at all count as full ones.
    """
    shape = _Shape.of(config.get_text_config())
    return shape.layers * 2 * shape.kv_heads * shape.head * dtype.itemsize


def prompt_bytes(
    config: Any,
    tokens: int,
    dtype: torch.dtype,
    *,
    ends: int = 1,
    attention: str | None = None,
    cache: bool = True,
    states: int = 0,
) -> int:
    """What one prompt of so many tokens, those of the answer included, costs at its peak, in bytes:

    - keys and values of all its tokens, and of one layer twice, for a longer cache is made before the old one goes;
    - the activations of one layer, see :func:`layer_bytes`;
    - the scores of all words at each of the ends that are read, in ``dtype`` and in float32;
    - the states that were edited, in float32: each picture's, those of the batch, and one copy on the way.

    config: as in :func:`kv_bytes_per_token`. dtype: what the language model computes in.
    attention: see :func:`layer_bytes`. cache: whether keys and values are kept, as ``generate`` does.
    states: how many numbers the picture's edited states have, tower tokens · d; 0 where nothing is edited beforehand.
    """
    text = config.get_text_config()
    shape = _Shape.of(text)
    kept = kv_bytes_per_token(config, dtype) * tokens if cache else 0
    words = ends * shape.vocabulary * (dtype.itemsize + torch.float32.itemsize)
    edited = 3 * states * torch.float32.itemsize
    return kept + kept // max(1, shape.layers) + layer_bytes(text, tokens, dtype, attention=attention) + words + edited


def picture_bytes(config: Any, dtype: torch.dtype, *, tiles: int = 1, attention: str | None = None) -> int:
    """What one picture costs at its peak in a VLM's vision tower, in bytes: its pixels in float32 and in ``dtype``, the
    activations of one layer, and every layer's output, which LLaVA asks the tower to keep.

    config: the VLM's, or its ``vision_config``. tiles: how many squares the tower sees of a picture.
    """
    vision = getattr(config, "vision_config", config)
    shape = _Shape.of(vision)
    tokens = (vision.image_size // vision.patch_size) ** 2 + 1
    pixels = 3 * vision.image_size**2 * (torch.float32.itemsize + dtype.itemsize)
    kept = (shape.layers + 1) * tokens * shape.width * dtype.itemsize
    return tiles * (pixels + kept + layer_bytes(vision, tokens, dtype, attention=attention))


def layer_bytes(config: Any, tokens: int, dtype: torch.dtype, *, attention: str | None = None) -> int:
    """The activations of one sequence that live at once in one transformer layer without gradients, in bytes.

    That is the most of what its three parts hold, each beside what went in, the residual and the normed: the norm three
    copies in float32; the attention queries and keys before and after their rotation, values, and the heads' output,
    keys and values once more for each head where heads share them; the MLP three times its widest layer. Where scores
    are made, they come on top, heads · tokens², and the attention holds its part in float32, too.

    config: a configuration of the layer's model itself. attention: ``"eager"`` makes scores; so may any other kind
    under a dense mask, and ``"dense"`` says that there is one; and so does torch's own (``"sdpa"``) on a GPU as old as
    a T4 where heads share keys. None is as the configuration has it.
    """
    shape, full = _Shape.of(config), torch.float32.itemsize
    own, shared = shape.heads * shape.head, shape.kv_heads * shape.head
    attention = attention or getattr(config, "_attn_implementation", None) or "sdpa"
    scored = attention in ("eager", "dense") or (attention == "sdpa" and shared < own)
    norm = shape.width * (2 * dtype.itemsize + 3 * full)
    heads = (3 * shape.width + 3 * own + 3 * shared + 2 * own * (shared < own)) * dtype.itemsize
    mlp = 3 * (shape.width + shape.inner) * dtype.itemsize
    scores = shape.heads * tokens**2 * SCORE_BYTES if scored else 0
    return tokens * max(norm, heads + 4 * own * full * scored, mlp) + scores


@dataclass(frozen=True)
class _Shape:
    """Of a transformer, language model or tower, in the names that families agree on."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head: int
    inner: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> Self:
        width, heads = config.hidden_size, config.num_attention_heads
        return cls(
            layers=config.num_hidden_layers,
            width=width,
            heads=heads,
            kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            head=getattr(config, "head_dim", None) or width // heads,
            inner=getattr(config, "intermediate_size", None) or getattr(config, "ffn_dim", None) or 4 * width,
            vocabulary=getattr(config, "vocab_size", None) or 0,
        )


# ---- and how many fit ------------------------------------------------------------------------------------------------


def prompts_at_once(free: int | None, per_prompt: int, *, at_most: int) -> int:
    """How many prompts of so many bytes fit into free memory, ``RESERVE`` of it left alone; at least one.

    ``at_most`` where nobody knows what is free.
    """
    if free is None:
        return at_most
    return max(1, min(at_most, int(free * (1 - RESERVE)) // max(1, per_prompt)))


# ---- and when it was too many ----------------------------------------------------------------------------------------


class Room:
    """The memory of the device that a model runs on: batches that fit, and smaller ones once one did not.

    What was too much is remembered in bytes, and not tried again.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self._proven: int | None = None

    def holds(self, per_item: int, *, at_most: int) -> int:
        """How many items of so many bytes to take at once."""
        return self._within(prompts_at_once(free_bytes(self.device), per_item, at_most=at_most), per_item)

    def run(
        self,
        work: Callable[[Any], Done],
        items: Sequence | torch.Tensor,
        per_item: int,
        *,
        at_once: int | None = None,
        at_most: int = 1,
        what: str = "prompts",
        description: str = "",
    ) -> list[Done]:
        """``work`` of every batch of the items, in order. Where memory is too short for a batch it is halved, which is
        said once; what is finished is kept.

        per_item: bytes, from which the batch follows, unless ``at_once`` names it. description: of the bar, if any.
        Raises: UserError when memory is too short for a single item.
        """
        if at_once is None:
            at_once = self.holds(per_item, at_most=at_most) if len(items) > 1 else 1
        at_once, begun, done = self._within(at_once, per_item), 0, []
        with progress((), description, total=len(items) if description else 0) as bar:
            while begun < len(items):
                batch = items[begun : begun + at_once]
                try:
                    done.append(work(batch))
                except (RuntimeError, MemoryError) as error:
                    if not out_of_memory(error):
                        raise
                else:
                    begun += len(batch)
                    bar.update(len(batch))
                    continue
                at_once = self._halve(len(batch), per_item, what)  # here, where the error holds no tensors any more
        return done

    def _within(self, at_once: int, per_item: int) -> int:
        return at_once if self._proven is None else max(1, min(at_once, self._proven // max(1, per_item)))

    def _halve(self, failed: int, per_item: int, what: str) -> int:
        gpu = self.device.type == "cuda"
        if failed == 1:
            fewer = "load the model in fewer bits (bits=4), " if gpu else ""
            raise UserError(
                f"{'the GPU' if gpu else 'this machine'} has too little free memory for a single one of the {what}: "
                f"close what else runs on it, {fewer}or take a smaller model"
            )
        half = failed // 2
        self._proven = half * max(1, per_item)
        gc.collect()
        if gpu:
            torch.cuda.empty_cache()
        warnings.warn(
            f"{'The GPU' if gpu else 'This machine'} ran out of memory at {failed} {what} at once; going on with "
            f"{half}.", stacklevel=3,
        )  # fmt: skip
        return half
