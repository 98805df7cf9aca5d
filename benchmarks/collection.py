"""Collection: against the bare tower's forward on the same pixels, and against the whole forward."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers as hf
from safetensors.numpy import save

from benchmarks import floors
from benchmarks.timing import Row, side_by_side
from vlm_sae_lib import collect_activations, load_tower, paths, pocket_pictures
from vlm_sae_lib.activations.store import SHARDS
from vlm_sae_lib.activations.writing import enter_shard
from vlm_sae_lib.hooks import run_until
from vlm_sae_lib.towers.transformers_towers import transformers_tower

PICTURES = 1024
ROWS, DIM, SHARDS_WRITTEN = 2**14, 1024, 8


def run() -> Iterator[Row]:
    tower, pictures = load_tower("pocket", device="cpu"), pocket_pictures(PICTURES, 9)
    pixels = torch.stack([tower.preprocess(image) for image in pictures.images])

    class Ready:
        """The same pictures, painted and preprocessed before."""

        name, fingerprint, folders, unreadable = pictures.name, pictures.fingerprint, pictures.folders, []

        def __len__(self) -> int:
            return PICTURES

        def iterate(self, first: int, transform: object) -> Iterator:
            return ((i, pixels[i]) for i in range(first, PICTURES))

    def collect() -> None:
        with tempfile.TemporaryDirectory() as folder:
            collect_activations(tower, Ready(), "block_4", Path(folder) / "store")

    @torch.no_grad()
    def bare() -> None:
        for batch in pixels.split(64):
            run_until(tower._blocks[4], lambda b=batch: tower._project(b), lambda hidden: hidden)

    times = side_by_side(collect, bare)
    note = "theirs over ours is the share of the bare tower's speed that is left"
    work = f"{PICTURES} pictures to block_4 of 6 into a store"
    facts = floors.facts(floors.counted(bare, written=4 * tower.activations(pixels, "block_4").numel()))
    yield Row("collection", work, times[0], "bare tower", times[1], 0.95, note, facts)
    yield from early_stop()
    yield writing()


def early_stop() -> Iterator[Row]:
    """A tower of 24 blocks, random and narrow: what block 11 costs of the whole."""
    vision = hf.CLIPVisionConfig(hidden_size=256, intermediate_size=1024, num_hidden_layers=24, num_attention_heads=4,
                                 image_size=112, patch_size=14)  # fmt: skip
    square = {"height": 112, "width": 112}
    tower = transformers_tower(hf.CLIPVisionModel(vision), hf.CLIPImageProcessor(size=square, crop_size=square),
                               spec="random", name="random", device=torch.device("cpu"))  # fmt: skip
    pixels = torch.randn(32, 3, 112, 112)

    @torch.no_grad()
    def whole() -> None:
        tower.module(pixel_values=pixels)

    early = lambda: tower.activations(pixels, "block_11")  # noqa: E731
    times, facts = side_by_side(early, whole), floors.facts(floors.counted(early))
    yield Row("collection", "block 11 of 24, 32 pictures", times[0], "the whole forward", times[1], 1 / 0.55,
              facts=facts)  # fmt: skip


def writing() -> Row:
    """Finished shards on their way to the disk: turned into bytes, hashed, written, synced, renamed."""
    tensors = {
        "activations": torch.randn(ROWS, DIM).numpy(),
        "image_id": torch.arange(ROWS).numpy(),
        "token": torch.zeros(ROWS, dtype=torch.int64).numpy(),
    }
    data = save(tensors)

    def store() -> None:
        with tempfile.TemporaryDirectory(dir=paths.runs("benchmarks")) as folder:
            (Path(folder) / SHARDS).mkdir()
            metadata = {"shards": [], "rows": 0}
            for _ in range(SHARDS_WRITTEN):
                enter_shard(Path(folder), metadata, tensors)

    def plain() -> None:
        with tempfile.TemporaryDirectory(dir=paths.runs("benchmarks")) as folder:
            for i in range(SHARDS_WRITTEN):
                with open(Path(folder) / str(i), "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())

    paths.runs("benchmarks").mkdir(parents=True, exist_ok=True)
    times = side_by_side(store, plain)
    note = "theirs over ours is the share of the disk's speed that is left"
    size = SHARDS_WRITTEN * len(data) / 2**20
    return Row("collection", f"{size:.0f} MiB of finished shards", times[0], "the bytes alone", times[1], None, note)
