"""Readers of what a run leaves and of whole models: stores, findings, half-way training, towers, LLaVAs (tiny ones)."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from shutil import rmtree

import numpy as np
import pandas as pd
import torch
from fuzzing import Files, contents, mutated
from stores import make_store
from tiny_towers import noise, write_open_clip, write_transformers
from tiny_vlm import save_tiny_vlm

from vlm_sae_lib.activations import ActivationStore
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.files import canonical_json
from vlm_sae_lib.records.effects import Effect
from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.sae.training import checkpoint
from vlm_sae_lib.sae.training.run import train_sae
from vlm_sae_lib.towers import load_tower
from vlm_sae_lib.vlms import load_vlm

PICTURE = noise(1)[0]


def stores(folder: Path) -> list[Files]:
    draw = np.random.default_rng(0)
    make_store(folder / "store", draw.standard_normal((40, 6)), np.arange(40))
    shards = {path.name: path.read_bytes() for path in (folder / "store" / "shards").iterdir()}
    return [contents(folder / "store") | shards]


def read_store(folder: Path) -> None:
    """All that a store is asked for."""
    (folder / "shards").mkdir(exist_ok=True)
    for path in (folder / "shards").iterdir():
        path.unlink()
    for path in folder.glob("*.safetensors"):
        path.rename(folder / "shards" / path.name)
    try:
        store = ActivationStore.open(folder)
        assert store[:].shape == (len(store), store.dim) and store.array().shape == (len(store), store.dim)
        assert store.image_ids.shape == store.token_ids.shape == (len(store),)
        repr(store)
    finally:
        rmtree(folder / "shards")


def results(folder: Path) -> list[Files]:
    found = Findings("some", "pocket")
    found.input("code", "c" * 64)
    found.add("a", 0.5, interval=(0.4, 0.6), interval_kind="bootstrap", n=12, controls={"b": "b"})
    found.add("b", 0.25)
    found.table("t", pd.DataFrame({"x": [1, 2], "y": ["a", "b"]}))
    values = np.array([[0.1, 0.2], [0.3, np.nan], [0.2, 0.1]])
    found.effects["e"] = Effect(values, "training", ("x/a", "x/b"), "MS", 12, "test")
    return [{"some.json": json.dumps(found.as_dict()).encode()}]


def read_findings(folder: Path) -> None:
    found = Findings.read(folder / "some.json")
    for name in found.results:
        found.value(name)
    for name in found.tables:
        found.frame(name)
    for effect in found.effects.values():
        effect.by_unit()
    found.decisive()
    canonical_json(found.as_dict()).encode()


# --- training that was stopped ---------------------------------------------------------------------------------------

ROWS = torch.from_numpy(np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32))
CONFIGS = {kind: SaeConfig(kind=kind, expansion=2, k=2, steps=6, batch_size=16) for kind in ("relu", "batch_top_k")}


def checkpoints(folder: Path) -> list[Files]:
    """One per kind, of the end of its run; its name says the kind."""
    for kind, config in CONFIGS.items():
        train_sae(ROWS, config, checkpoint_dir=folder / kind)
    return [{f"{kind}.safetensors": (folder / kind / checkpoint.NAME).read_bytes()} for kind in CONFIGS]


def read_checkpoint(folder: Path) -> None:
    """A run that takes it up; without one it begins anew."""
    for path in folder.glob("*.safetensors"):
        kind = path.stem
        path.rename(folder / checkpoint.NAME)
        try:
            sae = train_sae(ROWS, CONFIGS[kind], checkpoint_dir=folder)
        finally:
            (folder / checkpoint.NAME).unlink()
        assert torch.isfinite(sae.encode(ROWS)).all()


# --- models -----------------------------------------------------------------------------------------------------------


def mostly_settings(files: Files, draw: Random) -> Files:
    """Weights are changed in one case of four: most of what a model is stands in its configuration."""
    if draw.random() < 0.25:
        return mutated(files, draw)
    weights = {name: data for name, data in files.items() if name.endswith(".safetensors")}
    return mutated({name: data for name, data in files.items() if name not in weights}, draw) | weights


def open_clip_folders(folder: Path) -> list[Files]:
    return [contents(write_open_clip(folder / "tower"))]


def transformers_folders(folder: Path) -> list[Files]:
    kinds = ("clip", "clip_vision", "siglip", "dinov2", "resnet")
    return [contents(write_transformers(folder / kind, kind)) for kind in kinds]


def read_tower(prefix: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        tower = load_tower(f"{prefix}{folder}", device="cpu")
        for point in tower.hook_points:
            assert tower.activations([PICTURE], point, "mean").shape == (1, tower.dim(point))

    return read


def vlm_folders(folder: Path) -> list[Files]:
    return [contents(save_tiny_vlm(folder / "vlm"))]


def read_vlm(folder: Path) -> None:
    load_vlm(f"hf:{folder}", device="cpu")
