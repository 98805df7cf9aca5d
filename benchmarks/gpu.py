"""``python -m benchmarks.gpu``: training, all statistics and a steering sweep on a GPU, to ``results/gpu-<date>.json``.

At the sizes of the paper: a step of an autoencoder with 65,536 latents beside dictionary_learning's (in the environment
that holds both, ``make .venv-parity``); encoding and statistics of 50,000 pictures; and a sweep over a LLaVA of the
shapes of LLaVA-1.5-7B whose weights are random. A row on training says which share of the device's bfloat16 ceiling the
encoder's product alone would take up in the time of a step.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch

from benchmarks import training
from benchmarks.random_llava import random_llava
from benchmarks.scoring import PAPER, size_of, unit_rows
from benchmarks.timing import Row, side_by_side
from vlm_sae_lib import SparseAutoencoder, pocket_pictures
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import write_json
from vlm_sae_lib.statistics.neurons import NeuronStatistics
from vlm_sae_lib.steering.intervention import steered
from vlm_sae_lib.steering.sweep import Intervention, SteeringBench

HERE = Path(__file__).parent
WANTED = 10
SIDE, SIDE_ELSEWHERE = 8192, 64
"""Of the product that shows the ceiling; elsewhere nothing is measured but by a test."""


@dataclass(frozen=True)
class Scale:
    """What is timed; tests take less."""

    size: training.Size = training.Size(1024, 4096, 64)
    pictures: int = PAPER["pictures"]
    latents: int = PAPER["latents"]
    dim: int = PAPER["dim"]
    side: int = 336
    layers: int = 32
    width: int = 4096
    neurons: int = 5
    steered: int = 8


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--parity", default=".venv-parity/bin/python", help="the Python that has dictionary_learning")
    parser.add_argument("--training-rows", action="store_true", help="used by this command itself, in that Python")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise UserError("torch finds no GPU here: run it where `python -c 'import torch; torch.zeros(1).cuda()'` works")
    if arguments.training_rows:
        json.dump([row.__dict__ for row in training_rows(Scale(), "cuda")], sys.stdout)
        return 0
    command = [arguments.parity, "-m", "benchmarks.gpu", "--training-rows"]
    done = subprocess.run(command, cwd=HERE.parent, check=True, stdout=subprocess.PIPE)
    rows = [Row(**found) for found in json.loads(done.stdout)]
    for make in (statistics_row, sweep_row):
        rows.append(make(Scale(), "cuda"))
    for row in rows:
        print(f"  {row}")
    machine = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    path = HERE / "results" / f"gpu-{date.today().isoformat()}.json"
    write_json(path, {"schema": 1, "machine": machine, "rows": [row.as_dict() for row in rows]})
    print(path)
    return 0


def waited(work: Callable[[], object], device: str) -> Callable[[], None]:
    """The same, over when the device has done it."""

    def once() -> None:
        work()
        if device == "cuda":
            torch.cuda.synchronize()

    return once


def training_rows(scale: Scale, device: str) -> Iterator[Row]:
    """A step of each kind, without dead latents and with a tenth dead."""
    size, most = scale.size, ceiling(device)
    for kind in training.KINDS:
        for share in (0.0, 0.1):
            parts = size.batches(device)
            both = (make(kind, share, size, parts) for make in (training.our_steps, training.their_steps))
            ours, theirs = (waited(once, device) for once in both)
            for once in (*[ours] * training.WARM, *[theirs] * 2):
                once()
            mine, other = side_by_side(ours, theirs)
            facts = {"share_of_bf16": 2 * size.batch * size.dim * size.latents / most / float(np.median(mine))}
            yield Row("training", training.work(kind, share, size), mine, "dictionary_learning", other, WANTED,
                      facts=facts)  # fmt: skip


def ceiling(device: str) -> float:
    """Operations a second of a large product in bfloat16."""
    side = SIDE if device == "cuda" else SIDE_ELSEWHERE
    one = torch.randn(side, side, device=device).bfloat16()
    taken, _ = side_by_side(waited(lambda: one @ one, device))
    return 2 * side**3 / min(taken)


def statistics_row(scale: Scale, device: str) -> Row:
    """Encoding and all statistics of latents, MS among them, from activations and embeddings in memory."""
    activations, unit = unit_rows(scale.pictures, scale.dim, seed=2), unit_rows(scale.pictures, scale.dim)
    sae = random_sae(scale.dim, scale.latents).to(device)

    def everything() -> None:
        statistics = NeuronStatistics(scale.latents, scale.dim)
        for start in range(0, scale.pictures, 4096):
            rows = slice(start, min(start + 4096, scale.pictures))
            code = sae.encode_sparse(activations[rows])
            statistics.update(code, unit[rows], np.arange(rows.start, rows.stop))
        statistics.monosemanticity()

    taken, _ = side_by_side(everything, runs=3)
    size = size_of(scale.pictures, scale.latents, scale.dim, PAPER["k"])
    return Row("scoring", f"encoding and all statistics, {size}", taken)


def random_sae(dim: int, latents: int) -> SparseAutoencoder:
    """One that never learned, as sparse as the score's codes."""
    weights = torch.randn(dim, latents, generator=torch.Generator().manual_seed(0)) / dim**0.5
    return SparseAutoencoder(
        kind="batch_top_k", w_enc=weights, b_enc=torch.zeros(latents), w_dec=weights.T.contiguous(),
        b_dec=torch.zeros(dim), k=PAPER["k"], threshold=torch.tensor(0.12), group_sizes=(latents,), metadata={},
    )  # fmt: skip


def sweep_row(scale: Scale, device: str) -> Row:
    """Steering, against one forward of everything per neuron, strength and picture."""
    vlm = random_llava(scale.side, scale.layers, scale.width, device)
    sae = random_sae(vlm.dim, 8 * vlm.dim).to(device)
    images, prompt = pocket_pictures(scale.steered, 5).images, "what is this ?"
    wanted = [Intervention(latent, strength) for latent in range(scale.neurons) for strength in (1.0, 4.0)]

    def sweep() -> None:
        SteeringBench(vlm, sae, images).answers(wanted, [prompt])

    def loop() -> None:
        for what in wanted:
            for image in images:
                with steered(vlm, sae, {what.latent: what.strength}):
                    vlm.answer(image, prompt, max_new_tokens=1)

    times = side_by_side(waited(sweep, device), waited(loop, device), runs=3)
    work = f"{scale.neurons} neurons × 2 strengths × {scale.steered} pictures, the shapes of LLaVA-1.5-7B"
    return Row("steering", work, times[0], "loop of the paper's code", times[1], note="random weights")


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
