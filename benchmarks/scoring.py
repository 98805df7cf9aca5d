"""The exact score: against the pair loop of the paper's code and the dense linear form, written anew from Eq. 9."""

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch

from benchmarks import floors
from benchmarks.timing import Row, side_by_side, timed
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.statistics.neurons import NeuronStatistics

PAIR_CHUNK = 100  # of the paper's code
PAIR_ROWS = 60  # pictures whose pairs are timed
SMALL, MIDDLE = (2_000, 4_096, 512, 20), (10_000, 16_384, 512, 20)
"""Pictures, latents, d, K."""


def sparse_code(pictures: int, latents: int, k: int, seed: int = 0) -> sp.csr_matrix:
    """k latents a picture, frequent ones and rare ones as an SAE has them (rates fall as a power law)."""
    rng = np.random.default_rng(seed)
    chance = np.cumsum(1 / np.arange(1, latents + 1) ** 0.7)
    drawn = np.searchsorted(chance, rng.random((pictures, k)) * chance[-1])
    rows = np.repeat(np.arange(pictures), k)
    code = sp.csr_matrix((rng.random(rows.size, dtype=np.float32) + 0.1, (rows, drawn.ravel())), (pictures, latents))
    code.sum_duplicates()
    return code


def unit_rows(n: int, d: int, seed: int = 1) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def pair_loop(code: torch.Tensor, unit: torch.Tensor, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The double loop over pictures and chunks of a hundred others, for the first ``rows`` pictures."""
    low, high = code.amin(0), code.amax(0)
    scaled = (code - low) / (high - low).clamp_min(1e-12)
    total = torch.zeros(code.shape[1])
    weight = torch.zeros(code.shape[1])
    for i in range(rows):
        for start in range(i + 1, len(code), PAIR_CHUNK):
            others = slice(start, start + PAIR_CHUNK)
            relevance = scaled[i] * scaled[others]
            total += (relevance * (unit[others] @ unit[i])[:, None]).sum(0)
            weight += relevance.sum(0)
    return total, weight


def dense_linear(code: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
    """(‖Σ a e‖² − Σ a²) / ((Σ a)² − Σ a²) by dense products in single precision, as MonoLoss computes it."""
    low, high = code.amin(0), code.amax(0)
    scaled = (code - low) / (high - low).clamp_min(1e-8)
    square = scaled.pow(2).sum(0)
    return ((scaled.T @ unit).pow(2).sum(1) - square) / (scaled.sum(0).pow(2) - square)


def size_of(pictures: int, latents: int, dim: int, k: int) -> str:
    return f"{pictures:,} pictures × {latents:,} latents, d {dim}, K {k}"


def run() -> Iterator[Row]:
    for size, wanted in ((SMALL, None), (MIDDLE, 40)):
        pictures, latents, dim, k = size
        code, unit = sparse_code(pictures, latents, k), unit_rows(pictures, dim)
        dense, units = torch.from_numpy(code.toarray()), torch.from_numpy(unit)
        ours = lambda code=code, unit=unit: monosemanticity_score(code, unit)  # noqa: E731
        work = f"MS, {size_of(*size)}"
        floor = floors.facts(floors.score(pictures, latents, dim, k))
        if size == SMALL:
            pairs = pictures * (pictures - 1) / 2
            done = sum(pictures - 1 - i for i in range(PAIR_ROWS))
            times = side_by_side(ours, lambda d=dense, u=units: pair_loop(d, u, PAIR_ROWS), scale=pairs / done)
            note = f"pair loop on the pairs of {PAIR_ROWS} pictures, scaled by {pairs / done:.1f}"
            yield Row("score", work, times[0], "pair loop", times[1], 500, note, floor)
        times = side_by_side(ours, lambda d=dense, u=units: dense_linear(d, u))
        yield Row("score", work, times[0], "dense linear form", times[1], wanted, facts=floor)
        del dense
    yield from at_the_papers_scale()


PEAK = """
from benchmarks import scoring
from benchmarks.timing import peak_gib
code, unit = scoring.sparse_code({pictures}, {latents}, {k}), scoring.unit_rows({pictures}, {dim})
print(peak_gib(lambda: scoring.monosemanticity_score(code, unit)))
"""
PAPER = {"pictures": 50_000, "latents": 65_536, "dim": 768, "k": 20}


def in_a_fresh_process() -> float:
    """GiB that the score takes at its fullest: here, memory kept from earlier work would hide it."""
    command = [sys.executable, "-c", PEAK.format(**PAPER)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def at_the_papers_scale() -> Iterator[Row]:
    pictures, latents, dim, k = PAPER.values()
    part = 2_048
    code, unit = sparse_code(pictures, latents, k), unit_rows(pictures, dim)
    size = size_of(*PAPER.values())
    more = in_a_fresh_process()
    alone, _ = side_by_side(lambda: monosemanticity_score(code, unit), runs=3)
    facts = {"peak_gib_more": round(more, 2), "goal_seconds": 2, "goal_gib": 1}
    facts |= floors.facts(floors.score(pictures, latents, dim, k))
    yield Row("score", f"MS alone, {size}", alone, note=f"{more:.2f} GiB more at its peak", facts=facts)

    def everything() -> None:
        statistics = NeuronStatistics(latents, dim)
        for start in range(0, pictures, 4096):
            rows = slice(start, min(start + 4096, pictures))
            statistics.update(code[rows], unit[rows], np.arange(rows.start, rows.stop))
        statistics.monosemanticity()

    x = torch.from_numpy(unit_rows(part, dim, seed=2))
    weights = torch.randn(dim, latents, generator=torch.Generator().manual_seed(0)) / dim**0.5
    sae = SparseAutoencoder(
        kind="batch_top_k", w_enc=weights, b_enc=torch.zeros(latents), w_dec=weights.T.contiguous(),
        b_dec=torch.zeros(dim), k=k, threshold=torch.tensor(0.12), group_sizes=(latents,), metadata={},
    )  # fmt: skip
    scale = pictures / part
    ours = [timed(everything) for _ in range(3)]
    encoding = [scale * timed(lambda: sae.encode_sparse(x)) for _ in range(3)]
    plain = [scale * timed(lambda: torch.relu(x @ weights)) for _ in range(3)]
    note = f"encoding of {part:,} pictures, scaled by {scale:.1f}"
    floor = floors.facts(floors.score(pictures, latents, dim, k, kept=True))
    yield Row("score", f"all statistics, {size}", ours, "our own encoding", encoding, 5, note, floor)
    yield Row("score", f"all statistics, {size}", ours, "a dense fp32 encoding", plain, 20, note, floor)
