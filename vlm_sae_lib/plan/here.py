"""The machine at hand as a row of the table: its memory asked for, its rates measured in some twenty seconds.

For the pocket profile each kind of work is tried with the models themselves. The models of other profiles are not
there before they are fetched, so their towers and words are taken to reach a share of what a large product reaches.
"""

import os
import shutil
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import scipy.sparse
import torch

from vlm_sae_lib import paths
from vlm_sae_lib.machine.devices import choose_device
from vlm_sae_lib.machine.precision import free_gpu_gib
from vlm_sae_lib.pictures.decoding import cores
from vlm_sae_lib.plan.machines import GB, GIB, Machine
from vlm_sae_lib.plan.models import tower_cost, vlm_cost
from vlm_sae_lib.plan.work import DENSE_PRODUCTS
from vlm_sae_lib.profiles.settings import Profile

SHARE = 0.6
"""Of a large product's rate, what a model reaches."""
PICTURES = 128
WORDS = 5


def here(profile: Profile) -> Machine:
    """This machine, measured for a profile."""
    device = choose_device()
    half = device.type == "cuda" and profile.half_on_gpu
    reached = SHARE * _product_rate(device, torch.float16 if half else torch.float32)
    step, trained = _training_rates(profile)
    own = _pocket_rates(profile) if profile.tower == "pocket" else {}
    figures: dict[str, Any] = {
        "name": "here", "title": "this machine", "source": "measured",
        "gpu_gib": free_gpu_gib(), "host_gib": _host_gib(), "disk_gb": shutil.disk_usage(paths.root()).free / GB,
        "cores": cores(), "tower_flops": reached, "language_flops": reached, "memory_rate": _memory_rate(device),
        "train_flops": trained, "step_seconds": step, "score_flops": _score_rate(), "setup_minutes": 0.0,
    }  # fmt: skip
    return Machine(**figures | own)


def _pocket_rates(profile: Profile) -> dict[str, float]:
    """Painting, the tower and the language model, each on what it will work on."""
    from vlm_sae_lib.pictures import load_pictures
    from vlm_sae_lib.pocket.language import DESCRIBE, QUESTIONS
    from vlm_sae_lib.sae import SparseAutoencoder
    from vlm_sae_lib.steering.sweep import Intervention, SteeringBench
    from vlm_sae_lib.towers import load_tower
    from vlm_sae_lib.vlms import load_vlm

    source, tower = load_pictures(f"pocket:{PICTURES}:99"), load_tower(profile.tower)
    painted, pixels = _timed(lambda: [tower.preprocess(picture) for _, picture in source])
    batches = torch.stack(pixels).split(profile.collect_batch)
    seen, _ = _timed(lambda: [tower.activations(batch, tower.hook_points[-1]) for batch in batches], warm=1)
    vlm, sae = load_vlm(profile.vlm), SparseAutoencoder.load(paths.pocket() / "sae" / "steering")
    bench = SteeringBench(vlm, sae, [picture for _, picture in source][:8], description="measuring")
    tries, question = [Intervention(k, 1.0) for k in range(60)], [QUESTIONS["order"]]
    asked, answers = _timed(lambda: bench.answers(tries, question), warm=1)
    few, many = (
        _timed(lambda n=n: bench.captions(tries[:6], DESCRIBE, max_new_tokens=n), warm=1)[0] for n in (1, 1 + WORDS)
    )
    return {
        "picture_seconds": painted / PICTURES * cores(),
        "tower_flops": PICTURES * tower_cost(profile.tower).tower_flop / seen,
        "language_flops": answers.size * vlm_cost(profile.vlm).prompt_flop(10) / asked,
        "word_seconds": max(0.0, many - few) / WORDS,
        "figure_seconds": 15.0,
    }


def _training_rates(profile: Profile) -> tuple[float, float]:
    """Seconds of a step beside its products, and operations of the products, from a narrow and a wide SAE."""
    from vlm_sae_lib.sae import SaeConfig
    from vlm_sae_lib.sae.training import train_saes

    width, steps = tower_cost(profile.tower).width(profile.main_hook_point), 60
    rows = np.random.default_rng(0).standard_normal((2 * profile.batch_size, width), dtype=np.float32)
    spans = {}
    for expansion in (min(profile.expansions), min(8, max(profile.expansions))):
        config = SaeConfig(kind=profile.kinds[-1], expansion=expansion, k=profile.k, steps=steps, lr=1e-3,
                           batch_size=min(1024, profile.batch_size))  # fmt: skip
        seconds, _ = _timed(lambda config=config: train_saes(rows, [config]), warm=1, times=8)
        spans[DENSE_PRODUCTS * 2 * config.batch_size * width * config.n_latents(width)] = seconds / steps
    (small, fast), (large, slow) = sorted(spans.items())
    per_operation = max((slow - fast) / (large - small), slow / large / 20)
    return max(0.0, fast - small * per_operation), 1 / per_operation


def _score_rate() -> float:
    from vlm_sae_lib.scores.comparison import score

    n, neurons, width, draws = 2000, 256, 64, 20
    rng = np.random.default_rng(0)
    code = scipy.sparse.random(n, neurons, 0.2, format="csr", rng=rng)
    units = rng.standard_normal((n, width))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    seconds, _ = _timed(lambda: score(code, units, resamples=draws, seed=0), warm=1)
    return 2 * draws * code.nnz * width / seconds


def _product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a large matrix product."""
    side = 8192 if device.type == "cuda" else 2048
    one = torch.randn(side, side, device=device, dtype=dtype)
    seconds, _ = _timed(lambda: _waited(one @ one), warm=1)
    return 2 * side**3 / seconds


def _memory_rate(device: torch.device) -> float:
    """Bytes per second that a sum reads."""
    values = torch.ones(2**28 if device.type == "cuda" else 2**26, device=device)
    seconds, _ = _timed(lambda: _waited(values.sum()), warm=1)
    return values.numel() * values.element_size() / seconds


def _waited(result: torch.Tensor) -> None:
    if result.device.type == "cuda":
        torch.cuda.synchronize()


def _timed(run: Callable, warm: int = 0, times: int = 4):
    """(seconds of the quickest, its result)."""
    for _ in range(warm):
        run()
    spans = []
    for _ in range(times):
        begun = perf_counter()
        result = run()
        spans.append(perf_counter() - begun)
    return min(spans), result


def _host_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
