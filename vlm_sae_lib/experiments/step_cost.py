"""What a loss term costs in time: steps with and without it, taken in turns."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.records.results import published, published_source
from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.sae.training.learner import Learner
from vlm_sae_lib.statistics.intervals import student
from vlm_sae_lib.workbench import Workbench

KINDS, EXPANSION, COEFFICIENT = ("batch_top_k", "matryoshka_batch_top_k", "jump_relu"), 4, 0.01
REPEATS, STEPS_TIMED, WARM_UP = 7, 30, 5


def cost(bench: Workbench, found: Findings) -> None:
    """Time of a training step with MonoLoss over that of one without, for each kind of SAE."""
    rows = bench.activations("train", "projection").array()
    for kind in KINDS:
        config = bench.config(kind, EXPANSION)
        ratios = step_ratios(rows, config, replace(config, mono_coefficient=COEFFICIENT))
        found.estimate(
            f"cost/{kind}", student(ratios), n=REPEATS, unit="ratio, this machine",
            interval_kind=f"Student's t over {REPEATS} repeats of {STEPS_TIMED} steps", **_theirs(),
        )  # fmt: skip


def step_ratios(rows: np.ndarray | Tensor, plain: SaeConfig, trained: SaeConfig) -> list[float]:
    """For each repeat the time of some steps under one config over that under the other, on the same batches."""
    batch = torch.from_numpy(np.ascontiguousarray(rows[: plain.batch_size], dtype=np.float32))
    scale = float(batch.pow(2).sum(dim=1).mean().sqrt())
    learners = [Learner(config, batch, scale) for config in (plain, trained)]
    spent = np.zeros((REPEATS, 2))
    for step in range(-WARM_UP, REPEATS * STEPS_TIMED):
        for side, learner in enumerate(learners):
            before = time.perf_counter()
            learner.step(batch)
            if step >= 0:
                spent[step // STEPS_TIMED, side] += time.perf_counter() - before
    return (spent[:, 1] / spent[:, 0]).tolist()


def _theirs() -> dict[str, Any]:
    where = {"statistic": "epoch_time_ratio"}
    return {"paper_value": published("monoloss", **where), "source": published_source("monoloss", **where)}
