"""Hook points found by structure, and the hooks themselves.

No path such as ``vision_model.encoder.layers`` is spelled out: it changes with every release of transformers. The
blocks are the list of modules that is as long as the configuration says the tower is deep.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from vlm_sae_lib.errors import UserError

PROJECTION = "projection"
"""The hook point behind all blocks: what a picture is compared by."""


def find_blocks(module: nn.Module, depth: int | None, where: str) -> list[nn.Module]:
    """The residual blocks (or stages) of a vision tower.

    They are the outermost ``ModuleList`` or ``Sequential`` with ``depth`` members of one class; of several such lists
    the one with the most parameters. Without a ``depth`` every such list of two or more is a candidate.

    Raises:
        UserError: there is no such list.
    """
    found: list[nn.ModuleList | nn.Sequential] = []

    def search(parent: nn.Module) -> None:
        for child in parent.children():
            if isinstance(child, nn.ModuleList | nn.Sequential) and _is_stack(child, depth):
                found.append(child)  # lists inside a list of blocks are parts of blocks: do not look there
            else:
                search(child)

    search(module)
    if not found:
        raise UserError(f"{where} has no list of {depth or 'equal'} blocks, so no hook points can be found in it.")
    return list(max(found, key=lambda blocks: sum(p.numel() for p in blocks.parameters())))


def find_stages(module: nn.Module, depths: Sequence[int], where: str) -> list[nn.Module]:
    """The stages of a convolutional tower: consecutive ``Sequential`` children with these lengths.

    Raises:
        UserError: there are none.
    """
    for parent in module.modules():
        stages = [child for child in parent.children() if isinstance(child, nn.Sequential)]
        for start in range(len(stages) - len(depths) + 1):
            run = stages[start : start + len(depths)]
            if [len(stage) for stage in run] == list(depths):
                return list(run)
    raise UserError(f"{where} has no stages of {list(depths)} layers, so no hook points can be found in it.")


def _is_stack(blocks: nn.ModuleList | nn.Sequential, depth: int | None) -> bool:
    same_class = len({type(block) for block in blocks}) == 1
    return same_class and (len(blocks) == depth if depth else len(blocks) > 1)


class Layout:
    """How one block's output is laid out, and the way to and from (batch, tokens, d).

    Read from outputs for two copies of a picture, by the axis that is as long as the batch: some towers run their
    blocks tokens first, and reading such an output batch first mixes pictures without any error. Of a map the channels
    are the axis whose length is among the widths that the configuration names; where none or both are, the axis beside
    a square.
    """

    def __init__(self, shape: torch.Size, batch: int, widths: Sequence[int]):
        if len(shape) == 4:
            first, last = shape[1] in widths, shape[3] in widths
            if first == last:
                first, last = shape[2] == shape[3], shape[1] == shape[2]
            last = last and not first
            self.kind = "n h w c" if last else "n c h w"
            self.n_tokens, self.dim = (shape[1] * shape[2], shape[3]) if last else (shape[2] * shape[3], shape[1])
        elif len(shape) == 3 and (shape[0] == batch) != (shape[1] == batch):
            self.kind = "n t c" if shape[0] == batch else "t n c"
            self.n_tokens, self.dim = (shape[1], shape[2]) if self.kind == "n t c" else (shape[0], shape[2])
        else:
            raise ValueError(f"output of shape {tuple(shape)} for {batch} pictures")

    def tokens(self, tensor: Tensor, batch: int) -> Tensor:
        """(batch, tokens, d); raises RuntimeError if the output has not the shape it had for the blank pictures."""
        if self.kind == "t n c":
            tensor = tensor.transpose(0, 1)
        elif self.kind == "n c h w":
            tensor = tensor.flatten(2).transpose(1, 2)
        elif self.kind == "n h w c":
            tensor = tensor.flatten(1, 2)
        if tensor.shape != (batch, self.n_tokens, self.dim):
            expected = (batch, self.n_tokens, self.dim)
            raise RuntimeError(f"A block gave {tuple(tensor.shape)} and not (batch, tokens, d) = {expected}.")
        return tensor

    def restore(self, tokens: Tensor, like: Tensor) -> Tensor:
        """The inverse of ``tokens``, in the memory order of ``like``: a convolution that is handed another order may
        pick another algorithm and differ in the last bits."""
        if self.kind == "t n c":
            tokens = tokens.transpose(0, 1)
        elif self.kind == "n c h w":
            tokens = tokens.transpose(1, 2)
        return torch.empty_like(like).copy_(tokens.reshape(like.shape))


def first_tensor(output) -> Tensor:
    """A block's hidden states: its output, or the first entry of a tuple."""
    return output[0] if isinstance(output, tuple | list) else output


class _Reached(Exception):
    """Raised by a hook to end a forward pass at its hook point."""


@contextmanager
def watched(block: nn.Module, hook: Callable) -> Iterator[None]:
    handle = block.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def run_until(block: nn.Module, run: Callable[[], object], keep: Callable[[Tensor], Tensor]) -> Tensor:
    """Run a forward pass up to the end of ``block`` and return ``keep(hidden states)``; the rest never runs.

    The hook comes after all others of the block, so it sees what an intervention left there.
    """
    kept: list[Tensor] = []

    def hook(module, args, output):
        kept.append(keep(first_tensor(output)))
        raise _Reached

    with watched(block, hook):
        try:
            run()
        except _Reached:
            return kept[0]
    raise RuntimeError("The forward pass never reached its hook point.")


def outputs(blocks: Sequence[nn.Module], run: Callable[[], Any]) -> tuple[Any, list[torch.Size], Tensor]:
    """The result of a forward pass, the shape of each block's hidden states in it, and those of the last block.

    Raises:
        RuntimeError: the pass left a block out.
    """
    shapes: dict[nn.Module, torch.Size] = {}
    last: list[Tensor] = []

    def hook(module, args, output):
        shapes[module] = first_tensor(output).shape
        if module is blocks[-1]:
            last.append(first_tensor(output).clone())

    with ExitStack() as stack:
        for block in blocks:
            stack.enter_context(watched(block, hook))
        result = run()
    if len(shapes) < len(blocks):
        raise RuntimeError(f"A forward pass ran {len(shapes)} of {len(blocks)} blocks.")
    return result, [shapes[block] for block in blocks], last[0]


@contextmanager
def changed_output(block: nn.Module, change: Callable[[Any], Any]) -> Iterator[None]:
    """Inside the context ``block`` gives ``change(output)``: to who calls it, and to everybody who listens.

    The block's ``forward`` itself is replaced, no hook set. transformers collects hidden states by means of its own,
    and whoever uses them (LLaVA's projector does) sees what these saw. They are hooks on the blocks, and one of ours
    may come after them; the change would then be invisible, without any error.
    """
    own, forward = block.__dict__.get("forward"), block.forward

    @wraps(forward)
    def changed(*arguments: Any, **options: Any) -> Any:
        return change(forward(*arguments, **options))

    block.forward = changed
    try:
        yield
    finally:
        if own is None:
            del block.forward
        else:  # accelerate's, of a model spread over devices
            block.forward = own


@contextmanager
def intervention(block: nn.Module, layout: Layout, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Replace a block's hidden states by ``function`` of them, (n, tokens, d) to the same shape, inside the context.

    Raises:
        ValueError: ``function`` returned another shape.
    """

    def change(output: Any) -> Any:
        hidden = first_tensor(output)
        batch = hidden.shape[1] if layout.kind == "t n c" else hidden.shape[0]
        before = layout.tokens(hidden, batch)
        after = function(before)
        if not isinstance(after, Tensor) or after.shape != before.shape:
            shape = tuple(after.shape) if isinstance(after, Tensor) else type(after).__name__
            raise ValueError(f"The intervention returned {shape} and not {tuple(before.shape)}.")
        changed = layout.restore(after, hidden)
        return type(output)([changed, *output[1:]]) if isinstance(output, tuple | list) else changed

    with changed_output(block, change):
        yield
