"""``make islands``: train the models of the other islands; resumable, with progress.

Weights lie in ``runs/islands`` and stay out of the repository. What stays in it is a record for each island
(``data/islands/<name>.json``): its settings, the seeds, how good its models are, and the weights' hashes.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import file_hash, write_json
from vlm_sae_lib.machine.devices import choose_device
from vlm_sae_lib.pocket.islands import ISLANDS, MODELS, Island
from vlm_sae_lib.pocket.world import pocket_pictures
from vlm_sae_lib.pretraining import clip, exam, llava, self_supervised
from vlm_sae_lib.pretraining import train as home
from vlm_sae_lib.pretraining.pictures import paint_training_pictures
from vlm_sae_lib.reserving import reserved
from vlm_sae_lib.towers.pocket_models import load_clip

RECORDS = paths.data() / "islands"
APART = 10_000
"""Between the seeds of one island's trainings and those of the next."""


SETTINGS = {
    "clip": home.CLIP, "second_clip": home.SECOND_CLIP, "self_supervised": home.SELF_SUPERVISED, "llava": home.LLAVA,
}  # fmt: skip
"""The published island's, but for the seeds."""


def seeds(island: Island) -> dict[str, int]:
    """The seed of each model's training, and of the two sets of pictures."""
    found = {model: settings["seed"] + APART * island.number for model, settings in SETTINGS.items()}
    return found | {"pictures": home.SEED, "second pictures": home.SECOND_SEED}


def train(island: Island, model: str) -> None:
    """Train one model of an island and write its folder."""
    workspace, device = home.workspace(), choose_device()
    settings: dict[str, Any] = SETTINGS[model] | {"seed": seeds(island)[model]}
    settings |= {"workspace": workspace, "island": island, "device": device}
    folder = paths.islands() / island.name / model
    seed = home.SECOND_SEED if model == "second_clip" else home.SEED
    pictures = paint_training_pictures(home.PICTURES, seed, workspace, island=island)
    if model == "self_supervised":
        self_supervised.save(self_supervised.train(pictures, **settings), folder)
    elif model == "llava":
        tower, _, _ = load_clip("clip", island=island)
        llava.save(llava.train(tower, pictures, **settings), folder, island)
    else:
        clip.save(clip.train(pictures, **settings), folder, island)


def record(island: Island) -> Path:
    """Examine an island's own models on held-out pictures, and write its record.

    The last digits of a training, and so the hashes, depend on the processor and the number of threads: both are told.
    """
    held_out = pocket_pictures(3000, exam.HELD_OUT_SEED, island)
    known = pocket_pictures(8000, home.SEED + 6, island)
    exams: dict[str, Callable[[], Any]] = {
        "clip": lambda: exam.examine_clip("clip", held_out),
        "second_clip": lambda: exam.examine_clip("second_clip", held_out),
        "self_supervised": lambda: exam.examine_scoring_encoder(known, held_out),
        "llava": lambda: exam.examine_llava(held_out.subset(range(500))),
    }
    found = {}
    for model in island.trains:
        table = exams[model]().drop(columns="confusions", errors="ignore").astype(object)
        found[model] = {"exam": table.where(table.notna(), None).to_dict("records"), "weights": _hashes(island, model)}
    path = RECORDS / f"{island.name}.json"
    made_on = {"processor": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
    write_json(path, {"island": island.as_dict(), "seeds": seeds(island), "made on": made_on, "models": found})
    return path


def _hashes(island: Island, model: str) -> dict[str, str]:
    return {file.name: file_hash(file) for file in sorted(island.folder(model).glob("*.safetensors"))}


def main(arguments: list[str] | None = None) -> int:
    others = [name for name in ISLANDS if name]
    parser = argparse.ArgumentParser(prog="python -m vlm_sae_lib.pretraining.islands", description=__doc__)
    parser.add_argument("islands", nargs="*", metavar="ISLAND", help=f"{', '.join(others)}; all of them unless told")
    chosen = parser.parse_args(arguments).islands or others
    if unknown := [name for name in chosen if name not in others]:
        parser.error(f"there is no island {unknown[0]!r}; the islands are {', '.join(others)}")
    try:
        for name in chosen:
            make(ISLANDS[name])
    except UserError as error:
        parser.exit(2, f"error: {error}\n")
    return 0


def make(island: Island) -> None:
    """Train the models of an island that are not there yet, and write its record."""
    name = island.name
    for model in (model for model in MODELS if model in island.trains):
        if (folder := paths.islands() / name / model).is_dir():
            continue
        with reserved(folder):
            start = time.monotonic()
            sys.stderr.write(f"{name}, {model} …\n")
            train(island, model)
            sys.stderr.write(f"{name}, {model}: {time.monotonic() - start:.0f} s\n")
    sys.stderr.write(f"{name}: {record(island)}\n")


if __name__ == "__main__":
    sys.exit(main())
