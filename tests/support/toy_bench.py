"""A workbench of made-up activations and untrained SAEs: experiments run on it in seconds."""

from types import SimpleNamespace

import numpy as np
import torch

from vlm_sae_lib import load_profile
from vlm_sae_lib.controls.reconstruction import untrained_sae

DIM = 16
FROZEN = ("nothing", "decoder", "soft_decoder", "encoder")


class Store:
    """Rows with the face of an `ActivationStore`."""

    def __init__(self, rows):
        self.rows, self.image_ids = torch.tensor(rows, dtype=torch.float32), np.arange(len(rows))

    def array(self):
        return self.rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, where):
        return self.rows[where]


class ToyBench:
    """Pictures of six groups; activations and embeddings both tell the group, with noise."""

    scoring_names = ("self-supervised", "second CLIP")

    def __init__(self, n=160, seed=0):
        self.profile = load_profile("pocket", hook_points=("block_4", "projection"), k=3)
        rng = np.random.default_rng(seed)
        self.centres = {point: rng.standard_normal((6, DIM)) for point in ("block_4", "block_5", "projection")}
        self.groups = {split: rng.integers(6, size=n) for split in ("train", "test")}
        self.noise = {split: rng.standard_normal((n, DIM)) for split in ("train", "test")}
        self.meaning = {name: rng.standard_normal((6, 8)) for name in self.scoring_names}

    def tower(self):
        return SimpleNamespace(hook_points=[f"block_{i}" for i in range(6)] + ["projection"])

    def activations(self, split, hook_point):
        return Store(2 * self.centres[hook_point][self.groups[split]] + self.noise[split])

    def embeddings(self, split="test", name="self-supervised"):
        return Store(self.meaning[name][self.groups[split]] + 0.3 * self.noise[split][:, :8])

    def config(self, kind, expansion, **settings):
        defaults = {"k": 3, "seed": 0, "frozen": "nothing"}
        return SimpleNamespace(kind=kind, expansion=expansion, **defaults | settings)

    def saes(self, configs, hook_point):
        train = self.activations("train", hook_point)
        draws = [c.seed + 10 * (c.kind == "batch_top_k") + 100 * FROZEN.index(c.frozen) for c in configs]
        return [
            untrained_sae(train, int(c.expansion * DIM), min(c.k, 7), seed=seed)
            for c, seed in zip(configs, draws, strict=True)
        ]

    def shown(self, name):
        sae = self.saes([self.config("matryoshka_batch_top_k", 4)], self.profile.main_hook_point)[0]
        return SimpleNamespace(hash="toy", encode_sparse=sae.encode_sparse)
