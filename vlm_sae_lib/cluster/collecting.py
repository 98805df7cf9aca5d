"""``collect`` on Ray: pictures → activations as a pipeline of Ray Data, a part for each shard of the store."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vlm_sae_lib.activations import ActivationStore
from vlm_sae_lib.activations.collect import _refuse_folders, request
from vlm_sae_lib.activations.parts import Assembly, Laid, Span, computed, ids_of, lay_down
from vlm_sae_lib.activations.store import METADATA
from vlm_sae_lib.activations.writing import metadata_at, writable
from vlm_sae_lib.cluster.batches import quickest_batch
from vlm_sae_lib.cluster.connection import LOST, from_outside, library, places
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import alone, write_json
from vlm_sae_lib.pictures import load_pictures
from vlm_sae_lib.progress import progress
from vlm_sae_lib.towers import load_tower


def collect(
    tower: str,
    pictures: str,
    hook_point: str,
    out: str | Path,
    *,
    batch_size: int | None = 64,
    device: str | None = None,
    gpus: float = 0,
    workers: int | None = None,
    worker: type | None = None,
    **options: Any,
) -> ActivationStore:
    """``collect_activations`` by the workers of the cluster that is joined: the same store, byte for byte.

    A worker computes the rows of one shard and writes them under the name of their content, so that a part that is
    given out twice is there once; this process gives them their places. What was finished is kept when it is killed.

    Args:
        tower, pictures: words, as the command line takes them: each worker loads its own.
        batch_size: None: what one worker finds to be quickest, for all of them.
        gpus: the share of a GPU that a worker takes.
        workers: at most so many at once; None: as many as the cluster has cores, or shares of its GPUs.
        worker: what a worker is, a kind of ``Collector``.
        options: ``tokens``, ``seed``, ``dtype``, ``pictures_per_shard``, as of ``collect_activations``.

    Raises:
        UserError: as ``collect_activations``; a worker that sees other pictures, or not the folder ``out``.
    """
    ray, out = library(), Path(out).expanduser().resolve()
    if from_outside(ray):  # Ray Data can be driven from within alone: by a task that takes no core
        wanted = {"batch_size": batch_size, "device": device, "gpus": gpus, "workers": workers, "worker": worker}
        driver = ray.remote(_driven).options(num_cpus=0, max_retries=LOST)
        ray.get(driver.remote(tower, pictures, hook_point, str(out), {**wanted, **options}))
        return ActivationStore.open(out)
    source, at_once = load_pictures(pictures), workers or places(ray, gpus)
    _refuse_folders(source, {(hook_point, options.get("tokens", "cls")): out})
    asked = ray.remote(_asked).options(num_gpus=gpus)
    fresh, batch_size = ray.get(asked.remote(tower, pictures, hook_point, device, batch_size, options))
    if fresh["fingerprint"] != source.fingerprint:
        raise UserError(f"A worker finds other pictures in {pictures} than this process: let all read the same.")
    existed = out.exists()
    with writable(out), alone(out):
        metadata = metadata_at(out, fresh)
        if metadata is None:
            metadata = fresh
            write_json(out / METADATA, metadata)
        if not metadata["complete"]:
            assembly = Assembly.begin(out, metadata, source)
            arguments = {"tower": tower, "pictures": pictures, "device": device, "out": str(out), "metadata": fresh,
                         "batch_size": batch_size, "decoders": None if gpus else 0}  # fmt: skip
            if parts := [asdict(span) for span in assembly.lacking]:
                rows = pipeline(parts, worker or Collector, arguments, gpus=gpus, workers=at_once)
                for row in progress(rows, f"{tower} on Ray", unit="shard", total=len(parts)):
                    assembly.enter(Span(row["first"], row["last"]), Laid(**row["laid"]))
            assembly.finish()
        if not metadata["rows"]:
            (out / METADATA).unlink()
            if not existed:
                out.rmdir()
            first = metadata["unreadable"][0]
            raise UserError(f"None of the {len(source)} pictures of {source.name} can be read; the first is "
                            f"{first['name']} ({first['reason']}).")  # fmt: skip
    return ActivationStore.open(out)


def _driven(tower: str, pictures: str, hook_point: str, out: str, wanted: dict[str, Any]) -> None:
    collect(tower, pictures, hook_point, out, **wanted)


def _asked(
    tower: str, pictures: str, hook_point: str, device: str | None, batch_size: int | None, options: dict[str, Any]
) -> tuple[dict[str, Any], int]:
    """The metadata with which the store begins, and how many pictures each worker takes at once."""
    model, source, tokens = load_tower(tower, device=device), load_pictures(pictures), options.pop("tokens", "cls")
    fresh = request(model, source, hook_point, tokens, **options)
    return fresh, batch_size or quickest_batch(model, source, hook_point, fresh["tokens"])


def pipeline(
    parts: Sequence[dict[str, Any]], worker: type, arguments: dict[str, Any], *, gpus: float = 0, workers: int = 1
) -> Iterator[dict[str, Any]]:
    """Rows through as many copies of a callable class as there are workers, in the order in which they are done.

    A part whose machine or process is lost is given to another one, by Ray Data's own rule for such a pool.
    """
    from ray import data

    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it tells of each plan and each block on stderr
    data.DataContext.get_current().enable_progress_bars = False
    rows = data.from_items(list(parts), override_num_blocks=len(parts))
    pool = data.ActorPoolStrategy(size=min(len(parts), workers))
    done = rows.map(worker, fn_constructor_kwargs=arguments, compute=pool, num_cpus=1, num_gpus=gpus)
    yield from done.iter_rows()


class Collector:
    """A worker: its tower and its pictures, loaded once, and the rows of one part after the other."""

    def __init__(
        self,
        tower: str,
        pictures: str,
        device: str | None,
        out: str,
        metadata: dict[str, Any],
        batch_size: int,
        decoders: int | None,
    ):
        self.tower, self.pictures = load_tower(tower, device=device), load_pictures(pictures)
        self.out, self.metadata, self.batch_size, self.decoders = Path(out), metadata, batch_size, decoders
        if self.tower.weights_hash != metadata["weights_hash"] or not len(ids_of(self.pictures)):
            raise UserError(f"A worker finds other weights in {tower}, or no pictures in {pictures}: let all machines "
                            "read the same.")  # fmt: skip

    def __call__(self, part: dict[str, Any]) -> dict[str, Any]:
        """``first`` and ``last`` of a part; with it, how it lies on the disk."""
        tensors, unreadable = computed(self.tower, self.pictures, self.metadata, Span(part["first"], part["last"]),
                                       batch_size=self.batch_size, workers=self.decoders)  # fmt: skip
        return part | {"laid": asdict(lay_down(self.out, self.metadata["id"], tensors, unreadable))}
