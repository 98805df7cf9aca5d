"""What every score accepts: activations as an array, a tensor or a sparse matrix, and unit embeddings."""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int

from vlm_sae_lib.arrays import real_array
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.machine.compiled import in_threads
from vlm_sae_lib.statistics import loops


def activation_matrix(activations: Any) -> np.ndarray | sp.csr_matrix:
    """Activations ``(n_images, n_neurons)`` as a float array or a canonical ``csr_matrix``.

    Takes a dense array or tensor, a torch sparse tensor (COO, CSR, CSC) or any scipy sparse matrix; the caller's
    object is never changed. Entries stored twice in a sparse input are summed, as everywhere in scipy and torch.

    Raises:
        UserError: not two-dimensional, not real numbers, or not all finite.
    """
    if isinstance(activations, torch.Tensor) and activations.layout != torch.strided and not activations.is_meta:
        activations = _from_torch(activations.detach().cpu())
    if sp.issparse(activations):
        if activations.dtype.kind not in "fiub":
            raise UserError(f"The activations hold {activations.dtype} values; give real numbers.")
        if activations.ndim != 2:
            raise UserError(f"The activations have shape {activations.shape}; give (n_images, n_neurons).")
        # entries that are stored twice must not be added up in eight bits; scipy has no float16 and no long double
        wide = np.float64 if activations.dtype.itemsize > 8 else np.result_type(activations.dtype, np.float32)
        matrix = sp.csr_matrix(activations.astype(wide, copy=False))
        if not matrix.has_canonical_format:
            if matrix is activations or np.shares_memory(matrix.data, activations.data):
                matrix = matrix.copy()
            matrix.sum_duplicates()
        values = matrix.data
    else:
        matrix = real_array(activations, "The activations")
        matrix = values = matrix.astype(np.float32) if matrix.dtype == np.float16 else matrix  # scipy has none of it
    if matrix.ndim != 2:
        raise UserError(f"The activations have shape {matrix.shape}; give (n_images, n_neurons).")
    # min and max pass NaN on, and need no temporary array of the matrix's size
    if values.size and not (np.isfinite(values.min()) and np.isfinite(values.max())):
        raise UserError("The activations hold NaN or infinite values; leave those images out.")
    return matrix


def _from_torch(tensor: torch.Tensor) -> sp.coo_matrix:
    if tensor.ndim != 2 or tensor.dense_dim():
        raise UserError(f"The activations have shape {tuple(tensor.shape)}; give (n_images, n_neurons).")
    coo = tensor.to_sparse_coo()
    values = real_array(coo._values(), "The activations")
    rows, columns = coo._indices().numpy()
    return sp.coo_matrix((values, (rows, columns)), shape=tuple(coo.shape))


def unit_embeddings(embeddings: Any, n_images: int) -> Float[np.ndarray, "n_images dim"]:
    """Embeddings scaled to unit length in float64, whatever their own scale.

    Raises:
        UserError: wrong shape, not all finite, or a row of length zero, which has no direction.
    """
    unit = _embedding_array(embeddings, n_images).astype(np.float64)
    if unit.size and not (np.isfinite(unit.min()) and np.isfinite(unit.max())):
        raise UserError("The embeddings hold NaN or infinite values; leave those images out.")
    norms = np.sqrt(np.einsum("nd,nd->n", unit, unit))
    extreme = ~((norms > 1e-100) & (norms < 1e100))  # their squares may leave float64's range
    if extreme.any():
        largest = np.abs(unit[extreme]).max(axis=1, initial=0)
        if (largest == 0).any():
            row = int(np.flatnonzero(extreme)[np.argmin(largest)])
            raise UserError(f"The embedding in row {row} is all zeros and has no direction; leave that image out.")
        unit[extreme] /= largest[:, None]
        norms[extreme] = np.linalg.norm(unit[extreme], axis=1)
    unit /= norms[:, None]
    return unit


def checked_embeddings(embeddings: Any, n_images: int) -> loops.Embeddings:
    """Embeddings as they are, in single precision too, and the inverse of their lengths; as `unit_embeddings` refuses.

    The array may be the caller's own: it is only read.
    """
    array = _embedding_array(embeddings, n_images)
    exact = np.float32 if np.result_type(array, np.float32) == np.float32 else np.float64  # what holds all values
    array = np.ascontiguousarray(array, dtype=exact)
    squares = np.empty(n_images)
    in_threads(loops.square_lengths, n_images, array, squares)
    if n_images and not (squares.min() > 1e-200 and squares.max() < 1e200):  # too long, too short, or NaN
        return loops.Embeddings(unit_embeddings(array, n_images), np.ones(n_images))
    return loops.Embeddings(array, 1 / np.sqrt(squares))


def _embedding_array(embeddings: Any, n_images: int) -> np.ndarray:
    embeddings = real_array(embeddings, "The embeddings")
    if embeddings.ndim != 2:
        raise UserError(f"The embeddings have shape {embeddings.shape}; give (n_images, dim) real numbers.")
    if len(embeddings) != n_images:
        raise UserError(f"{n_images} rows of activations but {len(embeddings)} embeddings; give both for each image.")
    return embeddings


def top_image_table(top_images: Any) -> Int[np.ndarray, "n_neurons k"]:
    """Ids of top images, -1 where there is none. Raises ``UserError`` for another shape or for no whole numbers."""
    top = real_array(top_images, "The top images")
    if top.ndim != 2 or top.dtype.kind not in "iu":
        raise UserError(f"The top images have shape {top.shape} and type {top.dtype}; give (n_neurons, k) image ids.")
    return top.astype(np.int64)


def image_id_array(image_ids: Any, n_images: int) -> Int[np.ndarray, " n_images"]:
    """Image ids as int64, one per row, none negative, none twice."""
    ids = real_array(image_ids, "The image ids")
    if ids.shape != (n_images,):
        raise UserError(f"{n_images} rows of activations but image ids of shape {ids.shape}; give one id per row.")
    if n_images and ids.dtype.kind not in "iu":
        raise UserError(f"The image ids hold {ids.dtype} values; give whole numbers.")
    ids = ids.astype(np.int64)
    if n_images and ids.min() < 0:
        raise UserError(f"Image id {ids.min()} is negative; ids start at 0, and -1 stands for a missing image.")
    values, counts = np.unique(ids, return_counts=True)
    if len(values) < len(ids):
        raise UserError(
            f"Image id {values[counts > 1][0]} comes twice in one update; average its tokens into one row first."
        )
    return ids
