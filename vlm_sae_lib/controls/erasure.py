"""Taking something out of activations: single latents, other latents in their place, or directions that were told.

Decoding without a latent and adding back the error that the autoencoder makes is the same as taking off what the latent
adds, since decoding is a sum: decode(z') + x − decode(z) = x − Σ z_j W_dec,j over the latents that are switched off.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from vlm_sae_lib.controls.directions import as_rows

AS_BUSY = 5
"""Of so many latents that fire about as often one is drawn to stand in for another."""


def contribution(
    code: Float[np.ndarray, "n n_latents"],
    decoder: Float[np.ndarray, "n_latents d"],
    latents: Int[np.ndarray, "n k"],
) -> Float[np.ndarray, "n d"]:
    """What each picture's own list of latents adds to its activation; -1 stands for none.

    Args:
        decoder: W_dec.
    """
    places = np.where(latents < 0, 0, latents)
    values = np.take_along_axis(code, places, axis=1) * (latents >= 0)
    return np.einsum("nk,nkd->nd", values, decoder[places])


def others_that_fire(
    code: Float[np.ndarray, "n n_latents"], latents: Int[np.ndarray, "n k"], rng: np.random.Generator
) -> Int[np.ndarray, "n k"]:
    """For each picture as many latents drawn at random as of the given ones fire on it, from the others that fire.

    A latent that is silent would change nothing, so that it is no control.

    Returns:
        (n, k), -1 where fewer are to be had.
    """
    places = np.where(latents < 0, 0, latents)
    wanted = ((np.take_along_axis(code, places, axis=1) > 0) & (latents >= 0)).sum(axis=1)
    free = code > 0
    rows = np.broadcast_to(np.arange(len(code))[:, None], latents.shape)
    free[rows[latents >= 0], latents[latents >= 0]] = False
    row, column = np.nonzero(free)
    order = np.lexsort((rng.random(len(row)), row))
    first = np.searchsorted(row, np.arange(len(code)))
    place = np.arange(len(row)) - first[row]  # `row` is in order, and stays so
    drawn, kept = np.full(latents.shape, -1), place < wanted[row]
    drawn[row[kept], place[kept]] = column[order][kept]
    return drawn


def of_length(
    pushes: Float[np.ndarray, "n d"], like: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "n d"]:
    """Pushes made as long as others, row by row; one of no length stays."""
    lengths, wanted = (np.linalg.norm(rows, axis=1, keepdims=True) for rows in (pushes, like))
    return pushes * np.divide(wanted, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def project_out(
    rows: Any, directions: Float[np.ndarray, "m d"], mean: Float[np.ndarray, " d"]
) -> Float[np.ndarray, "n d"]:
    """Activations whose part along any of the directions is that of ``mean``."""
    values = as_rows(rows)
    basis, _ = np.linalg.qr(np.asarray(directions, dtype=np.float64).T)
    return values - (values - mean) @ basis @ basis.T


def as_busy(
    rates: Float[np.ndarray, " n_latents"],
    latents: Int[np.ndarray, " k"],
    free: Bool[np.ndarray, " n_latents"],
    rng: np.random.Generator,
) -> Int[np.ndarray, " k"]:
    """A stand-in for each latent: drawn from the `AS_BUSY` free ones whose rate is nearest, and no one twice.

    The busiest latents draw first, as they have the fewest like them; who finds none is left without.
    """
    free, drawn = free.copy(), []
    free[latents] = False
    for latent in sorted(latents.tolist(), key=lambda latent: (-rates[latent], latent)):
        there = np.flatnonzero(free)
        near = there[np.argsort(np.abs(rates[there] - rates[latent]), kind="stable")[:AS_BUSY]]
        if len(near):
            drawn.append(int(rng.choice(near)))
            free[drawn[-1]] = False
    return np.array(drawn, dtype=np.int64)
