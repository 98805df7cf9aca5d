"""The authors' released SAEs: what a repository of checkpoints holds, told by names and tensor shapes, none fetched."""

import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.hub import fetch, from_hub, hub_errors, listing
from vlm_sae_lib.towers.tower import PROJECTION, Tower

AUTHORS = "mateuszpach/sae-for-vlm"
FAMILIES = ("siglip", "dinov2", "dinov3", "aimv2", "clip")
"""Told in this order: every siglip is a clip by name."""
BLOCK = re.compile(r"(?:layer|block)s?(?:[_.=]?|-(?!1(?!\d)))(-1|last|\d+)(?!\d)")
"""0-based, as our hook points; -1, also in ``layer-1``, and ``last`` are the projection (paper App. A)."""
LAST = re.compile(r"(?:^|[/_\-])(?:last|projection|post_projection)(?=$|[/_\-.])")
RANDOM = re.compile(r"random[_\-]?(?:k[_\-]?)?(\d+)")
EXPANSION = re.compile(r"(?:^|[/_\-])x(\d+)(?=$|[/_\-.])")
K = re.compile(r"top_?k[_\-](\d+)")


@dataclass(frozen=True)
class ReleasedSae:
    """One checkpoint of a release. ``kind``, ``dim`` and ``n_latents`` are its tensors'; the rest its name tells, and
    is None where it does not: the layout of a release is its authors' own."""

    repo_id: str
    revision: str
    """the commit"""
    file: str
    kind: str
    dim: int
    n_latents: int
    k: int | None = None
    hook_point: str | None = None
    tokens: str | None = None
    tower: str | None = None
    """the family: clip, siglip, …"""
    doubt: str | None = None
    """where its name contradicts its tensors: how, as words"""

    @property
    def expansion(self) -> float:
        """ε, latents per dimension."""
        return self.n_latents / self.dim

    def misfit(self, tower: Tower, hook_point: str, tokens: str) -> str | None:
        """Why this SAE does not belong to a hook point of a tower under a token rule, as words; None where it does."""
        if self.doubt:
            return self.doubt
        width, family = tower.dim(hook_point), _family(f"{tower.spec} {tower.name}")
        if self.tower and family and self.tower != family:
            return f"it is of a {self.tower} tower and {tower.name} is a {family} one"
        if self.dim != width:
            return f"it reads {self.dim}-wide activations and those of {tower.name} {hook_point} are {width}-wide"
        if self.hook_point != hook_point:
            return f"its name says {self.hook_point or 'nothing of the block'}, and {hook_point} is asked for"
        if hook_point != PROJECTION and (self.tokens is None or _single(self.tokens) != _single(tokens)):
            return f'it was trained on {self.tokens or "unnamed"} tokens, and "{tokens}" is asked for'
        return None

    def load(self, tower: Tower, hook_point: str, tokens: str = "cls", *, device: Any = None) -> SparseAutoencoder:
        """Fetch it for a hook point of a tower. Raises ``UserError`` where it is another one's; see ``misfit``."""
        reason = self.misfit(tower, hook_point, tokens)
        if reason is not None:
            raise UserError(f"{self.file} of {self.repo_id} does not fit: {reason}, so choose another or train one.")
        return from_hub(self.repo_id, revision=self.revision, file=self.file, device=device)


def released_saes(repo_id: str = AUTHORS, revision: str | None = None) -> list[ReleasedSae]:
    """The checkpoints of a release, by reading the first kilobytes of each; offline, those in the cache.

    Raises ``UserError`` where the hub cannot be asked and where there is no checkpoint.
    """
    commit, names = listing(repo_id, revision)
    found = [_released(repo_id, commit, name) for name in names if name.endswith(".pt")]
    saes = [sae for sae in found if sae is not None]
    if not saes:
        raise UserError(f"{repo_id} at {commit} holds no SAE checkpoint: check the name and the revision.")
    return saes


def _released(repo_id: str, commit: str, file: str) -> ReleasedSae | None:
    """None for a torch file that holds no SAE of the paper's two kinds."""
    with _opened(repo_id, commit, file) as stream:
        shapes = tensor_shapes(stream)
    name = file.lower()
    if "encoder.weight" in shapes:
        kind, (width, dim) = "batch_top_k", shapes["encoder.weight"]
    elif "W_enc" in shapes and "group_sizes" in shapes:
        kind, (dim, width) = "matryoshka_batch_top_k", shapes["W_enc"]
    else:
        return None
    said, told = (_said_kind(name), _number(EXPANSION, name)), (kind, width / dim)
    doubts = [f"its name says {x} and its tensors {y}" for x, y in zip(said, told, strict=True) if x not in (None, y)]
    return ReleasedSae(
        repo_id=repo_id,
        revision=commit,
        file=file,
        kind=kind,
        dim=dim,
        n_latents=width,
        k=_number(K, name),
        hook_point=_hook_point(name),
        tokens=_tokens(name),
        tower=_family(name),
        doubt=" and ".join(doubts) or None,
    )


def tensor_shapes(stream: BinaryIO) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a state dict on a seekable stream; the tensors' values are not read."""
    try:
        with FakeTensorMode():
            state = torch.load(stream, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError):  # no state dict: no shapes
        return {}
    state = state.get("ae", state) if isinstance(state, dict) else {}
    return {name: tuple(value.shape) for name, value in state.items() if isinstance(value, torch.Tensor)}


@contextmanager
def _opened(repo_id: str, commit: str, file: str) -> Iterator[BinaryIO]:
    """A file of a repository as a stream: the cached one, or the hub's, of which only what is read is fetched."""
    from huggingface_hub import HfFileSystem, constants, try_to_load_from_cache

    cached = try_to_load_from_cache(repo_id, file, revision=commit)
    if isinstance(cached, str) or constants.HF_HUB_OFFLINE:
        with open(fetch(repo_id, file, commit), "rb") as stream:
            yield stream
    else:
        with hub_errors(repo_id), HfFileSystem().open(f"{repo_id}@{commit}/{file}", "rb", block_size=2**18) as stream:
            yield stream


def _said_kind(name: str) -> str | None:
    if "matryoshka" in name or "matroyshka" in name:  # the authors write both
        return "matryoshka_batch_top_k"
    return "batch_top_k" if "batch_top_k" in name or "batchtopk" in name else None


def _hook_point(name: str) -> str | None:
    found = BLOCK.search(name)
    if found and found[1] not in ("-1", "last"):
        return f"block_{int(found[1])}"
    return PROJECTION if found or LAST.search(name) else None


def _tokens(name: str) -> str | None:
    found = RANDOM.search(name)
    if found:
        return f"random:{int(found[1])}"
    return "cls" if re.search(r"(?:^|[/_\-])cls(?=$|[/_\-.])", name) else None


def _single(tokens: str) -> bool:
    """Whether a rule takes single tokens of all kinds, patches among them."""
    return tokens == "all" or tokens.startswith("random:")


def _family(name: str) -> str | None:
    return next((family for family in FAMILIES if family in name.lower()), None)


def _number(pattern: re.Pattern, name: str) -> int | None:
    found = pattern.search(name)
    return int(found[1]) if found else None
