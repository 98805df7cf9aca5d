"""A run held against itself: is what it made still there, and does a sample of it come out again?"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vlm_sae_lib import paths
from vlm_sae_lib.activations import ActivationStore
from vlm_sae_lib.activations.parts import Span, computed
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.profiles import Profile
from vlm_sae_lib.records.made_by import circumstances, differences, read_record, things
from vlm_sae_lib.sae import SaeConfig, SparseAutoencoder
from vlm_sae_lib.sae.training import train_sae
from vlm_sae_lib.scores.reconstruction import reconstruction
from vlm_sae_lib.towers import Tower
from vlm_sae_lib.workbench import SPLITS, Workbench

SAME, CLOSE, DIFFERS, LOST, ALTERED, LEFT = "same bytes", "close", "differs", "lost", "altered", "not recomputed"
BAD = (DIFFERS, LOST, ALTERED)
CLOSE_ACTIVATIONS = 1e-3
"""Of the largest activation: what other instructions, libraries or devices may change."""
CLOSE_R2 = 0.02
"""Of two trainings whose last bits differed at the start."""


@dataclass(frozen=True)
class Finding:
    """What came out for one thing: its path in the run's folder, the outcome, and the particulars in words."""

    thing: str
    outcome: str
    particulars: str = ""


class Verification:
    """A run of a profile, its record, and what is drawn of it.

    Raises:
        UserError: the run has no record.
    """

    def __init__(self, profile: Profile, *, saes: int = 1, seed: int = 0):
        self.profile, self.saes = profile, saes
        self.record = read_record(profile.name)
        self.folder = paths.runs(profile.name)
        self.bench = Workbench(profile)
        self._draw = np.random.default_rng(seed)
        self._now = circumstances(profile)

    def findings(self) -> Iterator[Finding]:
        """First what is lost or altered, then the sample, made again from its beginnings."""
        present = things(self.folder)
        sound = set()
        for name, made in self.record["made"].items():
            if name not in present:
                yield Finding(name, LOST)
            elif present[name] != made["sha256"]:
                yield Finding(name, ALTERED)
            else:
                sound.add(name)
        for name in sorted(name for name in sound if name.startswith("activations/")):
            yield self._store(name)
        learned = sorted(name for name in sound if name.startswith("saes/"))
        for i in sorted(self._draw.permutation(len(learned))[: self.saes]):
            yield self._sae(learned[i])

    def elsewhere(self, name: str) -> list[str]:
        """In what today's circumstances differ from those in which a thing was made; the commit alone is none."""
        then = self.record["circumstances"][self.record["made"][name]["in"]]
        return differences({**then, "commit": None}, {**self._now, "commit": None})

    def _store(self, name: str) -> Finding:
        """One batch of a store, drawn, from the pictures on."""
        store = ActivationStore.open(self.folder / name)
        pictures, tower = self._pictures_of(store), self._tower_of(store)
        if pictures is None or tower is None:
            return Finding(name, LEFT, "its pictures or its tower are not those of this profile's settings")
        ids = np.unique(store.image_ids)
        first = int(self._draw.integers(len(ids)))
        last = int(ids[min(first + self.profile.collect_batch, len(ids)) - 1])
        first = int(ids[first])
        batch = self.profile.collect_batch
        tensors, _ = computed(tower, pictures, store.metadata, Span(first, last), batch_size=batch)
        again = np.zeros(0) if tensors is None else tensors["activations"].astype(np.float32)
        stored = store[(store.image_ids >= first) & (store.image_ids <= last)].numpy()
        what = f"{len(stored)} of {len(store):,} rows, image ids {first} to {last}"
        if stored.shape == again.shape and np.array_equal(stored, again):
            return Finding(name, SAME, what)
        gap = float(np.abs(stored - again).max() / np.abs(stored).max()) if stored.shape == again.shape else np.inf
        outcome = CLOSE if gap <= CLOSE_ACTIVATIONS and self.elsewhere(name) else DIFFERS
        return Finding(name, outcome, f"{what}, by at most {gap:.1e} of the largest activation")

    def _sae(self, name: str) -> Finding:
        """An SAE, trained once more from its seed on the store it was trained on."""
        sae = SparseAutoencoder.load(self.folder / name)
        store = self._store_of(sae)
        if store is None:
            return Finding(name, LEFT, "the activations it was trained on are not here")
        config = SaeConfig(**sae.metadata["config"])
        with tempfile.TemporaryDirectory() as scratch:
            again = train_sae(store, config, checkpoint_dir=Path(scratch))
        what = f"{sae.kind}, {sae.n_latents} latents, trained once more"
        if again.hash == sae.hash:
            return Finding(name, SAME, what)
        rows = store[:: max(1, len(store) // 4096)]
        r2 = [reconstruction(one, rows).r2 for one in (sae, again)]
        outcome = CLOSE if abs(r2[0] - r2[1]) <= CLOSE_R2 and self.elsewhere(name) else DIFFERS
        return Finding(name, outcome, f"{what}: R² {r2[0]:.4f} then, {r2[1]:.4f} now")

    def _pictures_of(self, store: ActivationStore) -> Any:
        for split in SPLITS:
            try:
                pictures = self.bench.pictures(split)
            except UserError:  # they are not on this machine
                continue
            some = self.bench.some(split, len(np.unique(store.image_ids)))
            for chosen in (pictures, some):
                if chosen.fingerprint == store.metadata["fingerprint"]:
                    return chosen
        return None

    def _tower_of(self, store: ActivationStore) -> Tower | None:
        makers: list[Callable[[], Tower]] = [self.bench.tower]
        makers += [partial(self.bench.scoring_tower, name) for name in self.bench.scoring_names]
        towers = (make() for make in makers)
        return next((tower for tower in towers if tower.weights_hash == store.metadata["weights_hash"]), None)

    def _store_of(self, sae: SparseAutoencoder) -> ActivationStore | None:
        wanted = sae.metadata.get("provenance", {}).get("store")
        for folder in sorted((self.folder / "activations").iterdir()):
            store = ActivationStore.open(folder)
            if store.id == wanted:
                return store
        return None

