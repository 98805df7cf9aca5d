"""The active latents of many rows, as a sparse matrix."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.machine.devices import undisturbed
from vlm_sae_lib.overrides import Count, held
from vlm_sae_lib.sae.config import BATCH_TOP_K_KINDS
from vlm_sae_lib.sae.kernels.active import Active, above_active, above_of_coarse, positive_on_device
from vlm_sae_lib.sae.kernels.coarse import CoarseEncoder, pays
from vlm_sae_lib.sae.rows import Rows

if TYPE_CHECKING:
    from vlm_sae_lib.sae.artefact import SparseAutoencoder


@undisturbed()
@torch.inference_mode()
def encode_sparse(sae: "SparseAutoencoder", x: Any, batch_size: int) -> sparse.csr_matrix:
    """See ``SparseAutoencoder.encode_sparse``."""
    rows, batch_size = Rows(x), held("batch_size", batch_size, Count)
    if rows.dim != sae.dim:
        raise UserError(sae.wrong_width("activations", sae.dim, rows.dim))
    parts, coarse = [], None
    for start in range(0, rows.n, batch_size):
        batch, found = rows.take(np.arange(start, min(start + batch_size, rows.n))), None
        if sae.kind in BATCH_TOP_K_KINDS and sae.threshold is not None and pays(len(batch), sae.w_enc):
            coarse = coarse or CoarseEncoder(sae.w_enc.T.contiguous(), sae.b_enc, like=batch - sae.b_dec)
            found = above_of_coarse(coarse(batch - sae.b_dec), float(sae.threshold))
        found = found or _positive(sae.encode(batch))
        compressed = found.values.numpy(), found.latents, found.bounds
        parts.append(sparse.csr_matrix(compressed, shape=(len(batch), sae.n_latents)))
    return sparse.vstack(parts, format="csr")


def _positive(latents: torch.Tensor) -> Active:
    return above_active(latents, 0.0) if latents.device.type == "cpu" else positive_on_device(latents)
