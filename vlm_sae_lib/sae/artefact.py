"""The finished sparse autoencoder: it encodes and decodes, and knows nothing of training."""

import copy
import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

from vlm_sae_lib.arrays import real_tensor
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.machine.devices import choose_device, exactly, undisturbed
from vlm_sae_lib.sae.config import BATCH_TOP_K_KINDS, KINDS
from vlm_sae_lib.sae.selection import above, per_sample_top_k


@dataclass(frozen=True, eq=False, repr=False)
class SparseAutoencoder:
    """φ(v) = σ((v − b_dec) W_enc + b_enc) and ψ(z) = z W_dec + b_dec on raw activations (paper §3.2, Eq. 1).

    σ depends on ``kind``: one learned threshold, p · 1[p > θ], for both batch-top-k kinds, so that a sample's latents
    never depend on its batch; a threshold per latent for jump_relu; the k largest of a sample for top_k; ReLU alone
    for relu. The threshold is a gate and is not subtracted (paper.md §2.2).

    ``group_sizes`` are the Matryoshka groups, (F,) for other kinds. Raises ``UserError`` where the tensors do not fit
    together or a threshold was never learned.
    """

    kind: str
    w_enc: Float[Tensor, "d latents"]
    b_enc: Float[Tensor, " latents"]
    w_dec: Float[Tensor, "latents d"]
    b_dec: Float[Tensor, " d"]
    k: int | None = None
    threshold: Float[Tensor, ""] | Float[Tensor, " latents"] | None = None
    group_sizes: tuple[int, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    """Kind, k, group sizes and weights' hash, and what is known of the training: settings, provenance, log."""

    def __post_init__(self) -> None:
        for name in ("w_enc", "b_enc", "w_dec", "b_dec", "threshold"):
            value = getattr(self, name)
            if value is not None:
                value = value.detach().to(torch.float32).clone(memory_format=torch.contiguous_format)
                object.__setattr__(self, name, value)
        object.__setattr__(self, "group_sizes", tuple(map(int, self.group_sizes)) or (self.b_enc.numel(),))
        self._check()
        groups = list(self.group_sizes)
        own = {"kind": self.kind, "k": self.k, "group_sizes": groups, "weights_hash": self.hash}
        object.__setattr__(self, "metadata", {**copy.deepcopy(self.metadata), **own})

    def _check(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"an SAE of kind {self.kind!r} is unknown: the known kinds are {', '.join(KINDS)}.")
        width, dim = self.b_enc.numel(), self.b_dec.numel()
        if self.w_enc.shape != (dim, width) or self.w_dec.shape != (width, dim) or sum(self.group_sizes) != width:
            shapes = f"{tuple(self.w_enc.shape)}, {tuple(self.w_dec.shape)}, groups {self.group_sizes}"
            raise UserError(f"the SAE's tensors do not fit {dim} dimensions and {width} latents ({shapes}).")
        if self.kind == "top_k" and not 1 <= (self.k or 0) <= width:
            raise UserError(f"a top_k SAE needs k from 1 to its {width} latents, and this one has k={self.k}.")
        if self.kind in (*BATCH_TOP_K_KINDS, "jump_relu"):
            count = 1 if self.kind in BATCH_TOP_K_KINDS else width
            if self.threshold is None or self.threshold.numel() != count:
                raise UserError(f"a {self.kind} SAE needs {count} threshold value(s): is the file of another kind?")
            if (self.threshold == -1).all():
                raise UserError(
                    f"the threshold of this {self.kind} SAE is -1, never learned: train it beyond its threshold start, "
                    "or every positive latent would fire."
                )
        for name in ("w_enc", "b_enc", "w_dec", "b_dec", "threshold"):
            value = getattr(self, name)
            if value is not None and not torch.isfinite(value).all():
                raise UserError(f"the SAE's {name} holds NaN or infinity: train it anew or fetch the file again.")

    def __repr__(self) -> str:
        return f"SparseAutoencoder({self.kind}, {self.dim} -> {self.n_latents}, k={self.k}, {self.hash[:12]})"

    @property
    def dim(self) -> int:
        """Width d of the activations it reads and writes."""
        return self.b_dec.numel()

    @property
    def n_latents(self) -> int:
        """F, the number of latents."""
        return self.b_enc.numel()

    @property
    def device(self) -> torch.device:
        return self.w_enc.device

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) over kind, k, groups and weights: two SAEs with one hash compute the same."""
        digest = hashlib.sha256(repr((self.kind, self.k, self.group_sizes)).encode())
        for name in ("w_enc", "b_enc", "w_dec", "b_dec", "threshold"):
            value = getattr(self, name)
            if value is not None:
                digest.update(f"{name}{tuple(value.shape)}".encode())
                digest.update(value.cpu().numpy().astype("<f4").tobytes())
        return digest.hexdigest()

    def to(self, device: str | torch.device) -> "SparseAutoencoder":
        """The same SAE on another device. Raises ``UserError`` where there is none of that name."""
        device = choose_device(device)
        names = ("w_enc", "b_enc", "w_dec", "b_dec", "threshold")
        return replace(self, **{n: getattr(self, n).to(device) for n in names if getattr(self, n) is not None})

    def pre_activations(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch latents"]:
        """(x − b_dec) W_enc + b_enc, before any σ; float32 on the SAE's device."""
        x = self._input(x, self.dim, "activations")
        with exactly(self.device):
            flat = torch.addmm(self.b_enc, x.reshape(-1, self.dim) - self.b_dec, self.w_enc)
        return flat.reshape(*x.shape[:-1], self.n_latents)

    def encode(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch latents"]:
        """Latents of raw activations, any leading dimensions; float32 on the SAE's device, also under autocast.

        A row that holds NaN gives NaN, and nothing of it reaches another row. Raises ``UserError`` for activations of
        another width, and for what is no real numbers.
        """
        positive = torch.relu(self.pre_activations(x))
        if self.kind == "top_k":
            assert self.k is not None  # see _check
            return per_sample_top_k(positive, self.k)
        return positive if self.threshold is None else above(positive, self.threshold)

    def decode(self, z: Float[Tensor, "*batch latents"] | sparse.csr_matrix) -> Float[Tensor, "*batch d"]:
        """Reconstructed raw activations from latents (dense, or scipy sparse rows); float32 on the SAE's device, also
        under autocast.

        Raises ``UserError`` for latents of another width.
        """
        if sparse.issparse(z):
            z = z.toarray()  # type: ignore[union-attr]  # scipy has no types that would tell which of the two it is
        elif isinstance(z, Tensor) and z.layout != torch.strided:
            z = z.to_dense()
        z = self._input(z, self.n_latents, "latents")
        with exactly(self.device):
            flat = torch.addmm(self.b_dec, z.reshape(-1, self.n_latents), self.w_dec)
        return flat.reshape(*z.shape[:-1], self.dim)

    def encode_sparse(self, x: Any, batch_size: int = 1024) -> sparse.csr_matrix:
        """Latents of many rows as a float32 CSR matrix ``(n, n_latents)``; ``x`` is a store, an array or a tensor.

        A dense matrix of them is never made where a CPU can find the active ones coarsely (``kernels/coarse.py``).
        Raises ``UserError`` for activations of another width.
        """
        from vlm_sae_lib.sae.kernels.encoding import encode_sparse

        return encode_sparse(self, x, batch_size)

    def save(self, path: str | Path) -> Path:
        """Write the SAE folder (``files/folder.py``): cfg.json, sae_weights.safetensors, probe.safetensors; the same
        SAE gives the same bytes. Raises ``UserError`` where the path cannot be written or holds something else."""
        from vlm_sae_lib.sae.files import folder

        with undisturbed():
            return folder.save(self, path)

    def export(self, path: str | Path, format: str = "sae_lens") -> Path:
        """Write the SAE for another library; ``sae_lens`` is the one format. Raises ``UserError`` for another."""
        from vlm_sae_lib.sae.files import folder

        with undisturbed():
            return folder.export(self, path, format)

    @classmethod
    def load(cls, path: str | Path, *, device: str | torch.device | None = None) -> "SparseAutoencoder":
        """Read our folder, the paper's ``ae_*.pt``, and the SAEs of dictionary_learning, SAELens, sparsify, saev,
        overcomplete and ViT-Prisma that this formula can express; ``foreign/`` says what each of them applies.

        No code of a file is run. Raises ``UserError`` for what is none of these, was never finished, or no longer
        computes the latents recorded beside it, and for a device that is not there.
        """
        from vlm_sae_lib.sae.files import formats

        device = None if device is None else choose_device(device)
        with undisturbed():
            sae = formats.load(path)
            return sae if device is None else sae.to(device)

    def _input(self, value: Any, width: int, what: str) -> Tensor:
        value = real_tensor(value, what.capitalize())
        if value.ndim == 0 or value.shape[-1] != width:
            raise UserError(self.wrong_width(what, width, value.shape[-1] if value.ndim else 0))
        return value.to(self.device, torch.float32)

    @staticmethod
    def wrong_width(what: str, width: int, given: int) -> str:
        return f"this SAE reads {width}-wide {what} and was given {given}-wide ones: use the SAE of that hook point."
