"""One wide SAE on Ray: workers that form a group of torch's and learn it together."""

import socket
from pathlib import Path
from typing import Any

from vlm_sae_lib.activations import ActivationStore
from vlm_sae_lib.cluster.connection import LOST, library, places
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import SaeConfig, SparseAutoencoder


def train_wide(
    store: ActivationStore, config: SaeConfig, workers: int, *, checkpoints: Path, device: str | None = None,
    gpus: float = 0,
) -> SparseAutoencoder:  # fmt: skip
    """``train_sae`` by several workers, each with its share of every batch; the same but for the order of sums.

    Where a worker is lost, all are started again and go on from the last checkpoint.

    Raises:
        UserError: as ``train_together``; the cluster has fewer places than workers.
    """
    ray = library()
    if (there := places(ray, gpus)) < workers:
        raise UserError(f"The cluster has places for {there} workers, and {workers} are to share one SAE: lower "
                        "--workers, or add machines.")  # fmt: skip
    task = (str(store.path.resolve()), config, str(checkpoints.resolve()), device)
    for _ in range(LOST):
        ranks = [ray.remote(Rank).options(num_cpus=1, num_gpus=gpus).remote(rank, workers) for rank in range(workers)]
        try:
            address = ray.get(ranks[0].address.remote())
            return ray.get([rank.train.remote(address, *task) for rank in ranks])[0]
        except ray.exceptions.RayActorError:
            continue
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UserError) or not any(_is_lost(ray, rank) for rank in ranks):
                raise
        finally:
            for rank in ranks:
                ray.kill(rank)
    raise UserError(f"Workers that share one SAE were lost {LOST} times: see to the machines, and give the same "
                    "command again, which goes on from the last checkpoint.")  # fmt: skip


def _is_lost(ray: Any, rank: Any) -> bool:
    """Whether a worker is gone: what the others raise then is that they hear nothing of it."""
    try:
        ray.get(rank.alive.remote(), timeout=30)
    except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        return True
    return False


class Rank:
    """One of the workers."""

    def __init__(self, rank: int, world: int):
        self.rank, self.world = rank, world

    def alive(self) -> bool:
        return True

    def address(self) -> str:
        """Where the others find this one, at a port that is free just now."""
        from ray.util import get_node_ip_address

        with socket.socket() as free:
            free.bind(("", 0))
            return f"tcp://{get_node_ip_address()}:{free.getsockname()[1]}"

    def train(
        self, address: str, store: str, config: SaeConfig, checkpoints: str, device: str | None
    ) -> SparseAutoencoder | None:
        import torch.distributed as dist

        from vlm_sae_lib.machine.devices import choose_device
        from vlm_sae_lib.sae.training.together import Ranks, train_together

        backend = "nccl" if choose_device(device).type == "cuda" else "gloo"
        dist.init_process_group(backend, init_method=address, rank=self.rank, world_size=self.world)
        try:
            activations, ranks = ActivationStore.open(store), Ranks(self.rank, self.world)
            return train_together(activations, config, ranks, checkpoint_dir=Path(checkpoints), device=device)
        finally:
            dist.destroy_process_group()
