"""A sweep on Ray: groups of SAEs that share one read of the activations, a task each."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vlm_sae_lib.activations import ActivationStore
from vlm_sae_lib.cluster.connection import LOST, library, places
from vlm_sae_lib.sae.training.sweep import Trained, Wanted, train_group


def train(
    store: ActivationStore, groups: Sequence[Sequence[Wanted]], out: Path, *, device: str | None = None, gpus: float = 0
) -> Iterator[list[Trained]]:
    """What ``train_group`` gives for each group, as they end; a task whose machine is lost begins again elsewhere, at
    its last checkpoint.

    Raises:
        UserError: as ``train_group``.
    """
    ray = library()
    places(ray, gpus)  # refuses what there is not
    task = ray.remote(_train).options(num_gpus=gpus, max_retries=LOST)
    path, out = str(store.path.resolve()), out.resolve()
    waiting = [task.remote(path, group, out, device) for group in groups]
    while waiting:
        (done,), waiting = ray.wait(waiting)
        yield ray.get(done)


def _train(store: str, group: Sequence[Wanted], out: Path, device: Any) -> list[Trained]:
    return train_group(ActivationStore.open(store), group, out, device=device)
