"""What a checkpoint on the hub holds, told by the shapes of its tensors: a few kilobytes are read, no values."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import torch

from vlm_sae_lib.sae.files.hub import fetch, hub_errors
from vlm_sae_lib.sae.foreign.outline import outline


@dataclass(frozen=True)
class Header:
    """An SAE of one of the paper's two kinds; ``kind`` is None and the rest 0 where the file holds none of them."""

    kind: str | None = None
    dim: int = 0
    n_latents: int = 0

    @property
    def expansion(self) -> float | None:
        """ε, latents per dimension."""
        return self.n_latents / self.dim if self.dim else None


def read_header(repo_id: str, commit: str, file: str) -> Header:
    """Open one file of a repository: the cached one, or the hub's. Raises ``UserError`` where that cannot be."""
    with _opened(repo_id, commit, file) as stream:
        shapes = tensor_shapes(stream)
    linear, matrix = shapes.get("encoder.weight", ()), shapes.get("W_enc", ())
    if len(linear) == 2:
        return Header("batch_top_k", dim=linear[1], n_latents=linear[0])
    if len(matrix) == 2 and "group_sizes" in shapes:
        return Header("matryoshka_batch_top_k", dim=matrix[0], n_latents=matrix[1])
    return Header()


def tensor_shapes(stream: BinaryIO) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a state dict on a seekable stream; the tensors' values are not read.

    Empty for what is no state dict, or claims more than its bytes can be. Raises ``OSError`` where the stream breaks.
    """
    try:
        state = outline(stream)
    except OSError:
        raise
    except Exception:  # a damaged pickle raises anything; no state dict: no shapes
        return {}
    state = state.get("ae", state) if isinstance(state, dict) else {}
    tensors = state.items() if isinstance(state, dict) else ()
    return {str(name): tuple(value.shape) for name, value in tensors if isinstance(value, torch.Tensor)}


@contextmanager
def _opened(repo_id: str, commit: str, file: str) -> Iterator[BinaryIO]:
    """A file as a stream, of which only what is read is fetched."""
    from huggingface_hub import HfFileSystem, constants, try_to_load_from_cache

    cached = try_to_load_from_cache(repo_id, file, revision=commit)
    if isinstance(cached, str) or constants.HF_HUB_OFFLINE:
        with open(fetch(repo_id, file, commit), "rb") as stream:
            yield stream
    else:
        with hub_errors(repo_id), HfFileSystem().open(f"{repo_id}@{commit}/{file}", "rb", block_size=2**18) as stream:
            yield stream
