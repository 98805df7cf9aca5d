"""Processes that learn one SAE together, started by hand: what several of them make of some settings."""

import multiprocessing
import socket
import traceback
from pathlib import Path

import torch
import torch.distributed as dist

from vlm_sae_lib.sae.training.together import Ranks, SharedLearner, train_together

SILENT = 3
"""Every third latent has been silent for long when the one step is taken that is looked at."""


def learned(world, rows, configs, folder):
    """By rank, for each of the configs: whether ``train_together`` gives the SAE, and of one step the losses, the
    gradients and the parameters after it."""
    with socket.socket() as free:
        free.bind(("", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    given = (world, address, rows, configs, folder, queue)
    processes = [context.Process(target=_learn, args=(rank, *given)) for rank in range(world)]
    for process in processes:
        process.start()
    found = dict(queue.get(timeout=240) for _ in processes)
    for process in processes:
        process.join()
    for told in found.values():
        assert not isinstance(told, str), told
    return [found[rank] for rank in range(world)]


def _learn(rank, world, address, rows, configs, folder, queue):
    try:
        torch.set_num_threads(1)
        dist.init_process_group("gloo", init_method=address, rank=rank, world_size=world)
        ranks, made = Ranks(rank, world), []
        for i, config in enumerate(configs):
            batch = torch.from_numpy(rows[: config.batch_size])
            learner = SharedLearner(config, batch, 1.0, ranks)
            learner.silence.samples[::SILENT] = config.dead_window
            losses = learner._dense_gradients(batch)
            parameters = learner.weights.named()
            slopes = {name: p.grad.numpy().copy() for name, p in parameters.items() if p.grad is not None}
            learner._update()
            after = {name: parameter.detach().numpy() for name, parameter in parameters.items()}
            sae = train_together(rows, config, ranks, checkpoint_dir=Path(folder) / str(i), device="cpu")
            if sae is not None:
                sae.save(Path(folder) / f"sae-{i}")
            made.append((sae is not None, losses, slopes, after))
        queue.put((rank, made))
        dist.destroy_process_group()
    except Exception:
        queue.put((rank, traceback.format_exc()))
